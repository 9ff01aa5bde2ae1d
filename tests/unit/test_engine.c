// SPDX-License-Identifier: Apache-2.0
/* The engine between two processes: every size by every transport, memory that goes, messages, and what it refuses. */
#include "mctest.h"
#include "peer.h"

#include <dirent.h>

#define LEN (64 * MiB)

static const uint64_t sizes[] = { 1,	  7,   64,	4095,	 4096,	       4097, 65536,
				  100000, MiB, MiB + 1, 4 * MiB, 16 * MiB + 3, LEN };

static void every_size(const char *transport, size_t upto)
{
	struct peer_proc p = { .len = LEN };
	struct mc_segment *seg;
	struct mc_engine *eng;
	uint8_t *mine = malloc(LEN + 64);

	ASSERT_EQ(peer_start(&p), 0);
	eng = engine_new(NULL);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	for (size_t i = 0; i < upto; i++) {
		uint64_t n = sizes[i];

		pattern(p.mem, n, i);
		memset(mine, 0xee, n + 64);
		EXPECT_EQ(move_one(eng, seg, MC_READ, mine, p.mem, n, transport, soon()), 0);
		EXPECT_EQ(memcmp(mine, p.mem, n), 0);
		EXPECT_EQ(mine[n], 0xee);
		pattern(mine, n, i + 100);
		p.mem[n % LEN] = 0x77;
		EXPECT_EQ(move_one(eng, seg, MC_WRITE, mine, p.mem, n, transport, soon()), 0);
		EXPECT_EQ(memcmp(mine, p.mem, n), 0);
		if (n < LEN)
			EXPECT_EQ(p.mem[n], 0x77);
	}
	mc_segment_close(seg);
	mc_engine_close(eng);
	EXPECT_EQ(peer_stop(&p, 0), 0);
	peer_free(&p);
	free(mine);
}

TEST(local_moves_every_size)
{
	every_size("local", ARRAY_SIZE(sizes));
}

TEST(tcp_moves_every_size)
{
	every_size("tcp", ARRAY_SIZE(sizes));
}

/* What other processes cannot map is copied by the kernel. */
TEST(local_moves_private_memory)
{
	struct peer_proc p = { .len = 8 * MiB, .hidden = true };
	uint8_t *out = malloc(p.len), *in = calloc(1, p.len + 1);
	struct mc_segment *seg;
	struct mc_engine *eng;

	ASSERT_EQ(peer_start(&p), 0);
	eng = engine_new("local");
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	for (size_t i = 0; i < ARRAY_SIZE(sizes) && sizes[i] <= p.len; i++) {
		uint64_t n = sizes[i], at = p.len - n;

		pattern(out, n, i);
		memset(in, 0xee, n + 1);
		EXPECT_EQ(move_one(eng, seg, MC_WRITE, out, p.mem + at, n, NULL, soon()), 0);
		EXPECT_EQ(move_one(eng, seg, MC_READ, in, p.mem + at, n, NULL, soon()), 0);
		EXPECT_EQ(memcmp(in, out, n), 0);
		EXPECT_EQ(in[n], 0xee);
		EXPECT_EQ(p.mem[at], 0); /* what the test has there is its own */
	}
	EXPECT_EQ(peer_tell(&p, 'u'), 'k');
	EXPECT_EQ(move_one(eng, seg, MC_READ, in, p.mem, 1, NULL, soon()), -EFAULT);
	EXPECT_EQ(move_one(eng, seg, MC_WRITE, in, p.mem, 1, NULL, soon()), -EFAULT);
	mc_segment_close(seg);
	mc_engine_close(eng);
	EXPECT_EQ(peer_stop(&p, 0), 0);
	peer_free(&p);
	free(out);
	free(in);
}

