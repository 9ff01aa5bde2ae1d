// SPDX-License-Identifier: Apache-2.0
/* A master process, owners and clients: publish, find, replace, remove, and what happens when one of them is gone. */
#include "mctest.h"

#include "integration/master_owners.h"

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
	char text[2][16];
	struct key k[2];
	struct located l = { 0 };
	struct owners w;

	if (owners_open(&w, 2, NULL))
		return;
	make_keys(k, text, 0, 2);
	EXPECT_EQ(owner_publish(&w.a, k, 2, 1, 0, 10, NULL), 0);
	EXPECT_EQ(client_locate(&w.c, &k[0], true, &l, NULL), 0); /* leased: a replacement comes all the same */
	EXPECT_EQ(owner_publish(&w.b, k, 2, 2, OBJ_REPLACE, 20, NULL), 0);
	EXPECT_EQ(atomic_load(&w.a.drops), 1); /* before the answer was sent */
	EXPECT_EQ(atomic_load(&w.a.forced), 2);
	EXPECT_EQ(client_locate(&w.c, &k[0], false, &l, NULL), 0);
	EXPECT_EQ(l.nr_replicas, 1);
	EXPECT_EQ(l.replica[0].pool, w.b.index);

	/* In its own pool nobody has to be told. */
	EXPECT_EQ(owner_publish(&w.b, k, 1, 3, OBJ_REPLACE, 30, NULL), 0);
	EXPECT_EQ(atomic_load(&w.b.drops), 0);
	owners_close(&w);
}

TEST(a_silent_owner_becomes_suspect_and_comes_back)
{
	char text[2][16];
	struct key k[2];
	uint64_t start;
	uint32_t view;
	struct owners w;

	if (owners_open(&w, 2, NULL))
		return;
	make_keys(k, text, 0, 2);
	EXPECT_EQ(owner_publish(&w.a, k, 2, 1, 0, 10, NULL), 0);
	atomic_store(&w.a.manner, OWNER_SILENT);
	view = view_now(&w.c);
	start = clock_now_ns();
	EXPECT_EQ(owner_publish(&w.b, k, 1, 2, OBJ_REPLACE, 20, NULL), 0);
	EXPECT_GE(clock_now_ns() - start, 900 * NSEC_PER_MSEC);
	EXPECT_LE(clock_now_ns() - start, 5 * NSEC_PER_SEC);
	EXPECT_EQ(client_exists(&w.c, &k[0]), 1);
	EXPECT_EQ(client_exists(&w.c, &k[1]), 0); /* what only it has is not shown */
	EXPECT_NE(view_now(&w.c), view);
	view = view_now(&w.c);
	atomic_store(&w.a.manner, OWNER_OBEYS);
	loop_call(w.a.loop, owner_release, &w.a);
	EXPECT_TRUE(view_moves(&w.c, view));
	EXPECT_EQ(client_exists(&w.c, &k[1]), 1);
	owners_close(&w);
}

TEST(what_a_silent_owner_did_not_hear_of_stays_removed)
{
	char text[2][16];
	struct key k[2];
	int32_t st[2];
	struct owners w;

	if (owners_open(&w, 1, NULL))
		return;
	make_keys(k, text, 0, 2);
	EXPECT_EQ(owner_publish(&w.a, k, 2, 1, 0, 10, NULL), 0);
	atomic_store(&w.a.manner, OWNER_SILENT);
	EXPECT_EQ(client_remove(&w.c, k, 1, true, st), 0);
	EXPECT_EQ(st[0], 0);
	owner_disconnect(&w.a);
	EXPECT_EQ(owner_connect(&w.a, &w.r, true), 0);
	EXPECT_EQ(owner_publish(&w.a, k, 2, 1, 0, 10, st), 0);
	EXPECT_EQ(st[0], -EEXIST);
	EXPECT_EQ(st[1], 0);
	EXPECT_EQ(client_exists(&w.c, &k[0]), 0);
	EXPECT_EQ(client_exists(&w.c, &k[1]), 1);
	owners_close(&w);
}

