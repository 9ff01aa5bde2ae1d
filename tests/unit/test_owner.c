// SPDX-License-Identifier: Apache-2.0
/* The owner among a client and a master that does what the test says: commits, verdicts, puts over TCP, refusals. */
#include "owner_rig.h"

TEST(put_and_find)
{
	struct rig r;
	char data[100000];

	memset(data, 'a', sizeof(data));
	ASSERT_EQ(rig_open(&r, 4 * MiB), 0);
	EXPECT_EQ(tc_put(&r.c, "one", data, sizeof(data), OBJ_CRC), 0);
	EXPECT_EQ(view_check(&r.c.v, "one", data, sizeof(data)), 0);
	EXPECT_EQ(view_check(owner_view(r.ow), "one", data, sizeof(data)), 0);
	EXPECT_EQ(r.master.items, 1u);
	EXPECT_EQ(r.master.joins, 1u);
	EXPECT_EQ(r.master.join.pool.nr_regions, 1);
	rig_close(&r);
	EXPECT_EQ(r.master.left, 1u);
}

TEST(findable_only_after_the_verdict)
{
	uint8_t full[FULL_KEY_MAX];
	struct key key = full_key("late", full);
	struct publish_item it;
	struct msg_commit m = { .nr = 1, .items = &it };
	struct buf b = BUF_INIT;
	struct mux_req q;
	struct extents x;
	struct found f;
	struct rig r;

	ASSERT_EQ(rig_open(&r, 4 * MiB), 0);
	r.master.hold = true;
	ASSERT_EQ(tc_grant(&r.c, 1 * MiB), 0);
	ASSERT_EQ(tc_fill(&r.c, &key, "bytes", 5, 0, &x, &it), 0);
	msg_commit_encode(&m, &b);
	q = (struct mux_req){ .type = MSG_COMMIT, .body = b.data, .body_len = b.len };
	ASSERT_EQ(mux_submit(r.c.m, &q, false), 0);
	EXPECT_TRUE(fake_wait(&r.master, publishes, 1));
	EXPECT_EQ(view_find(&r.c.v, "late", &f), -ENOENT);
	fake_release(&r.master);
	EXPECT_EQ(mux_wait(r.c.m, &q, soon()), 0);
	EXPECT_EQ(view_check(&r.c.v, "late", "bytes", 5), 0);
	buf_fini(&q.reply);
	buf_fini(&b);
	rig_close(&r);
}

TEST(existing_key_needs_no_master)
{
	struct rig r;
	unsigned before;

	ASSERT_EQ(rig_open(&r, 4 * MiB), 0);
	EXPECT_EQ(tc_put(&r.c, "k", "first", 5, 0), 0);
	before = r.master.publishes;
	EXPECT_EQ(tc_put(&r.c, "k", "second", 6, 0), -EEXIST);
	EXPECT_EQ(r.master.publishes, before);
	EXPECT_EQ(view_check(&r.c.v, "k", "first", 5), 0);
	EXPECT_EQ(tc_put(&r.c, "k", "third", 5, OBJ_REPLACE), 0);
	EXPECT_EQ(view_check(&r.c.v, "k", "third", 5), 0);
	rig_close(&r);
}

TEST(refused_space_is_the_clients_again)
{
	struct pool_stat before, after;
	struct rig r;

	ASSERT_EQ(rig_open(&r, 4 * MiB), 0);
	ASSERT_EQ(tc_grant(&r.c, 1 * MiB), 0);
	owner_stat(r.ow, &before);
	r.master.verdict = -EEXIST;
	EXPECT_EQ(tc_put(&r.c, "k", "bytes", 5, 0), -EEXIST);
	owner_stat(r.ow, &after);
	EXPECT_EQ(after.granted, before.granted);
	EXPECT_EQ(after.objects, 0u);
	r.master.verdict = 0;
	EXPECT_EQ(tc_put(&r.c, "k", "bytes", 5, 0), 0);
	EXPECT_EQ(view_check(&r.c.v, "k", "bytes", 5), 0);
	EXPECT_EQ(tc_return(&r.c), 0);
	owner_stat(r.ow, &after);
	EXPECT_EQ(after.granted, 0u);
	EXPECT_EQ(after.objects, 1u);
	rig_close(&r);
}

