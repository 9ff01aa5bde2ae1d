// SPDX-License-Identifier: Apache-2.0
/* A node, a master and clients as processes: what is stored, what survives which death, and how a node ends. */
#include <mooncake/engine.h>

#include "integration/node_rig.h"

/* Full key of the default tenant. */
static struct key named(const char *name, uint8_t out[FULL_KEY_MAX])
{
	return full_key(name, out);
}

/* Does the master come to say @want about the key? */
static bool master_says(struct client *c, const char *name, int want)
{
	uint8_t full[FULL_KEY_MAX];
	struct key k = named(name, full);
	uint64_t end = soon();
	int got;

	do {
		got = client_exists(c, &k);
		if (got == want)
			return true;
		usleep(2000);
	} while (!deadline_passed(end));
	printf("# master says %d of %s\n", got, name);
	return false;
}

/* A put once the node has found the master. */
static int put_when_joined(struct tc *c, const char *name, const void *data, size_t len)
{
	uint64_t end = soon();
	int ret;

	do {
		ret = tc_put(c, name, data, len, 0);
		if (ret == -ENOTCONN)
			usleep(2000);
	} while (ret == -ENOTCONN && !deadline_passed(end));
	return ret;
}

TEST(put_here_and_over_tcp)
{
	struct one_node w;
	struct tc t;

	ASSERT_EQ(one_node_open(&w), 0);
	EXPECT_EQ(put_when_joined(&w.c, "here", "bytes", 5), 0);
	EXPECT_TRUE(master_says(&w.m, "here", 1)); /* no waiting: the put returned after the master's yes */
	EXPECT_EQ(tc_put(&w.c, "here", "other", 5, 0), -EEXIST);
	ASSERT_EQ(tc_connect(&t, w.n.addr), 0);
	EXPECT_EQ(tc_hello(&t), 0);
	EXPECT_EQ(tc_send(&t, "there", "12345678", 8, OBJ_CRC, crc32c(0, "12345678", 8)), 0);
	EXPECT_EQ(view_check(&w.c.v, "there", "12345678", 8), 0);
	EXPECT_TRUE(master_says(&w.m, "there", 1));
	tc_close(&t);
	one_node_close(&w);
}

TEST(a_blank_master_is_refilled)
{
	struct node_proc n;
	struct client m;
	char name[32], port[32];
	struct tc c;
	struct rig r;

	ASSERT_EQ(rig_master(&r, NULL, NULL, NULL), 0);
	ASSERT_EQ(node_start(&n, NULL, r.port, NULL), 0);
	ASSERT_EQ(tc_open(&c, n.unix_path), 0);
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "o%d", i);
		ASSERT_EQ(put_when_joined(&c, name, name, strlen(name)), 0);
	}
	snprintf(port, sizeof(port), "--port=%u", r.port);
	EXPECT_EQ(rig_stop(&r, SIGKILL), 128 + SIGKILL);
	EXPECT_EQ(view_check(&c.v, "o7", "o7", 2), 0); /* reads do not need it */
	ASSERT_EQ(rig_master(&r, port, NULL, NULL), 0);
	ASSERT_EQ(client_open(&m, &r, false), 0);
	EXPECT_TRUE(master_says(&m, "o199", 1));
	EXPECT_TRUE(master_says(&m, "o0", 1));
	EXPECT_EQ(put_when_joined(&c, "after", "bytes", 5), 0);
	EXPECT_TRUE(master_says(&m, "after", 1));
	EXPECT_EQ(tc_return(&c), 0);
	tc_close(&c);
	client_close(&m);
	EXPECT_EQ(node_stop(&n, SIGTERM), 0);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

