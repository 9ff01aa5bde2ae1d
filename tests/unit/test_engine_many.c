// SPDX-License-Identifier: Apache-2.0
/* What many transfers and many peers cost: sockets, memory, threads, connections left behind. */
#include "mctest.h"
#include "peer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>

static unsigned entries(const char *dir, const char *link)
{
	DIR *d = opendir(dir);
	char path[512], to[256];
	struct dirent *e;
	unsigned nr = 0;

	while ((e = readdir(d))) {
		ssize_t n;

		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		n = link ? readlink(path, to, sizeof(to) - 1) : 0;
		to[n > 0 ? n : 0] = 0;
		nr += !link || !strncmp(to, link, strlen(link));
	}
	closedir(d);
	return nr;
}

static unsigned sockets(void)
{
	return entries("/proc/self/fd", "socket:");
}

/* To one of its own, where that is allowed: what others leave in TIME_WAIT here does not count. Return: the one before. */
static int leave_network(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int before = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;

	if (unshare(CLONE_NEWNET))
		return before;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	EXPECT_EQ(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
	close(fd);
	return before;
}

static void return_to(int network)
{
	if (setns(network, CLONE_NEWNET))
		EXPECT_EQ(errno, EPERM);
	close(network);
}

/* Connections of the loopback interface in TIME_WAIT. */
static unsigned time_wait(void)
{
	FILE *f = fopen("/proc/net/tcp", "r");
	unsigned nr = 0, state;
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		nr += sscanf(line, " %*d: %*x:%*x %*x:%*x %x", &state) == 1 && state == 6;
	if (f)
		fclose(f);
	return nr;
}

/* ---- 10,000 transfers, 512 at a time ------------------------------------------------------------------------------- */

#define AT_ONCE 512
#define TOTAL	10000
#define EACH	4096

struct lot {
	struct mc_engine *eng;
	struct mc_segment *seg;
	struct mc_cq *q;
	struct mc_batch *b[AT_ONCE];
	struct mc_vec v[AT_ONCE];
	uint8_t *mine, *there;
	unsigned started, ended, failed, looks, most;
};

static void start(struct lot *l, unsigned i)
{
	struct mc_request r = { .op = l->started % 2 ? MC_WRITE : MC_READ, .segment = l->seg, .vec = &l->v[i], .nr_vec = 1 };

	l->v[i] = (struct mc_vec){ l->mine + (uint64_t)i * EACH, (uintptr_t)l->there + (uint64_t)i * EACH, EACH };
	mc_batch_reset(l->b[i]);
	EXPECT_EQ(mc_batch_submit(l->b[i], &r, 1, soon()), 0);
	l->started++;
}

/* Until so many have been started, and with 0 until all have ended. */
static void go_on(struct lot *l, unsigned upto)
{
	struct pollfd p = { .fd = mc_cq_fd(l->q), .events = POLLIN };
	struct mc_batch *b[64];
	struct mc_status st;
	unsigned nr;

	while ((upto ? l->started < upto : l->ended < l->started) && poll(&p, 1, 10000) == 1) {
		nr = mc_cq_collect(l->q, b, ARRAY_SIZE(b));
		for (unsigned i = 0; i < nr; i++) {
			unsigned at = (unsigned)((struct mc_batch **)mc_batch_arg(b[i]) - l->b);

			mc_batch_status(b[i], 0, &st);
			l->failed += st.error != 0;
			l->ended++;
			if (upto && l->started < upto)
				start(l, at);
		}
		if (l->looks++ % 16 == 0)
			l->most = MAX(l->most, sockets());
	}
}

TEST(ten_thousand_transfers_over_few_sockets)
{
	struct peer_proc p = { .len = AT_ONCE * EACH }, next = p;
	unsigned before, waiting, threads;
	int network = leave_network();
	static struct lot l;
	char name[sizeof(p.name)];

	waiting = time_wait();
	ASSERT_EQ(peer_start(&p), 0);
	next.mem = p.mem; /* what the next one serves lies at the same place */
	ASSERT_EQ(peer_fork(&next), 0);
	memcpy(name, p.name, sizeof(name));
	before = sockets();
	l.eng = engine_new("tcp");
	threads = entries("/proc/self/task", NULL);
	l.mine = calloc(AT_ONCE, EACH);
	l.there = p.mem;
	ASSERT_EQ(mc_segment_open(l.eng, p.name, soon(), &l.seg), 0);
	ASSERT_EQ(mc_cq_open(l.eng, &l.q), 0);
	for (unsigned i = 0; i < AT_ONCE; i++)
		ASSERT_TRUE(!mc_batch_open(l.eng, 1, NULL, &l.b[i], &l.b[i]) && !mc_batch_watch(l.b[i], l.q));
	for (unsigned i = 0; i < AT_ONCE; i++)
		start(&l, i);
	go_on(&l, TOTAL / 2);
	EXPECT_EQ(l.failed, 0u);
	/* It dies, and comes back under its name. What ends in between may fail, nothing else may. */
	peer_stop(&p, SIGKILL);
	ASSERT_EQ(peer_go(&next, name), 0);
	go_on(&l, 0);
	EXPECT_EQ(l.ended, l.started);
	EXPECT_LE(l.failed, (unsigned)AT_ONCE);
	l.failed = 0;
	EXPECT_EQ(mc_segment_refresh(l.seg, soon()), 0);
	for (unsigned i = 0; i < AT_ONCE; i++)
		start(&l, i);
	go_on(&l, TOTAL);
	go_on(&l, 0);
	EXPECT_EQ(l.ended, (unsigned)TOTAL);
	EXPECT_EQ(l.failed, 0u);
	EXPECT_GT(l.most, before);
	EXPECT_LE(l.most - before, 16u);
	EXPECT_LE(entries("/proc/self/task", NULL) - threads, 2u); /* that drives, and asks who is there */
	for (unsigned i = 0; i < AT_ONCE; i++)
		mc_batch_close(l.b[i]);
	mc_cq_close(l.q);
	mc_segment_close(l.seg);
	mc_engine_close(l.eng);
	EXPECT_EQ(sockets(), before);
	peer_stop(&next, SIGKILL);
	EXPECT_LT(time_wait(), waiting + 50);
	printf("# %u sockets at most, %d connections more in TIME_WAIT\n", l.most - before, (int)(time_wait() - waiting));
	peer_free(&p);
	free(l.mine);
	return_to(network);
}

/* ---- 1,000 peers ----------------------------------------------------------------------------------------------------- */

#define PEERS	  1000
#define IDLE_PEER (32 * KiB)

static size_t resident(pid_t pid)
{
	char path[64], line[256];
	size_t kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %zu", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib * KiB;
}

/* One process under a thousand names: every address of the loopback network leads to it. */
TEST(a_thousand_idle_peers)
{
	struct peer_proc p = { .len = 1 * MiB, .local_name = "0.0.0.0" };
	static struct mc_segment *seg[PEERS];
	uint8_t *mine = calloc(1, 1 * MiB);
	unsigned threads, failed = 0;
	size_t here, there;
	struct mc_engine *eng;
	const char *port;

	ASSERT_EQ(peer_start(&p), 0);
	port = strrchr(p.name, ':');
	eng = engine_new("tcp");
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg[0]), 0);
	EXPECT_EQ(move_one(eng, seg[0], MC_READ, mine, p.mem, MiB, NULL, soon()), 0);
	mc_segment_close(seg[0]);
	threads = entries("/proc/self/task", NULL);
	here = resident(getpid());
	there = resident(p.pid);
	for (int i = 0; i < PEERS; i++) {
		char name[64];

		snprintf(name, sizeof(name), "127.1.%d.%d%s", i / 250, 1 + i % 250, port);
		ASSERT_EQ(mc_segment_open(eng, name, soon(), &seg[i]), 0);
		failed += move_one(eng, seg[i], MC_READ, mine, p.mem, 100000, NULL, soon()) != 0;
		failed += move_one(eng, seg[i], MC_WRITE, mine, p.mem, 100000, NULL, soon()) != 0;
	}
	EXPECT_EQ(failed, 0u);
	EXPECT_EQ(entries("/proc/self/task", NULL), threads);
	here = resident(getpid()) - here;
	there = resident(p.pid) - there;
	printf("# %zu bytes for each peer, %zu for it in the other process\n", here / PEERS, there / PEERS);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__) /* they keep books on all memory */
	EXPECT_LE(here / PEERS, IDLE_PEER);
	EXPECT_LE(there / PEERS, IDLE_PEER);
#endif
	for (int i = 0; i < PEERS; i++)
		mc_segment_close(seg[i]);
	mc_engine_close(eng);
	peer_stop(&p, SIGKILL);
	peer_free(&p);
	free(mine);
}