TEST(commits_meanwhile_go_together)
{
	enum { N = 5 };
	struct tc c[N];
	struct mux_req q[N];
	struct buf b[N] = { BUF_INIT };
	uint8_t full[N][FULL_KEY_MAX];
	struct rig r;

	ASSERT_EQ(rig_open(&r, 8 * MiB), 0);
	r.master.hold = true;
	for (int i = 0; i < N; i++) {
		struct publish_item it;
		struct msg_commit m = { .nr = 1, .items = &it };
		struct extents x;
		struct key key;
		char name[16];

		snprintf(name, sizeof(name), "k%d", i);
		key = full_key(name, full[i]);
		ASSERT_EQ(tc_open(&c[i], owner_unix_path(r.ow)), 0);
		ASSERT_EQ(tc_grant(&c[i], 64 * KiB), 0);
		ASSERT_EQ(tc_fill(&c[i], &key, "x", 1, 0, &x, &it), 0);
		msg_commit_encode(&m, &b[i]);
		q[i] = (struct mux_req){ .type = MSG_COMMIT, .body = b[i].data, .body_len = b[i].len };
		ASSERT_EQ(mux_submit(c[i].m, &q[i], false), 0);
		if (!i)
			EXPECT_TRUE(fake_wait(&r.master, publishes, 1));
	}
	/* All have arrived when a later request of each stream is answered; so the next PUBLISH has all of them. */
	for (int i = 1; i < N; i++)
		EXPECT_EQ(tc_hello(&c[i]), 0);
	fake_release(&r.master);
	for (int i = 0; i < N; i++) {
		EXPECT_EQ(mux_wait(c[i].m, &q[i], soon()), 0);
		EXPECT_EQ(q[i].status, 0);
		buf_fini(&q[i].reply);
		buf_fini(&b[i]);
		tc_close(&c[i]);
	}
	EXPECT_EQ(r.master.publishes, 2u);
	EXPECT_EQ(r.master.max_items, N - 1u);
	rig_close(&r);
}

TEST(batch_gets_a_status_each)
{
	enum { N = 3 };
	uint8_t full[N][FULL_KEY_MAX];
	struct publish_item it[N];
	struct extents x[N];
	int32_t status[N];
	struct key key;
	struct rig r;

	ASSERT_EQ(rig_open(&r, 4 * MiB), 0);
	EXPECT_EQ(tc_put(&r.c, "b", "old", 3, 0), 0);
	for (int i = 0; i < N; i++) {
		key = full_key(i == 0 ? "a" : i == 1 ? "b" : "c", full[i]);
		ASSERT_EQ(tc_fill(&r.c, &key, "new", 3, 0, &x[i], &it[i]), 0);
	}
	it[2].loc.off += POOL_UNIT; /* not where it was written */
	EXPECT_EQ(tc_commit(&r.c, it, N, status), 0);
	EXPECT_EQ(status[0], 0);
	EXPECT_EQ(status[1], -EEXIST);
	EXPECT_TRUE(status[2] == -EINVAL || status[2] == -EBADMSG);
	EXPECT_EQ(view_check(&r.c.v, "a", "new", 3), 0);
	EXPECT_EQ(view_check(&r.c.v, "b", "old", 3), 0);
	rig_close(&r);
}