/* The same for many pieces at once, and for a peer that ends. */
TEST(local_moves_many_pieces_of_private_memory)
{
	enum { NR = 1500 };
	struct peer_proc p = { .len = 8 * MiB, .hidden = true };
	static struct mc_request r[NR];
	static struct mc_vec v[NR];
	uint8_t *out = malloc(p.len), *in = calloc(1, p.len);
	struct mc_engine *eng;
	struct mc_segment *seg;

	ASSERT_EQ(peer_start(&p), 0);
	pattern(out, p.len, 4);
	eng = engine_new(NULL);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	EXPECT_STREQ(mc_segment_transport(seg), "local");
	for (int op = MC_WRITE; op >= MC_READ; op--) {
		for (int i = 0; i < NR; i++) {
			uint64_t at = (uint64_t)i * 5000;

			v[i] = (struct mc_vec){ (op == MC_WRITE ? out : in) + at,
						(uintptr_t)p.mem + at, 4097 };
			r[i] = (struct mc_request){ (enum mc_op)op, seg, &v[i], 1, NULL };
		}
		EXPECT_EQ(mc_transfer(eng, r, NR, soon()), 0);
	}
	for (int i = 0; i < NR; i++)
		EXPECT_EQ(memcmp(in + i * 5000, out + i * 5000, 4097), 0);
	peer_stop(&p, SIGKILL);
	EXPECT_EQ(move_one(eng, seg, MC_READ, in, p.mem, 16, "local", soon()), -ECONNRESET);
	EXPECT_EQ(move_one(eng, seg, MC_WRITE, in, p.mem, 16, "local", soon()), -ECONNRESET);
	mc_segment_close(seg);
	mc_engine_close(eng);
	peer_free(&p);
	free(out);
	free(in);
}

TEST(local_is_preferred_and_said)
{
	struct peer_proc p = { .len = 4096 }, q = { .len = 4096, .transports = "tcp" };
	struct mc_segment *seg, *other;
	struct mc_engine *eng;
	uint64_t addr, len;

	ASSERT_EQ(peer_start(&p), 0);
	ASSERT_EQ(peer_start(&q), 0);
	eng = engine_new(NULL);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	ASSERT_EQ(mc_segment_open(eng, q.name, soon(), &other), 0);
	EXPECT_STREQ(mc_segment_transport(seg), "local");
	EXPECT_STREQ(mc_segment_transport(other), "tcp");
	EXPECT_EQ(mc_segment_buffer(seg, 0, &addr, &len), 0);
	EXPECT_EQ(addr, (uintptr_t)p.mem);
	EXPECT_EQ(len, 4096u);
	EXPECT_EQ(mc_segment_buffer(seg, 1, &addr, &len), -ENOENT);
	EXPECT_EQ(mc_probe(eng, p.name, soon()), 0);
	mc_segment_close(seg);
	mc_segment_close(other);
	mc_engine_close(eng);
	peer_stop(&p, 0);
	peer_stop(&q, 0);
	peer_free(&p);
	peer_free(&q);
}

TEST(an_engine_reaches_itself)
{
	uint8_t *mem = calloc(1, MiB), *buf = malloc(MiB);
	struct mc_engine *eng = engine_new(NULL);
	struct mc_segment *seg;

	pattern(mem, MiB, 8);
	EXPECT_EQ(mc_region_add(eng, mem, MiB, NULL, NULL), 0);
	ASSERT_EQ(mc_segment_open(eng, mc_engine_name(eng), soon(), &seg), 0);
	EXPECT_STREQ(mc_segment_transport(seg), "local");
	EXPECT_EQ(move_one(eng, seg, MC_READ, buf, mem, MiB, NULL, soon()), 0);
	EXPECT_EQ(memcmp(buf, mem, MiB), 0);
	pattern(buf, MiB, 9);
	EXPECT_EQ(move_one(eng, seg, MC_WRITE, buf, mem, MiB, "tcp", soon()), 0);
	EXPECT_EQ(memcmp(buf, mem, MiB), 0);
	EXPECT_EQ(mc_region_del_addr(eng, mem), 0);
	EXPECT_EQ(move_one(eng, seg, MC_READ, buf, mem, 1, NULL, soon()), -EFAULT);
	mc_segment_close(seg);
	mc_engine_close(eng);
	free(mem);
	free(buf);
}

/* A process that may not look into the peer's memory goes by tcp and says nothing. */
static int as_nobody(const struct peer_proc *p)
{
	struct mc_segment *seg;
	struct mc_engine *eng;
	uint8_t buf[100];
	int ret;

	if (setgid(65534) || setuid(65534))
		return 2;
	eng = engine_new(NULL);
	if (!eng || mc_segment_open(eng, p->name, soon(), &seg))
		return 3;
	ret = strcmp(mc_segment_transport(seg), "tcp") ? 4 : 0;
	if (move_one(eng, seg, MC_READ, buf, p->mem, 100, NULL, soon()))
		ret = 5;
	if (move_one(eng, seg, MC_READ, buf, p->mem, 100, "local", soon()) != -EOPNOTSUPP)
		ret = 6;
	mc_segment_close(seg);
	mc_engine_close(eng);
	return ret;
}