TEST(remove_asks_owners)
{
	char text[4][16];
	struct key k[4];
	int32_t st[4];
	struct located l = { 0 };
	struct owners w;

	if (owners_open(&w, 2, NULL))
		return;
	make_keys(k, text, 0, 4);
	EXPECT_EQ(owner_publish(&w.a, k, 3, 1, 0, 10, NULL), 0);
	EXPECT_EQ(owner_publish(&w.b, k, 1, 1, 0, 20, NULL), 0); /* k0 has two replicas */
	EXPECT_EQ(client_locate(&w.c, &k[1], true, &l, NULL), 0); /* k1 is leased */
	EXPECT_EQ(client_remove(&w.c, k, 4, false, st), 0);
	EXPECT_EQ(st[0], 0);
	EXPECT_EQ(st[1], -EBUSY);
	EXPECT_EQ(st[2], 0);
	EXPECT_EQ(st[3], -ENOENT);
	EXPECT_EQ(client_count(&w.c, k, 4), 1);
	EXPECT_EQ(atomic_load(&w.a.dropped), 2);
	EXPECT_EQ(atomic_load(&w.b.dropped), 1);
	EXPECT_EQ(atomic_load(&w.a.forced), 0);
	EXPECT_EQ(client_remove(&w.c, &k[1], 1, true, st), 0);
	EXPECT_EQ(st[0], 0);
	EXPECT_EQ(atomic_load(&w.a.forced), 1);

	/* A lease that only the owner knows of. */
	EXPECT_EQ(owner_publish(&w.a, k, 2, 5, 0, 30, NULL), 0);
	EXPECT_EQ(owner_publish(&w.b, k, 1, 5, 0, 40, NULL), 0);
	atomic_store(&w.a.manner, OWNER_BUSY);
	EXPECT_EQ(client_remove(&w.c, k, 2, false, st), 0);
	EXPECT_EQ(st[0], -EBUSY);
	EXPECT_EQ(st[1], -EBUSY);
	EXPECT_EQ(client_count(&w.c, k, 2), 2);
	EXPECT_EQ(client_locate(&w.c, &k[0], false, &l, NULL), 0);
	EXPECT_EQ(l.nr_replicas, 1); /* the other one went */
	EXPECT_EQ(l.replica[0].pool, w.a.index);
	EXPECT_EQ(client_remove(&w.c, k, 2, true, st), 0);
	EXPECT_EQ(client_count(&w.c, k, 2), 0);
	owners_close(&w);
}

#define MANY 5000

