// SPDX-License-Identifier: Apache-2.0
/* A master process, owners and clients: publish, find, replace, remove, and what happens when one of them is gone. */
#include "mctest.h"

#include "integration/master_rig.h"

#pragma GCC diagnostic ignored "-Wsign-compare" /* plain numbers beside counters */

/* Waits for what another process does on its own: the view moves, or not within 10 s. */
static bool view_moves(struct client *c, uint32_t from)
{
	uint64_t end = SOON;
	struct msg_pools m;

	while (!deadline_passed(end))
		if (client_pools(c, &m) >= 0 && m.view != from)
			return true;
	return false;
}

static uint32_t view_now(struct client *c)
{
	struct msg_pools m = { 0 };

	client_pools(c, &m);
	return m.view;
}

static void publish_and_find(bool local)
{
	struct owner_rig a, b;
	struct key keys[3];
	char text[3][16];
	struct client c;
	struct msg_pools pools;
	struct located l = { 0 };
	int32_t st[3];
	uint32_t view = 0;
	struct rig r;

	if (rig_master(&r, NULL, NULL, NULL))
		return;
	make_keys(keys, text, 0, 3);
	EXPECT_EQ(client_open(&c, &r, local), 0);
	EXPECT_EQ(client_pools(&c, &pools), 0);
	EXPECT_EQ(client_locate(&c, &keys[0], true, &l, &view), 0);
	EXPECT_EQ(l.status, -ENOENT);
	EXPECT_EQ(view, c.hello.view);

	EXPECT_EQ(owner_rig_open(&a, &r, 1), 0);
	EXPECT_EQ(owner_rig_open(&b, &r, 2), 0);
	EXPECT_NE(a.index, b.index);
	EXPECT_EQ(owner_publish(&a, keys, 2, 1, 0, 10, NULL), 0);
	EXPECT_EQ(owner_publish(&b, keys + 1, 2, 2, 0, 20, st), 0);
	EXPECT_EQ(st[0], -EEXIST);
	EXPECT_EQ(st[1], 0);
	EXPECT_EQ(client_count(&c, keys, 3), 3);
	EXPECT_EQ(client_locate(&c, &keys[1], true, &l, &view), 0);
	EXPECT_EQ(l.status, 0);
	EXPECT_EQ(l.size, 4096);
	EXPECT_EQ(l.nr_replicas, 1);
	EXPECT_EQ(l.replica[0].pool, a.index);
	EXPECT_EQ(l.replica[0].loc.gen, 10);
	EXPECT_EQ(view, b.view);
	EXPECT_EQ(client_pools(&c, &pools), 2);
	EXPECT_EQ(pools.pools[0].region[0].len, 1 << 30);
	EXPECT_EQ(pools.pools[0].segment.len, 3);
	EXPECT_MEMEQ(pools.pools[0].id, a.id, 16);

	client_close(&c);
	owner_rig_close(&a);
	owner_rig_close(&b);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

TEST(publish_and_find_over_tcp)
{
	publish_and_find(false);
}

TEST(publish_and_find_over_a_unix_socket)
{
	publish_and_find(true);
}

/* ---- owners drop ---- */

TEST(upsert_waits_for_the_old_holder)
{
	struct owner_rig a, b;
	char text[2][16];
	struct key k[2];
	struct located l = { 0 };
	struct client c;
	struct rig r;

	if (rig_master(&r, NULL, NULL, NULL))
		return;
	make_keys(k, text, 0, 2);
	EXPECT_EQ(client_open(&c, &r, false), 0);
	EXPECT_EQ(owner_rig_open(&a, &r, 1), 0);
	EXPECT_EQ(owner_rig_open(&b, &r, 2), 0);
	EXPECT_EQ(owner_publish(&a, k, 2, 1, 0, 10, NULL), 0);
	EXPECT_EQ(client_locate(&c, &k[0], true, &l, NULL), 0); /* leased: a replacement comes all the same */
	EXPECT_EQ(owner_publish(&b, k, 2, 2, OBJ_REPLACE, 20, NULL), 0);
	EXPECT_EQ(atomic_load(&a.drops), 1); /* before the answer was sent */
	EXPECT_EQ(atomic_load(&a.forced), 2);
	EXPECT_EQ(client_locate(&c, &k[0], false, &l, NULL), 0);
	EXPECT_EQ(l.nr_replicas, 1);
	EXPECT_EQ(l.replica[0].pool, b.index);

	/* In its own pool nobody has to be told. */
	EXPECT_EQ(owner_publish(&b, k, 1, 3, OBJ_REPLACE, 30, NULL), 0);
	EXPECT_EQ(atomic_load(&b.drops), 0);
	client_close(&c);
	owner_rig_close(&a);
	owner_rig_close(&b);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

TEST(a_silent_owner_becomes_suspect_and_comes_back)
{
	struct owner_rig a, b;
	char text[2][16];
	struct key k[2];
	uint64_t start;
	uint32_t view;
	struct client c;
	struct rig r;

	if (rig_master(&r, NULL, NULL, NULL))
		return;
	make_keys(k, text, 0, 2);
	EXPECT_EQ(client_open(&c, &r, false), 0);
	EXPECT_EQ(owner_rig_open(&a, &r, 1), 0);
	EXPECT_EQ(owner_rig_open(&b, &r, 2), 0);
	EXPECT_EQ(owner_publish(&a, k, 2, 1, 0, 10, NULL), 0);
	atomic_store(&a.manner, OWNER_SILENT);
	view = view_now(&c);
	start = clock_now_ns();
	EXPECT_EQ(owner_publish(&b, k, 1, 2, OBJ_REPLACE, 20, NULL), 0);
	EXPECT_GE(clock_now_ns() - start, 900 * NSEC_PER_MSEC);
	EXPECT_LE(clock_now_ns() - start, 5 * NSEC_PER_SEC);
	EXPECT_EQ(client_exists(&c, &k[0]), 1);
	EXPECT_EQ(client_exists(&c, &k[1]), 0); /* what only it has is not shown */
	EXPECT_NE(view_now(&c), view);
	view = view_now(&c);
	atomic_store(&a.manner, OWNER_OBEYS);
	loop_call(a.loop, owner_release, &a);
	EXPECT_TRUE(view_moves(&c, view));
	EXPECT_EQ(client_exists(&c, &k[1]), 1);
	client_close(&c);
	owner_rig_close(&a);
	owner_rig_close(&b);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

TEST(what_a_silent_owner_did_not_hear_of_stays_removed)
{
	struct owner_rig a;
	char text[2][16];
	struct key k[2];
	int32_t st[2];
	struct client c;
	struct rig r;

	if (rig_master(&r, NULL, NULL, NULL))
		return;
	make_keys(k, text, 0, 2);
	EXPECT_EQ(client_open(&c, &r, false), 0);
	EXPECT_EQ(owner_rig_open(&a, &r, 1), 0);
	EXPECT_EQ(owner_publish(&a, k, 2, 1, 0, 10, NULL), 0);
	atomic_store(&a.manner, OWNER_SILENT);
	EXPECT_EQ(client_remove(&c, k, 1, true, st), 0);
	EXPECT_EQ(st[0], 0);
	owner_disconnect(&a);
	EXPECT_EQ(owner_connect(&a, &r, true), 0);
	EXPECT_EQ(owner_publish(&a, k, 2, 1, 0, 10, st), 0);
	EXPECT_EQ(st[0], -EEXIST);
	EXPECT_EQ(st[1], 0);
	EXPECT_EQ(client_exists(&c, &k[0]), 0);
	EXPECT_EQ(client_exists(&c, &k[1]), 1);
	client_close(&c);
	owner_rig_close(&a);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

TEST(remove_asks_owners)
{
	struct owner_rig a, b;
	char text[4][16];
	struct key k[4];
	int32_t st[4];
	struct located l = { 0 };
	struct client c;
	struct rig r;

	if (rig_master(&r, NULL, NULL, NULL))
		return;
	make_keys(k, text, 0, 4);
	EXPECT_EQ(client_open(&c, &r, false), 0);
	EXPECT_EQ(owner_rig_open(&a, &r, 1), 0);
	EXPECT_EQ(owner_rig_open(&b, &r, 2), 0);
	EXPECT_EQ(owner_publish(&a, k, 3, 1, 0, 10, NULL), 0);
	EXPECT_EQ(owner_publish(&b, k, 1, 1, 0, 20, NULL), 0); /* k0 has two replicas */
	EXPECT_EQ(client_locate(&c, &k[1], true, &l, NULL), 0); /* k1 is leased */
	EXPECT_EQ(client_remove(&c, k, 4, false, st), 0);
	EXPECT_EQ(st[0], 0);
	EXPECT_EQ(st[1], -EBUSY);
	EXPECT_EQ(st[2], 0);
	EXPECT_EQ(st[3], -ENOENT);
	EXPECT_EQ(client_count(&c, k, 4), 1);
	EXPECT_EQ(atomic_load(&a.dropped), 2);
	EXPECT_EQ(atomic_load(&b.dropped), 1);
	EXPECT_EQ(atomic_load(&a.forced), 0);
	EXPECT_EQ(client_remove(&c, &k[1], 1, true, st), 0);
	EXPECT_EQ(st[0], 0);
	EXPECT_EQ(atomic_load(&a.forced), 1);

	/* A lease that only the owner knows of. */
	EXPECT_EQ(owner_publish(&a, k, 2, 5, 0, 30, NULL), 0);
	EXPECT_EQ(owner_publish(&b, k, 1, 5, 0, 40, NULL), 0);
	atomic_store(&a.manner, OWNER_BUSY);
	EXPECT_EQ(client_remove(&c, k, 2, false, st), 0);
	EXPECT_EQ(st[0], -EBUSY);
	EXPECT_EQ(st[1], -EBUSY);
	EXPECT_EQ(client_count(&c, k, 2), 2);
	EXPECT_EQ(client_locate(&c, &k[0], false, &l, NULL), 0);
	EXPECT_EQ(l.nr_replicas, 1); /* the other one went */
	EXPECT_EQ(l.replica[0].pool, a.index);
	EXPECT_EQ(client_remove(&c, k, 2, true, st), 0);
	EXPECT_EQ(client_count(&c, k, 2), 0);
	client_close(&c);
	owner_rig_close(&a);
	owner_rig_close(&b);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

#define MANY 5000

TEST(remove_what_matches)
{
	static char text[MANY][16];
	static struct key k[MANY];
	struct located l = { 0 };
	struct owner_rig a;
	struct client c;
	struct rig r;

	if (rig_master(&r, "--default_kv_lease_ttl=60s", NULL, NULL))
		return;
	make_keys(k, text, 0, MANY);
	EXPECT_EQ(client_open(&c, &r, false), 0);
	EXPECT_EQ(owner_rig_open(&a, &r, 1), 0);
	EXPECT_EQ(owner_publish(&a, k, MANY, 1, 0, 10, NULL), 0);
	EXPECT_EQ(client_remove_match(&c, "^k1[0-9]$", false), 10);
	EXPECT_EQ(client_remove_match(&c, "^k1[0-9]$", false), 0);
	EXPECT_EQ(client_remove_match(&c, "0{1,3}$|99", false), MANY / 10 - 1 + 89 + 1);
	EXPECT_EQ(client_remove_match(&c, "(", false), -EINVAL);
	EXPECT_EQ(client_remove_match(&c, "(k)\\1", false), -EINVAL);
	EXPECT_EQ(client_remove_match(&c, "(k{1,200}){1,200}", false), -EINVAL);
	EXPECT_EQ(client_count(&c, k, 100), 100 - 10 - 9 - 1); /* k10-k19, k0 k20 … k90, k99 */

	/* All, but one is leased: key by key. */
	EXPECT_EQ(client_locate(&c, &k[1], true, &l, NULL), 0);
	EXPECT_EQ(client_remove_match(&c, "", false), MANY - 10 - (MANY / 10 - 1 + 89 + 1) - 1);
	EXPECT_EQ(atomic_load(&a.matches), 0);
	EXPECT_EQ(client_count(&c, k, MANY), 1);
	EXPECT_EQ(client_exists(&c, &k[1]), 1);

	/* With force: one message. */
	EXPECT_EQ(owner_publish(&a, k, MANY, 1, 0, 12, NULL), 0);
	atomic_store(&a.have, MANY);
	EXPECT_EQ(client_remove_match(&c, "", true), MANY);
	EXPECT_EQ(atomic_load(&a.matches), 1);
	EXPECT_EQ(client_count(&c, k, MANY), 0);
	EXPECT_EQ(owner_publish(&a, k, 3, 2, 0, 14, NULL), 0); /* life goes on */
	EXPECT_EQ(client_count(&c, k, MANY), 3);

	/* The owner kept some: they are asked for one by one. */
	atomic_store(&a.have, 1);
	atomic_store(&a.manner, OWNER_BUSY);
	EXPECT_EQ(client_remove_match(&c, "", false), 0);
	EXPECT_EQ(client_count(&c, k, MANY), 3);
	EXPECT_EQ(client_remove_match(&c, "", true), 3);
	client_close(&c);
	owner_rig_close(&a);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

TEST(list_goes_through_all)
{
	static char text[MANY][16];
	static struct key k[MANY];
	struct msg_match m = { .max = 777 };
	struct msg_list_reply rep = { 0 };
	unsigned rounds = 0, nr = 0;
	struct owner_rig a;
	struct client c;
	struct rig r;

	if (rig_master(&r, NULL, NULL, NULL))
		return;
	make_keys(k, text, 0, MANY);
	EXPECT_EQ(client_open(&c, &r, false), 0);
	EXPECT_EQ(owner_rig_open(&a, &r, 1), 0);
	EXPECT_EQ(owner_publish(&a, k, MANY, 1, 0, 10, NULL), 0);
	for (int pass = 0; pass < 2; pass++) {
		m.pattern = (struct key){ pass ? "7$" : "", pass ? 2 : 0 };
		m.cursor = nr = 0;
		do {
			buf_reset(&c.body);
			msg_match_encode(&m, &c.body);
			ASSERT_EQ(client_call(&c, MSG_LIST), 0);
			ASSERT_EQ(msg_list_reply_decode(c.req.reply.data, c.req.reply.len, &c.s, &rep), 0);
			EXPECT_LE(rep.nr, 777);
			nr += rep.nr;
			m.cursor = rep.cursor;
		} while (rep.cursor && ++rounds < 1000);
		EXPECT_EQ(nr, pass ? MANY / 10 : MANY);
	}
	m.pattern = (struct key){ "x{2001}", 7 };
	buf_reset(&c.body);
	msg_match_encode(&m, &c.body);
	EXPECT_EQ(client_call(&c, MSG_LIST), -EINVAL);
	client_close(&c);
	owner_rig_close(&a);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

/* ---- owners come and go ---- */

TEST(a_lost_pool_is_invisible_at_once_and_refills)
{
	struct owner_rig a, b;
	char text[4][16];
	struct key k[4];
	struct located l = { 0 };
	struct client c;
	uint32_t view, index;
	int32_t st[4];
	struct rig r;

	if (rig_master(&r, NULL, NULL, NULL))
		return;
	make_keys(k, text, 0, 4);
	EXPECT_EQ(client_open(&c, &r, false), 0);
	EXPECT_EQ(owner_rig_open(&a, &r, 1), 0);
	EXPECT_EQ(owner_rig_open(&b, &r, 2), 0);
	EXPECT_EQ(owner_publish(&a, k, 3, 1, 0, 10, NULL), 0);
	EXPECT_EQ(owner_publish(&b, k, 1, 1, 0, 20, NULL), 0);
	index = a.index;
	view = view_now(&c);
	owner_disconnect(&a);
	EXPECT_TRUE(view_moves(&c, view));
	EXPECT_EQ(client_count(&c, k, 3), 1); /* k0 by its other replica */
	EXPECT_EQ(client_locate(&c, &k[0], false, &l, NULL), 0);
	EXPECT_EQ(l.nr_replicas, 1);
	EXPECT_EQ(owner_publish(&b, &k[1], 1, 9, 0, 40, NULL), 0); /* nobody sees the old one: not there */

	EXPECT_EQ(owner_connect(&a, &r, true), 0);
	EXPECT_EQ(a.index, index);
	EXPECT_EQ(client_count(&c, k, 3), 2); /* nothing is believed before it is told again */
	EXPECT_EQ(owner_publish(&a, k, 3, 1, 0, 10, st), 0);
	EXPECT_EQ(st[0], 0);
	EXPECT_EQ(st[1], -EEXIST);
	EXPECT_EQ(st[2], 0);
	EXPECT_EQ(client_count(&c, k, 3), 3);

	/* The same pool from another connection: the older one is ended. */
	owner_rig_close(&b);
	EXPECT_EQ(owner_rig_open(&b, &r, 1), 0);
	EXPECT_EQ(b.index, index);
	while (!atomic_load(&a.closed))
		loop_call(a.loop, owner_release, &a);
	EXPECT_EQ(client_count(&c, k, 3), 0);
	EXPECT_EQ(owner_publish(&b, k, 1, 1, 0, 10, NULL), 0);
	EXPECT_EQ(client_count(&c, k, 3), 1);

	/* An older incarnation may not take it away. */
	a.epoch = 0;
	EXPECT_EQ(owner_connect(&a, &r, true), -ESTALE);
	EXPECT_EQ(client_count(&c, k, 3), 1);

	/* Leaving in order. */
	buf_reset(&b.body);
	view = view_now(&c);
	EXPECT_EQ(owner_call(&b, MSG_POOL_LEAVE), 0);
	EXPECT_NE(view_now(&c), view);
	EXPECT_EQ(client_count(&c, k, 3), 0);
	client_close(&c);
	owner_rig_close(&a);
	owner_rig_close(&b);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

TEST(silence_is_loss)
{
	struct owner_rig a;
	char text[1][16];
	struct key k[1];
	struct client c;
	struct rig r;

	if (rig_master(&r, "--client_ttl=600ms", NULL, NULL))
		return;
	make_keys(k, text, 0, 1);
	EXPECT_EQ(client_open(&c, &r, false), 0);
	EXPECT_EQ(owner_rig_open(&a, &r, 1), 0);
	EXPECT_EQ(owner_publish(&a, k, 1, 1, 0, 10, NULL), 0);
	EXPECT_EQ(client_exists(&c, k), 1);
	EXPECT_TRUE(view_moves(&c, view_now(&c))); /* nothing was said for 600 ms */
	EXPECT_EQ(client_exists(&c, k), 0);
	while (!atomic_load(&a.closed))
		loop_call(a.loop, owner_release, &a);
	client_close(&c);
	owner_rig_close(&a);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}

TEST(draining_shows_in_the_view)
{
	struct msg_pool_stat st = { .flags = POOL_DRAINING, .capacity = 5, .used = 4 };
	struct msg_pools m = { 0 };
	struct owner_rig a;
	struct client c;
	uint32_t view;
	struct rig r;

	if (rig_master(&r, NULL, NULL, NULL))
		return;
	EXPECT_EQ(client_open(&c, &r, false), 0);
	EXPECT_EQ(owner_rig_open(&a, &r, 1), 0);
	view = view_now(&c);
	buf_reset(&a.body);
	msg_pool_stat_encode(&st, &a.body);
	EXPECT_EQ(owner_tell(&a, MSG_POOL_STAT), 0);
	EXPECT_TRUE(view_moves(&c, view));
	ASSERT_EQ(client_pools(&c, &m), 1);
	EXPECT_EQ(m.pools[0].flags, POOL_DRAINING);
	EXPECT_EQ(m.pools[0].used, 4);
	client_close(&c);
	owner_rig_close(&a);
	EXPECT_EQ(rig_stop(&r, SIGTERM), 0);
}