TEST(other_users_go_by_tcp)
{
	struct peer_proc p = { .len = 4096 };
	int status;
	pid_t pid;

	if (geteuid())
		SKIP("needs root to become another user");
	ASSERT_EQ(peer_start(&p), 0);
	pid = fork();
	if (!pid)
		_exit(as_nobody(&p));
	waitpid(pid, &status, 0);
	EXPECT_EQ(WEXITSTATUS(status), 0);
	peer_stop(&p, 0);
	peer_free(&p);
}

/* Many requests, some of several vectors, some wrong: each has its own status. */
static void unregistering(const char *transport)
{
	struct peer_proc p = { .len = 65536 };
	struct mc_segment *seg;
	struct mc_engine *eng;
	char buf[100];

	ASSERT_EQ(peer_start(&p), 0);
	eng = engine_new(NULL);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	EXPECT_EQ(move_one(eng, seg, MC_READ, buf, p.mem, 100, transport, soon()), 0);
	EXPECT_EQ(peer_tell(&p, 'u'), 'k');
	EXPECT_EQ(move_one(eng, seg, MC_READ, buf, p.mem, 100, transport, soon()), -EFAULT);
	EXPECT_EQ(move_one(eng, seg, MC_WRITE, buf, p.mem, 100, transport, soon()), -EFAULT);
	EXPECT_EQ(peer_tell(&p, 'r'), 'k');
	EXPECT_EQ(peer_tell(&p, 'r'), 'e');
	EXPECT_EQ(move_one(eng, seg, MC_WRITE, buf, p.mem, 100, transport, soon()), 0);
	mc_segment_close(seg);
	mc_engine_close(eng);
	EXPECT_EQ(peer_stop(&p, 0), 0);
	peer_free(&p);
}

/* What is mapped here of a peer does not outlive what it registered there. */
TEST(other_memory_at_the_same_address_is_seen)
{
	struct peer_proc p = { .len = MiB };
	struct mc_segment *seg;
	struct mc_engine *eng;
	char buf[4] = "";

	ASSERT_EQ(peer_start(&p), 0);
	eng = engine_new("local");
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	memset(p.mem, 'a', p.len);
	EXPECT_EQ(move_one(eng, seg, MC_READ, buf, p.mem + 5, 3, NULL, soon()), 0);
	EXPECT_STREQ(buf, "aaa");
	EXPECT_EQ(peer_tell(&p, 'm'), 'k');
	EXPECT_EQ(move_one(eng, seg, MC_READ, buf, p.mem + 5, 3, NULL, soon()), 0);
	EXPECT_STREQ(buf, "zzz");
	EXPECT_EQ(move_one(eng, seg, MC_WRITE, buf, p.mem + 500, 3, NULL, soon()), 0);
	EXPECT_EQ(p.mem[500], 'a');
	mc_segment_close(seg);
	mc_engine_close(eng);
	peer_stop(&p, 0);
	peer_free(&p);
}

TEST(unregistered_memory_is_out_of_reach_by_local)
{
	unregistering("local");
}

TEST(unregistered_memory_is_out_of_reach_by_tcp)
{
	unregistering("tcp");
}

TEST(messages_arrive)
{
	struct peer_proc p = { .len = 4096 };
	struct mc_segment *seg;
	struct mc_engine *eng;

	ASSERT_EQ(peer_start(&p), 0);
	eng = engine_new(NULL);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	EXPECT_EQ(peer_tell(&p, 'n'), '0');
	EXPECT_EQ(mc_notify_send(seg, "a name", "hello", soon()), 0);
	EXPECT_EQ(peer_tell(&p, 'n'), 'k');
	EXPECT_EQ(peer_tell(&p, 'n'), '0');
	mc_segment_close(seg);
	mc_engine_close(eng);
	peer_stop(&p, 0);
	peer_free(&p);
}

static int entries(const char *path)
{
	DIR *d = opendir(path);
	int nr = 0;

	while (d && readdir(d))
		nr++;
	closedir(d);
	return nr;
}

TEST(nothing_is_left_behind)
{
	struct peer_proc p = { .len = 65536 };
	int fds = 0, threads = 0;
	char buf[100];

	ASSERT_EQ(peer_start(&p), 0);
	for (int i = 0; i < 5; i++) {
		struct mc_engine *eng = engine_new(NULL);
		struct mc_segment *seg;

		EXPECT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
		EXPECT_EQ(move_one(eng, seg, MC_READ, buf, p.mem, 100, "tcp", soon()), 0);
		EXPECT_EQ(move_one(eng, seg, MC_READ, buf, p.mem, 100, "local", soon()), 0);
		EXPECT_EQ(move_one(eng, seg, MC_READ, buf, p.mem + p.len, 100, "tcp", soon()),
			  -EFAULT);
		EXPECT_LE(entries("/proc/self/task"),
			  2 + 2 + 2); /* two entries are dots, one may be a sanitizer's */
		mc_segment_close(seg);
		mc_engine_close(eng);
		if (!i) {
			fds = entries("/proc/self/fd");
			threads = entries("/proc/self/task");
		}
	}
	EXPECT_EQ(entries("/proc/self/fd"), fds);
	EXPECT_EQ(entries("/proc/self/task"), threads);
	peer_stop(&p, 0);
	peer_free(&p);
}