TEST(remove_what_matches)
{
	static char text[MANY][16];
	static struct key k[MANY];
	struct located l = { 0 };
	struct owners w;
	int left, drops;

	if (owners_open(&w, 1, "--default_kv_lease_ttl=60s"))
		return;
	make_keys(k, text, 0, MANY);
	EXPECT_EQ(owner_publish(&w.a, k, MANY, 1, 0, 10, NULL), 0);
	EXPECT_EQ(client_remove_match(&w.c, "^k1[0-9]$", false), 10);
	EXPECT_EQ(client_remove_match(&w.c, "^k1[0-9]$", false), 0);
	EXPECT_EQ(client_remove_match(&w.c, "0{1,3}$|99", false), MANY / 10 - 1 + 89 + 1);
	EXPECT_EQ(client_remove_match(&w.c, "(", false), -EINVAL);
	EXPECT_EQ(client_remove_match(&w.c, "(k)\\1", false), -EINVAL);
	EXPECT_EQ(client_remove_match(&w.c, "(k{1,200}){1,200}", false), -EINVAL);
	EXPECT_EQ(client_count(&w.c, k, 100), 100 - 10 - 9 - 1); /* k10-k19, k0 k20 … k90, k99 */

	/* All, but one is leased: one message, which names it. */
	left = MANY - 10 - (MANY / 10 - 1 + 89 + 1);
	drops = atomic_load(&w.a.drops);
	atomic_store(&w.a.have, left - 1);
	atomic_store(&w.a.gen, 10);
	EXPECT_EQ(client_locate(&w.c, &k[1], true, &l, NULL), 0);
	EXPECT_EQ(client_remove_match(&w.c, "", false), left - 1);
	EXPECT_EQ(atomic_load(&w.a.matches), 1);
	EXPECT_EQ(atomic_load(&w.a.drops), drops);
	EXPECT_EQ(client_count(&w.c, k, MANY), 1);
	EXPECT_EQ(client_exists(&w.c, &k[1]), 1);

	/* With force: one message. */
	EXPECT_EQ(owner_publish(&w.a, k, MANY, 3, OBJ_REPLACE, 12, NULL), 0);
	atomic_store(&w.a.have, MANY);
	atomic_store(&w.a.matches, 0);
	EXPECT_EQ(client_remove_match(&w.c, "", true), MANY);
	EXPECT_EQ(atomic_load(&w.a.matches), 1);
	EXPECT_EQ(client_count(&w.c, k, MANY), 0);
	EXPECT_EQ(owner_publish(&w.a, k, 3, 2, 0, 14, NULL), 0); /* life goes on */
	EXPECT_EQ(client_count(&w.c, k, MANY), 3);

	/* The owner kept some: they are asked for one by one. */
	atomic_store(&w.a.have, 1);
	atomic_store(&w.a.manner, OWNER_BUSY);
	EXPECT_EQ(client_remove_match(&w.c, "", false), 0);
	EXPECT_EQ(client_count(&w.c, k, MANY), 3);
	EXPECT_EQ(client_remove_match(&w.c, "", true), 3);
	owners_close(&w);
}

TEST(list_goes_through_all)
{
	static char text[MANY][16];
	static struct key k[MANY];
	struct msg_match m = { .max = 777 };
	struct msg_list_reply rep = { 0 };
	unsigned rounds = 0, nr = 0;
	struct owners w;

	if (owners_open(&w, 1, NULL))
		return;
	make_keys(k, text, 0, MANY);
	EXPECT_EQ(owner_publish(&w.a, k, MANY, 1, 0, 10, NULL), 0);
	for (int pass = 0; pass < 2; pass++) {
		m.pattern = (struct key){ pass ? "7$" : "", pass ? 2 : 0 };
		m.cursor = nr = 0;
		do {
			buf_reset(&w.c.body);
			msg_match_encode(&m, &w.c.body);
			ASSERT_EQ(client_call(&w.c, MSG_LIST), 0);
			ASSERT_EQ(msg_list_reply_decode(w.c.req.reply.data, w.c.req.reply.len, &w.c.s, &rep), 0);
			EXPECT_LE(rep.nr, 777);
			nr += rep.nr;
			m.cursor = rep.cursor;
		} while (rep.cursor && ++rounds < 1000);
		EXPECT_EQ(nr, pass ? MANY / 10 : MANY);
	}
	m.pattern = (struct key){ "x{2001}", 7 };
	buf_reset(&w.c.body);
	msg_match_encode(&m, &w.c.body);
	EXPECT_EQ(client_call(&w.c, MSG_LIST), -EINVAL);
	owners_close(&w);
}

/* ---- owners come and go ---- */