TEST(without_a_master_at_once)
{
	struct owner_opts o = { .pool_opts = { .bytes = 4 * MiB } };
	struct pool_stat st;
	struct rig r;
	uint64_t began;

	ASSERT_EQ(rig_open_opts(&r, &o, false), 0);
	EXPECT_EQ(owner_joined(r.ow, deadline_after_ms(20)), -ECONNREFUSED);
	began = clock_now_ns();
	EXPECT_EQ(tc_put(&r.c, "k", "bytes", 5, 0), -ENOTCONN);
	owner_stat(r.ow, &st);
	EXPECT_EQ(st.granted, 0); /* nothing is evicted for what cannot be stored */
	EXPECT_EQ(tc_send(&r.c, "k", "bytes", 5, 0, 0), -ENOTCONN);
	EXPECT_LT(clock_now_ns() - began, NSEC_PER_SEC);
	ASSERT_EQ(fake_listen(&r.master), 0);
	EXPECT_EQ(owner_joined(r.ow, soon()), 0);
	EXPECT_EQ(tc_put(&r.c, "k", "bytes", 5, 0), 0);
	rig_close(&r);
}

TEST(publication_survives_a_lost_stream)
{
	struct rig r;

	ASSERT_EQ(rig_open(&r, 4 * MiB), 0);
	r.master.hang_up = true;
	EXPECT_EQ(tc_put(&r.c, "k", "bytes", 5, 0), 0);
	EXPECT_EQ(r.master.joins, 2u);
	EXPECT_EQ(view_check(&r.c.v, "k", "bytes", 5), 0);
	rig_close(&r);
}

TEST(publication_is_tried_twice_only)
{
	struct found f;
	struct held h;
	struct rig r;

	ASSERT_EQ(rig_open(&r, 4 * MiB), 0);
	ASSERT_EQ(rig_hold_put(&r, &h), 0);
	fake_kill(&r.master);
	ASSERT_EQ(fake_listen(&r.master), 0);
	EXPECT_TRUE(fake_wait(&r.master, publishes, 2));
	fake_kill(&r.master);
	EXPECT_EQ(rig_held_end(&r, &h), -ENOTCONN);
	EXPECT_EQ(view_find(&r.c.v, "k", &f), -ENOENT);
	rig_close(&r);
}

TEST(blank_master_is_told_everything)
{
	char name[32];
	struct rig r;

	ASSERT_EQ(rig_open(&r, 4 * MiB), 0);
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "object-%d", i);
		ASSERT_EQ(tc_put(&r.c, name, name, strlen(name), 0), 0);
	}
	fake_kill(&r.master);
	r.master.items = 0;
	ASSERT_EQ(fake_listen(&r.master), 0);
	EXPECT_TRUE(fake_wait(&r.master, synced, 2));
	EXPECT_EQ(r.master.items, 300u);
	EXPECT_EQ(owner_joined(r.ow, soon()), 0);
	rig_close(&r);
}

TEST(what_a_refill_may_not_keep_goes)
{
	struct found f;
	struct rig r;

	ASSERT_EQ(rig_open(&r, 4 * MiB), 0);
	EXPECT_EQ(tc_put(&r.c, "k", "bytes", 5, 0), 0);
	fake_kill(&r.master);
	r.master.verdict = -EEXIST; /* somebody stored it anew meanwhile */
	ASSERT_EQ(fake_listen(&r.master), 0);
	EXPECT_TRUE(fake_wait(&r.master, synced, 2));
	EXPECT_EQ(view_find(&r.c.v, "k", &f), -ENOENT);
	rig_close(&r);
}

