// SPDX-License-Identifier: Apache-2.0
/*
 * A peer that is killed and comes back under its name a thousand times: each time transfers go on, by this host's memory and by
 * tcp, and in the end descriptors, threads, sockets and memory are where they began.
 */
#include "mctest.h"
#include "unit/peer.h"

#include <dirent.h>

#include "base/log.h"

#define RESTARTS 1000
#define SETTLED	 50 /* everything that is allocated once has been */
#define LEN	 65536
#define GROWTH	 (1 * MiB)

/* ---- a process that has one child after the other: itself without threads, so that they may be forked ---------------------- */

static void nursery(struct peer_proc *p, int from, int to)
{
	char name[sizeof(p->name)] = "", cmd;

	while (read(from, &cmd, 1) == 1) {
		if (p->pid)
			peer_stop(p, SIGKILL);
		if (peer_fork(p) || peer_go(p, name))
			_exit(1);
		memcpy(name, p->name, sizeof(name));
		if (write(to, name, sizeof(name)) != sizeof(name))
			_exit(2);
	}
	if (p->pid)
		peer_stop(p, SIGKILL);
	_exit(0);
}

struct home {
	struct peer_proc peer;
	pid_t pid;
	int to, from;
	char name[sizeof(((struct peer_proc *)0)->name)];
};

static bool home_open(struct home *h)
{
	int to[2], from[2];

	*h = (struct home){ .peer.len = LEN };
	h->peer.mem = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (h->peer.mem == MAP_FAILED || pipe(to) || pipe(from))
		return false;
	h->pid = fork();
	if (!h->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(to[1]);
		close(from[0]);
		nursery(&h->peer, to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	h->to = to[1];
	h->from = from[0];
	return h->pid > 0;
}

/* The next peer is there, and the one before is not. */
static bool home_next(struct home *h)
{
	return write(h->to, "n", 1) == 1 && read(h->from, h->name, sizeof(h->name)) == sizeof(h->name);
}

static void home_close(struct home *h)
{
	int status = -1;

	close(h->to);
	waitpid(h->pid, &status, 0);
	EXPECT_EQ(status, 0);
	close(h->from);
	munmap(h->peer.mem, LEN);
}

/* ---- what this process has ------------------------------------------------------------------------------------------------- */

struct holdings {
	unsigned files, threads, maps;
	size_t resident;
};

static unsigned entries(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned nr = 0;

	while (readdir(d))
		nr++;
	closedir(d);
	return nr;
}

static struct holdings count(void)
{
	struct holdings h = { .files = entries("/proc/self/fd"), .threads = entries("/proc/self/task") };
	FILE *f = fopen("/proc/self/status", "r");
	char line[4096];

	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %zu", &h.resident) == 1)
			h.resident *= KiB;
	fclose(f);
	f = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof(line), f))
		h.maps++;
	fclose(f);
	return h;
}

/* ---- the test ------------------------------------------------------------------------------------------------------------- */

static const char *const ways[] = { "local", "tcp" };

static void no_log(void *arg, enum mc_log_level level, const char *text)
{
}

/* Writes and reads back. */
static int use(struct mc_engine *eng, struct mc_segment *seg, uint8_t *there, unsigned seed)
{
	static uint8_t out[LEN], in[LEN];
	int ret;

	pattern(out, LEN, seed);
	memset(in, 0, LEN);
	ret = move_one(eng, seg, MC_WRITE, out, there, LEN, NULL, soon());
	if (!ret)
		ret = move_one(eng, seg, MC_READ, in, there, LEN, NULL, soon());
	return ret ? ret : memcmp(in, out, LEN) ? -EBADMSG : 0;
}

TEST(a_thousand_restarts)
{
	struct mc_segment *seg[ARRAY_SIZE(ways)];
	struct mc_engine *eng[ARRAY_SIZE(ways)];
	struct holdings then = { 0 }, now;
	struct home h;

	ASSERT_TRUE(home_open(&h));
	ASSERT_TRUE(home_next(&h));
	mc_log_set(no_log, NULL, MC_LOG_ERR);
	for (unsigned w = 0; w < ARRAY_SIZE(ways); w++) {
		eng[w] = engine_new(ways[w]);
		ASSERT_TRUE(eng[w]);
		ASSERT_EQ(mc_segment_open(eng[w], h.name, soon(), &seg[w]), 0);
	}
	for (unsigned i = 0; i < RESTARTS && !mctest_failed; i++) {
		for (unsigned w = 0; w < ARRAY_SIZE(ways); w++)
			EXPECT_EQ(use(eng[w], seg[w], h.peer.mem, i * 2 + w), 0);
		if (i == SETTLED)
			then = count();
		ASSERT_TRUE(home_next(&h));
	}
	for (unsigned w = 0; w < ARRAY_SIZE(ways); w++)
		EXPECT_EQ(use(eng[w], seg[w], h.peer.mem, w), 0);
	now = count();
	printf("# files %u then, %u now; threads %u, %u; mappings %u, %u; KiB %zu, %zu\n", then.files, now.files, then.threads,
	       now.threads, then.maps, now.maps, then.resident / KiB, now.resident / KiB);
	EXPECT_EQ(now.files, then.files);
	EXPECT_EQ(now.threads, then.threads);
	EXPECT_LE(now.maps, then.maps + 2);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__) /* they keep what is freed */
	EXPECT_LE(now.resident, then.resident + GROWTH);
#endif
	for (unsigned w = 0; w < ARRAY_SIZE(ways); w++) {
		mc_segment_close(seg[w]);
		mc_engine_close(eng[w]);
	}
	home_close(&h);
	mc_log_set(NULL, NULL, MC_LOG_WARN);
}