TEST(a_lost_pool_is_invisible_at_once_and_refills)
{
	char text[4][16];
	struct key k[4];
	struct located l = { 0 };
	uint32_t view, index;
	int32_t st[4];
	struct owners w;

	if (owners_open(&w, 2, NULL))
		return;
	make_keys(k, text, 0, 4);
	EXPECT_EQ(owner_publish(&w.a, k, 3, 1, 0, 10, NULL), 0);
	EXPECT_EQ(owner_publish(&w.b, k, 1, 1, 0, 20, NULL), 0);
	index = w.a.index;
	view = view_now(&w.c);
	owner_disconnect(&w.a);
	EXPECT_TRUE(view_moves(&w.c, view));
	EXPECT_EQ(client_count(&w.c, k, 3), 1); /* k0 by its other replica */
	EXPECT_EQ(client_locate(&w.c, &k[0], false, &l, NULL), 0);
	EXPECT_EQ(l.nr_replicas, 1);
	EXPECT_EQ(owner_publish(&w.b, &k[1], 1, 9, 0, 40, NULL), 0); /* nobody sees the old one: not there */

	EXPECT_EQ(owner_connect(&w.a, &w.r, true), 0);
	EXPECT_EQ(w.a.index, index);
	EXPECT_EQ(client_count(&w.c, k, 3), 2); /* nothing is believed before it is told again */
	EXPECT_EQ(owner_publish(&w.a, k, 3, 1, 0, 10, st), 0);
	EXPECT_EQ(st[0], 0);
	EXPECT_EQ(st[1], -EEXIST);
	EXPECT_EQ(st[2], 0);
	EXPECT_EQ(client_count(&w.c, k, 3), 3);

	/* The same pool from another connection: the older one is ended. */
	owner_rig_close(&w.b);
	EXPECT_EQ(owner_rig_open(&w.b, &w.r, 1), 0);
	EXPECT_EQ(w.b.index, index);
	while (!atomic_load(&w.a.closed))
		loop_call(w.a.loop, owner_release, &w.a);
	EXPECT_EQ(client_count(&w.c, k, 3), 0);
	EXPECT_EQ(owner_publish(&w.b, k, 1, 1, 0, 10, NULL), 0);
	EXPECT_EQ(client_count(&w.c, k, 3), 1);

	/* An older incarnation may not take it away. */
	w.a.epoch = 0;
	EXPECT_EQ(owner_connect(&w.a, &w.r, true), -ESTALE);
	EXPECT_EQ(client_count(&w.c, k, 3), 1);

	/* Leaving in order. */
	buf_reset(&w.b.body);
	view = view_now(&w.c);
	EXPECT_EQ(owner_call(&w.b, MSG_POOL_LEAVE), 0);
	EXPECT_NE(view_now(&w.c), view);
	EXPECT_EQ(client_count(&w.c, k, 3), 0);
	owners_close(&w);
}

TEST(silence_is_loss)
{
	char text[1][16];
	struct key k[1];
	struct owners w;

	if (owners_open(&w, 1, "--client_ttl=600ms"))
		return;
	make_keys(k, text, 0, 1);
	EXPECT_EQ(owner_publish(&w.a, k, 1, 1, 0, 10, NULL), 0);
	EXPECT_EQ(client_exists(&w.c, k), 1);
	EXPECT_TRUE(view_moves(&w.c, view_now(&w.c))); /* nothing was said for 600 ms */
	EXPECT_EQ(client_exists(&w.c, k), 0);
	while (!atomic_load(&w.a.closed))
		loop_call(w.a.loop, owner_release, &w.a);
	owners_close(&w);
}

TEST(draining_shows_in_the_view)
{
	struct msg_pool_stat st = { .flags = POOL_DRAINING, .capacity = 5, .used = 4 };
	struct msg_pools m = { 0 };
	uint32_t view;
	struct owners w;

	if (owners_open(&w, 1, NULL))
		return;
	view = view_now(&w.c);
	buf_reset(&w.a.body);
	msg_pool_stat_encode(&st, &w.a.body);
	EXPECT_EQ(owner_tell(&w.a, MSG_POOL_STAT), 0);
	EXPECT_TRUE(view_moves(&w.c, view));
	ASSERT_EQ(client_pools(&w.c, &m), 1);
	EXPECT_EQ(m.pools[0].flags, POOL_DRAINING);
	EXPECT_EQ(m.pools[0].used, 4);
	owners_close(&w);
}