TEST(put_from_elsewhere)
{
	struct owner_opts o = { .pool_opts = { .bytes = 8 * MiB }, .listen = "127.0.0.1:0" };
	size_t len = 3 * MiB + 17;
	char *data = malloc(len);
	struct tc t;
	struct found f;
	struct rig r;

	for (size_t i = 0; i < len; i++)
		data[i] = (char)(i * 7);
	ASSERT_EQ(rig_open_opts(&r, &o, true), 0);
	ASSERT_EQ(tc_connect(&t, owner_addr(r.ow)), 0);
	EXPECT_EQ(tc_hello(&t), 0);
	EXPECT_EQ(tc_send(&t, "far", data, len, OBJ_CRC, crc32c(0, data, len)), 0);
	EXPECT_EQ(view_check(&r.c.v, "far", data, len), 0);
	EXPECT_EQ(tc_send(&t, "far", data, len, OBJ_CRC, crc32c(0, data, len)), -EEXIST);
	EXPECT_EQ(tc_send(&t, "bad", data, len, OBJ_CRC, 1), -EBADMSG);
	EXPECT_EQ(view_find(&r.c.v, "bad", &f), -ENOENT);
	EXPECT_EQ(tc_send(&t, "empty", data, 0, 0, 0), -EINVAL);
	EXPECT_EQ(tc_send(&t, "flags", data, 10, 1 << 13, 0), -EBADMSG);
	EXPECT_EQ(tc_send(&t, "huge", data, len, 0, 0), 0); /* evicts */
	r.master.verdict = -EEXIST;
	EXPECT_EQ(tc_send(&t, "raced", data, 1000, 0, 0), -EEXIST);
	EXPECT_EQ(view_find(&r.c.v, "raced", &f), -ENOENT);
	EXPECT_EQ(tc_attach(&t, true), -EOPNOTSUPP);
	tc_close(&t);
	rig_close(&r);
	free(data);
}

/* The checksum follows the bytes; each extent has its own in the end. */
TEST(put_with_its_checksum_behind)
{
	struct owner_opts o = { .pool_opts = { .bytes = 8 * MiB, .region_max = 1 * MiB }, .listen = "127.0.0.1:0" };
	size_t len = 3 * MiB + 17;
	char *data = malloc(len);
	uint32_t crc;
	struct iovec iov[16];
	struct pool_stat st;
	struct found f;
	struct tc t;
	struct rig r;
	int nr;

	for (size_t i = 0; i < len; i++)
		data[i] = (char)(i * 11);
	crc = crc32c(0, data, len);
	ASSERT_EQ(rig_open_opts(&r, &o, true), 0);
	ASSERT_EQ(tc_connect(&t, owner_addr(r.ow)), 0);
	EXPECT_EQ(tc_hello(&t), 0);
	EXPECT_EQ(tc_send_sum(&t, "wrong", data, len, crc + 1), -EBADMSG);
	EXPECT_EQ(view_find(&r.c.v, "wrong", &f), -ENOENT);
	owner_stat(r.ow, &st);
	EXPECT_EQ(st.used, 0u);
	EXPECT_EQ(tc_send_sum(&t, "right", data, len, crc), 0);
	EXPECT_EQ(view_check(&r.c.v, "right", data, len), 0);
	ASSERT_EQ(view_find(&r.c.v, "right", &f), 0);
	nr = view_map(&r.c.v, &f.loc, f.size, iov, ARRAY_SIZE(iov));
	EXPECT_GT(nr, 3);
	for (int i = 0; i < nr; i++) {
		const struct extent_hdr *h = (const struct extent_hdr *)iov[i].iov_base - 1;

		EXPECT_EQ(h->crc, crc32c(0, iov[i].iov_base, iov[i].iov_len));
	}
	EXPECT_EQ(tc_send_sum(&t, "right", data, len, crc), -EEXIST); /* skipped with its checksum */
	EXPECT_EQ(tc_send_sum(&t, "small", data, 1, crc32c(0, data, 1)), 0);
	EXPECT_EQ(view_check(&r.c.v, "small", data, 1), 0);
	tc_close(&t);
	rig_close(&r);
	free(data);
}

/* Waits until the pool has something in use, or nothing. */
static bool until_used(struct rig *r, bool used)
{
	uint64_t end = soon();
	struct pool_stat st;

	do
		owner_stat(r->ow, &st);
	while (!st.used == used && !deadline_passed(end));
	return !st.used != used;
}