TEST(refused_in_a_child)
{
	struct mc_engine *eng = engine_new(NULL);
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct mc_segment *seg;
		int ret = mc_segment_open(eng, "127.0.0.1:1", soon(), &seg);

		_exit(ret == -EPERM && strstr(mc_last_error(), "fork") ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	EXPECT_EQ(status, 0);
	mc_engine_close(eng);
}

TEST(options_are_checked)
{
	struct mc_engine *eng;
	struct {
		struct mc_engine_opts o;
		uint64_t tail;
	} later = { .o.size = sizeof(later), .tail = 1 };
	struct mc_engine_opts o = { .size = sizeof(o), .metadata = "carrier://pigeon" };

	EXPECT_EQ(mc_engine_open(&later.o, &eng), -E2BIG);
	EXPECT_EQ(mc_engine_open(&o, &eng), -EPROTONOSUPPORT);
	o = (struct mc_engine_opts){ .size = sizeof(o), .protocol = "smoke" };
	EXPECT_EQ(mc_engine_open(&o, &eng), -EPROTONOSUPPORT);
	o = (struct mc_engine_opts){ .size = sizeof(o), .local_name = "[::1" };
	EXPECT_EQ(mc_engine_open(&o, &eng), -EINVAL);
	o = (struct mc_engine_opts){ .size = sizeof(o), .min_port = 2000, .max_port = 1999 };
	EXPECT_EQ(mc_engine_open(&o, &eng), -EINVAL);
	o = (struct mc_engine_opts){ .size = sizeof(o), .transports = "smoke" };
	EXPECT_EQ(mc_engine_open(&o, &eng), -EINVAL);
	ASSERT_EQ(mc_engine_open(NULL, &eng), 0);
	EXPECT_TRUE(!strncmp(mc_engine_name(eng), "127.0.0.1:", 10));
	EXPECT_TRUE(mc_engine_rpc_port(eng) >= 15000 && mc_engine_rpc_port(eng) <= 17000);
	mc_engine_close(eng);
	mc_engine_close(NULL);
}

static void count_rdma(void *arg, enum mc_log_level level, const char *text)
{
	*(unsigned *)arg += level == MC_LOG_WARN && strstr(text, "RDMA");
}

TEST(missing_rdma_is_told_once)
{
	struct mc_engine_opts o = { .size = sizeof(o), .protocol = "rdma" };
	struct mc_engine *eng;
	unsigned told = 0;

	mc_log_set(count_rdma, &told, MC_LOG_WARN);
	EXPECT_EQ(mc_engine_protocol("rdma"), -EOPNOTSUPP);
	EXPECT_EQ(mc_engine_protocol(NULL) | mc_engine_protocol("") | mc_engine_protocol("tcp"), 0);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(mc_engine_open(&o, &eng), 0);
		mc_engine_close(eng);
	}
	EXPECT_EQ(mc_engine_protocol("rdma"), -EOPNOTSUPP);
	mc_log_set(NULL, NULL, MC_LOG_WARN);
	EXPECT_EQ(told, 1u);
}

TEST(where_it_listens)
{
	struct mc_engine_opts o = { .size = sizeof(o), .local_name = "decode-0", .host = "127.0.0.1" };
	struct mc_engine *eng;
	uint16_t port;
	char name[64];

	ASSERT_EQ(mc_engine_open(&o, &eng), 0); /* the name alone is no address */
	port = mc_engine_rpc_port(eng);
	snprintf(name, sizeof(name), "127.0.0.1:%u", port);
	EXPECT_STREQ(mc_engine_name(eng), name);
	mc_engine_close(eng);
	o = (struct mc_engine_opts){ .size = sizeof(o), .local_name = name };
	setenv("MC_LEGACY_RPC_PORT_BINDING", "1", 1); /* the port in the name, which is free again */
	ASSERT_EQ(mc_engine_open(&o, &eng), 0);
	EXPECT_EQ(mc_engine_rpc_port(eng), port);
	unsetenv("MC_LEGACY_RPC_PORT_BINDING");
	mc_engine_close(eng);
}