TEST(node_starts_first)
{
	struct node_proc n;
	struct client m;
	char port[32];
	struct tc c;
	struct rig r;

	ASSERT_EQ(rig_master(&r, NULL, NULL, NULL), 0);
	snprintf(port, sizeof(port), "--port=%u", r.port);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
	ASSERT_EQ(node_start(&n, NULL, r.port, NULL), 0);
	ASSERT_EQ(tc_open(&c, n.unix_path), 0);
	EXPECT_EQ(tc_put(&c, "early", "bytes", 5, 0), -ENOTCONN);
	ASSERT_EQ(rig_master(&r, port, NULL, NULL), 0);
	EXPECT_EQ(put_when_joined(&c, "early", "bytes", 5), 0);
	ASSERT_EQ(client_open(&m, &r, false), 0);
	EXPECT_TRUE(master_says(&m, "early", 1));
	client_close(&m);
	EXPECT_EQ(tc_return(&c), 0);
	tc_close(&c);
	EXPECT_EQ(node_stop(&n, SIGTERM), 0);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

TEST(eviction_reaches_the_master)
{
	struct one_node w;
	static char data[512 * 1024];
	char name[32];

	ASSERT_EQ(one_node_open(&w), 0);
	for (int i = 0; i < 40; i++) { /* 20 MiB through 8 */
		snprintf(name, sizeof(name), "e%d", i);
		ASSERT_EQ(put_when_joined(&w.c, name, data, sizeof(data)), 0);
	}
	EXPECT_TRUE(master_says(&w.m, "e0", 0));
	EXPECT_TRUE(master_says(&w.m, "e39", 1));
	one_node_close(&w);
}

TEST(removal_respects_what_readers_touched)
{
	struct one_node w;
	uint8_t full[FULL_KEY_MAX];
	struct key key = named("k", full);
	struct found f;
	int32_t status = 1;

	ASSERT_EQ(one_node_open(&w), 0);
	EXPECT_EQ(put_when_joined(&w.c, "k", "bytes", 5), 0);
	ASSERT_EQ(view_find(&w.c.v, "k", &f), 0);
	view_touch(&w.c.v, &f);
	EXPECT_EQ(client_remove(&w.m, &key, 1, false, &status), 0);
	EXPECT_EQ(status, -EBUSY);
	EXPECT_EQ(view_check(&w.c.v, "k", "bytes", 5), 0);
	EXPECT_TRUE(master_says(&w.m, "k", 1));
	EXPECT_EQ(client_remove(&w.m, &key, 1, true, &status), 0);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(view_find(&w.c.v, "k", &f), -ENOENT);
	EXPECT_EQ(put_when_joined(&w.c, "a", "1", 1), 0);
	EXPECT_EQ(put_when_joined(&w.c, "b", "2", 1), 0);
	EXPECT_EQ(client_remove_match(&w.m, "", true), 2);
	EXPECT_EQ(view_find(&w.c.v, "a", &f), -ENOENT);
	one_node_close(&w);
}

/* A client in a process of its own, killed while it writes. */
TEST(client_killed_in_the_middle_of_a_put)
{
	struct node_proc n;
	struct client m;
	struct found f;
	struct tc c;
	struct rig r;
	int p[2], ret = 0;
	char ok = 0;
	pid_t pid;

	ASSERT_EQ(rig_master(&r, NULL, NULL, NULL), 0);
	ASSERT_EQ(node_start(&n, NULL, r.port, NULL), 0);
	ASSERT_EQ(pipe(p), 0);
	pid = fork();
	if (!pid) {
		uint8_t full[FULL_KEY_MAX];
		struct key key = named("unfinished", full);
		struct publish_item it;
		struct extents x;

		ret = tc_open(&c, n.unix_path);
		if (!ret)
			ret = put_when_joined(&c, "finished", "bytes", 5);
		if (!ret)
			ret = tc_grant(&c, 7 * MiB);
		if (!ret)
			ret = tc_fill(&c, &key, "half", 4, 0, &x, &it);
		ok = ret ? 'n' : 'y';
		if (write(p[1], &ok, 1) != 1)
			_exit(1);
		pause();
	}
	close(p[1]);
	EXPECT_EQ(read(p[0], &ok, 1), 1);
	EXPECT_EQ(ok, 'y');
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ASSERT_EQ(client_open(&m, &r, false), 0);
	ASSERT_EQ(tc_open(&c, n.unix_path), 0);
	EXPECT_EQ(view_check(&c.v, "finished", "bytes", 5), 0);
	EXPECT_EQ(view_find(&c.v, "unfinished", &f), -ENOENT);
	EXPECT_TRUE(master_says(&m, "finished", 1));
	EXPECT_TRUE(master_says(&m, "unfinished", 0));
	for (uint64_t end = soon(); (ret = tc_grant(&c, 6 * MiB)) == -ENOSPC && !deadline_passed(end);)
		usleep(2000); /* its space comes back */
	EXPECT_EQ(ret, 0);
	EXPECT_GE(tc_held(&c), 6 * MiB);
	EXPECT_EQ(tc_return(&c), 0);
	tc_close(&c);
	client_close(&m);
	close(p[0]);
	EXPECT_EQ(node_stop(&n, SIGTERM), 0);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

TEST(sigterm_leaves_in_order)
{
	struct node_proc n;
	struct msg_pools pools;
	struct client m;
	struct tc c;
	struct rig r;

	ASSERT_EQ(rig_master(&r, NULL, NULL, NULL), 0);
	ASSERT_EQ(node_start(&n, NULL, r.port, NULL), 0);
	ASSERT_EQ(client_open(&m, &r, false), 0);
	ASSERT_EQ(tc_open(&c, n.unix_path), 0);
	EXPECT_EQ(put_when_joined(&c, "k", "bytes", 5), 0);
	EXPECT_EQ(client_pools(&m, &pools), 1);
	EXPECT_EQ(tc_return(&c), 0);
	EXPECT_EQ(node_stop(&n, SIGTERM), 0);
	EXPECT_TRUE(view_dead(&c.v));
	EXPECT_EQ(view_check(&c.v, "k", "bytes", 5), 0); /* who has it mapped may read on */
	EXPECT_TRUE(master_says(&m, "k", 0));
	EXPECT_EQ(client_pools(&m, &pools), 0);
	tc_close(&c);
	client_close(&m);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

TEST(objects_outlive_a_killed_node)
{
	struct fd_store st;
	struct node_proc n;
	struct client m;
	char name[32];
	struct tc c;
	struct rig r;

	ASSERT_EQ(store_open(&st), 0);
	ASSERT_EQ(rig_master(&r, NULL, NULL, NULL), 0);
	ASSERT_EQ(node_start(&n, &st, r.port, NULL), 0);
	ASSERT_EQ(tc_open(&c, n.unix_path), 0);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "o%d", i);
		ASSERT_EQ(put_when_joined(&c, name, name, strlen(name)), 0);
	}
	tc_close(&c);
	store_read(&st);
	EXPECT_TRUE(st.ready);
	EXPECT_EQ(st.nr, 3u);
	EXPECT_EQ(node_stop(&n, SIGKILL), 128 + SIGKILL);

	ASSERT_EQ(node_start(&n, &st, r.port, NULL), 0);
	EXPECT_TRUE(strstr(n.said, "took over 100 objects"));
	ASSERT_EQ(client_open(&m, &r, false), 0);
	EXPECT_TRUE(master_says(&m, "o99", 1));
	ASSERT_EQ(tc_open(&c, n.unix_path), 0);
	EXPECT_EQ(view_check(&c.v, "o0", "o0", 2), 0);
	EXPECT_EQ(put_when_joined(&c, "new", "bytes", 5), 0);
	EXPECT_EQ(tc_return(&c), 0);
	tc_close(&c);
	client_close(&m);
	EXPECT_EQ(node_stop(&n, SIGTERM), 0);
	store_read(&st);
	EXPECT_TRUE(st.stopping);
	EXPECT_EQ(st.nr, 3u); /* the same memory was not kept twice */

	/* A kept pool that is no pool: an empty one takes its place, in the store too. */
	EXPECT_EQ(pwrite(st.fd[0], "garbage!", 8, 0), 8);
	ASSERT_EQ(node_start(&n, &st, r.port, NULL), 0);
	EXPECT_TRUE(strstr(n.said, "starting an empty one"));
	EXPECT_EQ(node_stop(&n, SIGTERM), 0);
	store_read(&st);
	EXPECT_EQ(st.nr, 3u);
	store_close(&st);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

/* What another node does: the master says where, the engine reads it from the node's memory. */
TEST(others_read_through_the_engine)
{
	struct one_node w;
	const struct mc_engine_opts eo = { .size = sizeof(eo), .flags = MC_ENGINE_CLIENT, .transports = "tcp" };
	uint8_t full[FULL_KEY_MAX];
	struct key key = named("far", full);
	struct msg_pools pools;
	struct located l;
	struct mc_segment *seg;
	struct mc_engine *eng;
	char segment[NET_ADDR_TEXT], got[sizeof(struct extent_hdr) + 5];
	struct extent_hdr h;
	struct mc_vec vec;
	struct mc_request req;

	ASSERT_EQ(one_node_open(&w), 0);
	EXPECT_EQ(put_when_joined(&w.c, "far", "bytes", 5), 0);
	ASSERT_EQ(client_locate(&w.m, &key, true, &l, NULL), 0);
	ASSERT_EQ(l.status, 0);
	EXPECT_EQ(l.nr_replicas, 1);
	ASSERT_EQ(client_pools(&w.m, &pools), 1);
	EXPECT_EQ(pools.pools[0].index, l.replica[0].pool);
	snprintf(segment, sizeof(segment), "%.*s", pools.pools[0].segment.len, (const char *)pools.pools[0].segment.data);
	vec = (struct mc_vec){ got, pools.pools[0].region[l.replica[0].loc.region].addr + l.replica[0].loc.off, sizeof(got) };

	ASSERT_EQ(mc_engine_open(&eo, &eng), 0);
	ASSERT_EQ(mc_segment_open(eng, segment, soon(), &seg), 0);
	req = (struct mc_request){ .op = MC_READ, .segment = seg, .vec = &vec, .nr_vec = 1 };
	EXPECT_EQ(mc_transfer(eng, &req, 1, soon()), 0);
	memcpy(&h, got, sizeof(h));
	EXPECT_TRUE(h.gen == l.replica[0].loc.gen);
	EXPECT_EQ(h.len, 5u);
	EXPECT_MEMEQ(got + sizeof(h), "bytes", 5);
	mc_segment_close(seg);
	mc_engine_close(eng);
	one_node_close(&w);
}

TEST(a_replaced_object_leaves_the_other_node)
{
	struct node_proc na, nb;
	struct tc a, b;
	struct found f;
	struct rig r;

	ASSERT_EQ(rig_master(&r, NULL, NULL, NULL), 0);
	ASSERT_EQ(node_start(&na, NULL, r.port, NULL), 0);
	ASSERT_EQ(node_start(&nb, NULL, r.port, NULL), 0);
	ASSERT_EQ(tc_open(&a, na.unix_path), 0);
	ASSERT_EQ(tc_open(&b, nb.unix_path), 0);
	EXPECT_EQ(put_when_joined(&a, "k", "first", 5), 0);
	EXPECT_EQ(put_when_joined(&b, "other", "x", 1), 0);
	EXPECT_EQ(tc_put(&b, "k", "second", 6, 0), -EEXIST);
	EXPECT_EQ(view_check(&a.v, "k", "first", 5), 0);
	EXPECT_EQ(tc_put(&b, "k", "second", 6, OBJ_REPLACE), 0);
	EXPECT_EQ(view_find(&a.v, "k", &f), -ENOENT); /* before the put returned */
	EXPECT_EQ(view_check(&b.v, "k", "second", 6), 0);
	EXPECT_EQ(tc_put(&a, "k", "third", 5, OBJ_REPLACE), 0);
	EXPECT_EQ(view_find(&b.v, "k", &f), -ENOENT);
	EXPECT_EQ(view_check(&a.v, "k", "third", 5), 0);
	EXPECT_EQ(tc_return(&a), 0);
	EXPECT_EQ(tc_return(&b), 0);
	tc_close(&a);
	tc_close(&b);
	EXPECT_EQ(node_stop(&na, SIGTERM), 0);
	EXPECT_EQ(node_stop(&nb, SIGTERM), 0);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

TEST(http_says_how_it_is)
{
	const char *const argv[] = { "mooncake-node", "--port=0", "--huge_pages=false", "--global_segment_size=8mb", NULL, NULL,
				     "--enable_http_server", "--http_port=0", NULL };
	const char *args[ARRAY_SIZE(argv)];
	char master[64], unix_path[64], url[256];
	struct buf b = BUF_INIT;
	struct node_proc n;
	uint64_t end = soon();
	struct rig r;
	int ret;

	ASSERT_EQ(rig_master(&r, NULL, NULL, NULL), 0);
	memcpy(args, argv, sizeof(args));
	snprintf(master, sizeof(master), "--master_server_address=127.0.0.1:%u", r.port);
	snprintf(unix_path, sizeof(unix_path), "--unix_path=unix:@mc-test-node-http-%d", getpid());
	args[4] = master;
	args[5] = unix_path;
	ASSERT_EQ(node_exec(&n, NULL, args), 0);
	snprintf(url, sizeof(url), "http://%s/health", n.http);
	do {
		buf_reset(&b);
		ret = http_request("GET", url, NULL, NULL, 0, 4096, soon(), &b);
	} while (ret == 503 && !deadline_passed(end));
	EXPECT_EQ(ret, 200);
	buf_put(&b, "", 1);
	EXPECT_TRUE(strstr((char *)b.data, "\"healthy\""));
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
	for (end = soon(); ret == 200 && !deadline_passed(end);)
		ret = http_request("GET", url, NULL, NULL, 0, 4096, soon(), &b);
	EXPECT_EQ(ret, 503);
	snprintf(url, sizeof(url), "http://%s/metrics", n.http);
	buf_reset(&b);
	EXPECT_EQ(http_request("GET", url, NULL, NULL, 0, 65536, soon(), &b), 200);
	buf_put(&b, "", 1);
	EXPECT_TRUE(strstr((char *)b.data, "mooncake_node_capacity_bytes 83"));
	buf_fini(&b);
	EXPECT_EQ(node_stop(&n, SIGTERM), 0);
}

TEST(wrong_flags_say_so)
{
	const char *unknown[] = { "mooncake-node", "--globl_segment_size=8mb", NULL };
	const char *group[] = { "mooncake-node", "--group=no-such-group-here", NULL };
	const char *master[] = { "mooncake-node", "--master_server_address=127.0.0.1:", NULL };
	const char *small[] = { "mooncake-node", "--global_segment_size=10", NULL };
	struct node_proc n;

	EXPECT_EQ(node_exec(&n, NULL, unknown), 2);
	EXPECT_TRUE(strstr(n.said, "global_segment_size"));
	EXPECT_EQ(node_exec(&n, NULL, group), 2);
	EXPECT_TRUE(strstr(n.said, "no-such-group-here"));
	EXPECT_EQ(node_exec(&n, NULL, master), 2);
	EXPECT_TRUE(strstr(n.said, "host:port"));
	EXPECT_EQ(node_exec(&n, NULL, small), 1);
}