/* Of a put of 1 MiB: 200 bytes. */
static void begin_put(struct tc *t)
{
	uint8_t full[FULL_KEY_MAX] = { 0 }, head[NET_FRAME_BYTES];
	struct msg_put m = { .key = full_key("half", full), .put_id = 9, .size = 1 * MiB };
	struct net_frame f = { .type = MSG_PUT, .id = 2, .payload_len = 1 * MiB };
	struct buf b = BUF_INIT;

	msg_put_encode(&m, &b);
	f.body_len = (uint32_t)b.len;
	net_frame_encode(&f, head);
	EXPECT_EQ(write(mux_fd(t->m), head, sizeof(head)), (ssize_t)sizeof(head));
	EXPECT_EQ(write(mux_fd(t->m), b.data, b.len), (ssize_t)b.len);
	EXPECT_EQ(write(mux_fd(t->m), full, 200), 200);
	buf_fini(&b);
}

TEST(put_that_stops_in_the_middle)
{
	struct owner_opts o = { .pool_opts = { .bytes = 8 * MiB }, .listen = "127.0.0.1:0", .put_idle_ns = 100 * NSEC_PER_MSEC };
	struct tc t;
	struct rig r;
	char byte;

	ASSERT_EQ(rig_open_opts(&r, &o, true), 0);
	ASSERT_EQ(tc_connect(&t, owner_addr(r.ow)), 0);
	EXPECT_EQ(tc_hello(&t), 0);
	begin_put(&t);
	EXPECT_TRUE(until_used(&r, true));
	tc_close(&t);
	EXPECT_TRUE(until_used(&r, false));
	/* Or its sender lives, and forgot it. */
	ASSERT_EQ(tc_connect(&t, owner_addr(r.ow)), 0);
	EXPECT_EQ(tc_hello(&t), 0);
	begin_put(&t);
	EXPECT_TRUE(until_used(&r, true));
	EXPECT_TRUE(until_used(&r, false));
	EXPECT_TRUE(recv(mux_fd(t.m), &byte, 1, 0) <= 0);
	tc_close(&t);
	rig_close(&r);
}

TEST(draining_takes_no_new_space)
{
	struct rig r;

	ASSERT_EQ(rig_open(&r, 4 * MiB), 0);
	EXPECT_EQ(tc_put(&r.c, "k", "bytes", 5, 0), 0);
	owner_drain(r.ow);
	EXPECT_EQ(tc_put(&r.c, "granted", "before", 6, 0), 0);
	EXPECT_EQ(tc_grant(&r.c, 1 * MiB), -ESHUTDOWN);
	EXPECT_EQ(tc_send(&r.c, "x", "bytes", 5, 0, 0), -ESHUTDOWN);
	EXPECT_EQ(view_check(&r.c.v, "k", "bytes", 5), 0);
	EXPECT_TRUE(fake_wait(&r.master, stats, 1));
	EXPECT_EQ(tc_hello(&r.c), 0);
	rig_close(&r);
	EXPECT_EQ(r.master.stat_flags, (unsigned)POOL_DRAINING);
}

static int raw_call(struct tc *c, uint16_t type)
{
	struct buf b = BUF_INIT;

	return tc_call(c, type, &b, NULL);
}

