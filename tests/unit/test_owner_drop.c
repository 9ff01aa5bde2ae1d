// SPDX-License-Identifier: Apache-2.0
/* The owner when objects go: evicted, dropped by the master one by one or all of a tenant, before and after a verdict. */
#include "owner_rig.h"

TEST(evicted_objects_are_withdrawn)
{
	char data[64 * 1024], name[16];
	struct pool_stat st;
	struct rig r;

	memset(data, 'e', sizeof(data));
	ASSERT_EQ(rig_open(&r, 1 * MiB), 0);
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "e%d", i);
		ASSERT_EQ(tc_put(&r.c, name, data, sizeof(data), 0), 0);
	}
	owner_stat(r.ow, &st);
	EXPECT_GT(st.evicted, 20u);
	EXPECT_EQ(st.evicted + st.objects, 40u);
	EXPECT_EQ(tc_put(&r.c, "last", "x", 1, 0), 0); /* PUBLISH comes after what was withdrawn before it */
	EXPECT_EQ(r.master.withdrawn, st.evicted);
	rig_close(&r);
}

TEST(drop_respects_leases)
{
	uint8_t full[FULL_KEY_MAX];
	struct key key = full_key("k", full), other;
	uint8_t full2[FULL_KEY_MAX];
	struct found f;
	struct rig r;

	other = full_key("never", full2);
	ASSERT_EQ(rig_open(&r, 4 * MiB), 0);
	EXPECT_EQ(tc_put(&r.c, "k", "bytes", 5, 0), 0);
	ASSERT_EQ(view_find(&r.c.v, "k", &f), 0);
	view_touch(&r.c.v, &f);
	EXPECT_EQ(fake_drop(&r.master, &key, f.loc.gen, false), -EBUSY);
	EXPECT_EQ(view_check(&r.c.v, "k", "bytes", 5), 0);
	EXPECT_EQ(fake_drop(&r.master, &key, f.loc.gen + 2, true), 0); /* another generation: never there */
	EXPECT_EQ(view_check(&r.c.v, "k", "bytes", 5), 0);
	EXPECT_EQ(fake_drop(&r.master, &key, f.loc.gen, true), 0);
	EXPECT_EQ(view_find(&r.c.v, "k", &f), -ENOENT);
	EXPECT_EQ(fake_drop(&r.master, &other, 0, false), 0);
	EXPECT_EQ(r.master.withdrawn, 0u);
	rig_close(&r);
}

/* The master may drop what it has just been told, before its answer to that has arrived. */
static void drop_before_verdict(bool match)
{
	struct msg_drop_match dm = { .force = true };
	struct buf d = BUF_INIT;
	struct pool_stat st;
	struct found f;
	struct held h;
	struct rig r;

	ASSERT_EQ(rig_open(&r, 4 * MiB), 0);
	ASSERT_EQ(rig_hold_put(&r, &h), 0);
	if (match) {
		msg_drop_match_encode(&dm, &d);
		EXPECT_EQ(fake_ask(&r.master, MSG_DROP_MATCH, &d), 0);
		EXPECT_EQ(r.master.ask_count, 1u);
	} else {
		EXPECT_EQ(fake_drop(&r.master, &h.key, h.it.loc.gen, false), 0);
	}
	fake_release(&r.master);
	EXPECT_EQ(rig_held_end(&r, &h), 0); /* it was stored, and removed */
	EXPECT_EQ(view_find(&r.c.v, "k", &f), -ENOENT);
	owner_stat(r.ow, &st);
	EXPECT_EQ(st.objects, 0u);
	EXPECT_EQ(st.used, 0u);
	rig_close(&r);
	EXPECT_EQ(r.master.withdrawn_gen, h.it.loc.gen);
}

TEST(drop_before_the_verdict)
{
	drop_before_verdict(false);
}

TEST(drop_match_before_the_verdict)
{
	drop_before_verdict(true);
}

TEST(drop_match_takes_one_tenant)
{
	struct msg_drop_match m = { .tenant = { "other", 5 } };
	struct buf b = BUF_INIT;
	struct found f;
	struct rig r;

	ASSERT_EQ(rig_open(&r, 4 * MiB), 0);
	EXPECT_EQ(tc_put(&r.c, "a", "1", 1, 0), 0);
	EXPECT_EQ(tc_put(&r.c, "b", "2", 1, 0), 0);
	msg_drop_match_encode(&m, &b);
	EXPECT_EQ(fake_ask(&r.master, MSG_DROP_MATCH, &b), 0);
	EXPECT_EQ(r.master.ask_count, 0u);
	EXPECT_EQ(view_find(&r.c.v, "a", &f), 0);
	m = (struct msg_drop_match){ 0 };
	msg_drop_match_encode(&m, &b);
	EXPECT_EQ(fake_ask(&r.master, MSG_DROP_MATCH, &b), 0);
	EXPECT_EQ(r.master.ask_count, 2u);
	EXPECT_EQ(view_find(&r.c.v, "a", &f), -ENOENT);
	rig_close(&r);
}

/* What was used here a moment ago stays, and what the master says is used elsewhere; the answer names both. */
TEST(drop_match_tells_what_it_keeps)
{
	struct drop_item theirs[2];
	struct msg_drop_match m = { .all_tenants = true, .nr = 2, .leased = theirs };
	uint8_t full[2][FULL_KEY_MAX];
	struct buf b = BUF_INIT;
	struct found f, c;
	struct rig r;

	ASSERT_EQ(rig_open(&r, 4 * MiB), 0);
	EXPECT_EQ(tc_put(&r.c, "a", "1", 1, 0), 0);
	EXPECT_EQ(tc_put(&r.c, "b", "2", 1, 0), 0);
	EXPECT_EQ(tc_put(&r.c, "c", "3", 1, 0), 0);
	theirs[0] = (struct drop_item){ .key = full_key("c", full[0]) };
	theirs[1] = (struct drop_item){ .key = full_key("unknown", full[1]) };
	EXPECT_EQ(view_find(&r.c.v, "c", &c), 0);
	msg_drop_match_encode(&m, &b);
	EXPECT_EQ(fake_ask(&r.master, MSG_DROP_MATCH, &b), 0);
	EXPECT_EQ(r.master.ask_count, 2u);
	EXPECT_EQ(r.master.ask_kept, 1u);
	EXPECT_EQ(r.master.ask_kept_gen, c.loc.gen);
	EXPECT_EQ(view_find(&r.c.v, "a", &f), -ENOENT);
	EXPECT_EQ(view_find(&r.c.v, "c", &f), 0);
	m.force = true;
	b = BUF_INIT;
	msg_drop_match_encode(&m, &b);
	EXPECT_EQ(fake_ask(&r.master, MSG_DROP_MATCH, &b), 0);
	EXPECT_EQ(r.master.ask_count, 1u);
	EXPECT_EQ(r.master.ask_kept, 0u);
	rig_close(&r);
}