TEST(hostile_clients)
{
	static const char junk[] = "GET / HTTP/1.1\r\nHost: here\r\n\r\n.....................";
	struct msg_attach m = { .write = true };
	struct buf b = BUF_INIT;
	struct tc t;
	char byte;
	struct rig r;

	ASSERT_EQ(rig_open(&r, 4 * MiB), 0);
	/* no HELLO */
	ASSERT_EQ(tc_connect(&t, owner_unix_path(r.ow)), 0);
	EXPECT_EQ(raw_call(&t, MSG_STATUS), -EPROTO);
	tc_close(&t);
	/* truncated bodies, unknown messages */
	ASSERT_EQ(tc_connect(&t, owner_unix_path(r.ow)), 0);
	EXPECT_EQ(tc_hello(&t), 0);
	EXPECT_EQ(raw_call(&t, MSG_GRANT), -EBADMSG);
	EXPECT_EQ(raw_call(&t, MSG_COMMIT), -EBADMSG);
	EXPECT_EQ(raw_call(&t, MSG_ATTACH), -EBADMSG);
	EXPECT_EQ(raw_call(&t, MSG_PUT), -EINVAL);
	EXPECT_EQ(raw_call(&t, 999), -EOPNOTSUPP);
	EXPECT_EQ(tc_grant(&t, 4096), -EPERM);
	/* another node */
	memset(m.node, 0x5a, sizeof(m.node));
	msg_attach_encode(&m, &b);
	EXPECT_EQ(tc_call(&t, MSG_ATTACH, &b, NULL), -EXDEV);
	/* twice */
	EXPECT_EQ(tc_attach(&t, false), 0);
	EXPECT_EQ(tc_attach(&t, false), -EALREADY);
	EXPECT_EQ(tc_grant(&t, 4096), -EPERM); /* came to read */
	tc_close(&t);
	/* not a frame at all */
	ASSERT_EQ(tc_connect(&t, owner_unix_path(r.ow)), 0);
	EXPECT_EQ(write(mux_fd(t.m), junk, sizeof(junk)), (ssize_t)sizeof(junk));
	while (read(mux_fd(t.m), &byte, 1) < 0 && errno == EAGAIN)
		usleep(1000);
	tc_close(&t);
	/* space of others */
	r.c.runs[0] = (struct range_set){ 0 };
	range_set_add(&r.c.runs[0], 1 * MiB, 4096);
	EXPECT_EQ(tc_return(&r.c), -EINVAL);
	EXPECT_EQ(tc_put(&r.c, "still", "serving", 7, 0), 0);
	rig_close(&r);
}

TEST(other_versions_are_refused)
{
	struct owner_opts o = { .pool_opts = { .bytes = 4 * MiB } };
	struct msg_hello m = { .version_min = 7, .version_max = 9, .role = ROLE_CLIENT };
	struct buf b = BUF_INIT;
	struct tc t;
	struct rig r;

	ASSERT_EQ(rig_open_opts(&r, &o, false), 0);
	r.master.version = 9;
	ASSERT_EQ(fake_listen(&r.master), 0);
	EXPECT_EQ(owner_joined(r.ow, soon()), -EPROTO);
	ASSERT_EQ(tc_connect(&t, owner_unix_path(r.ow)), 0);
	msg_hello_encode(&m, &b);
	EXPECT_EQ(tc_call(&t, MSG_HELLO, &b, NULL), -EPROTO);
	tc_close(&t);
	rig_close(&r);
}

TEST(status_is_json)
{
	struct buf b = BUF_INIT;
	struct rig r;

	ASSERT_EQ(rig_open(&r, 4 * MiB), 0);
	EXPECT_EQ(tc_put(&r.c, "k", "bytes", 5, 0), 0);
	EXPECT_EQ(owner_status_json(r.ow, &b), 0);
	buf_put(&b, "", 1);
	EXPECT_TRUE(strstr((char *)b.data, "\"objects\":1"));
	EXPECT_TRUE(strstr((char *)b.data, "\"state\":\"synced\""));
	EXPECT_TRUE(strstr((char *)b.data, "\"attached\":1"));
	buf_fini(&b);
	rig_close(&r);
}

TEST(bad_options)
{
	struct owner_opts o = { .pool_opts = { .bytes = 4 * MiB }, .master = "" };
	struct owner *ow;

	EXPECT_EQ(owner_open(&o, &ow), -EINVAL);
	o.master = "unix:@nobody";
	o.unix_path = "127.0.0.1:0";
	EXPECT_EQ(owner_open(&o, &ow), -EINVAL);
	o.unix_path = NULL;
	o.listen = "0.0.0.0:0"; /* nobody knows what to tell others */
	EXPECT_EQ(owner_open(&o, &ow), -EINVAL);
	o.segment = "10.1.2.3:15000";
	ASSERT_EQ(owner_open(&o, &ow), 0);
	EXPECT_TRUE(!strncmp(owner_addr(ow), "10.1.2.3:", 9));
	EXPECT_EQ(owner_close(ow, soon()), 0);
}
