// SPDX-License-Identifier: Apache-2.0
/* What the master is set to holds in every pool: how long soft pins last, and whether they go before they end. */
#include "mctest.h"
#include "unit/store_rig.h"

TEST(soft_pins)
{
	static const struct mc_put_opts pin = { .flags = MC_PUT_SOFT_PIN };
	uint64_t by = deadline_after_ms(20000);
	char data[64 << 10], key[16];
	struct mc_store *s;
	int nr = 0, ret;

	if (no_master())
		SKIP("build/bin/mooncake-master is not built");
	ASSERT_EQ(rig_master(&master, "--default_kv_soft_pin_ttl=2s", "--allow_evict_soft_pinned_objects=false", NULL), 0);
	s = st_open(master.port, 4 * MIB, NULL);
	ASSERT_TRUE(s);
	fill(data, sizeof(data), 1);
	do
		snprintf(key, sizeof(key), "pin%d", nr);
	while (nr < 100 && !st_put_opts(s, key, data, sizeof(data), pin) && ++nr);
	EXPECT_TRUE(nr > 40 && nr < 64);
	EXPECT_EQ(st_exists(s, "pin0"), 1);
	EXPECT_EQ(st_put(s, "x", data, sizeof(data)), -ENOSPC);
	while ((ret = st_put(s, "x", data, sizeof(data))) == -ENOSPC && !deadline_passed(by))
		usleep(10000);
	EXPECT_EQ(ret, 0);
	mc_store_close(s);
	rig_stop(&master, SIGTERM);
}

static int put_at(struct mc_store *s, const char *key, const char *segment, const char *group, uint32_t flags)
{
	struct mc_put_opts o = { .preferred = &segment, .nr_preferred = 1, .flags = flags, .soft_pin_ms = 600000 };
	struct mc_key g = key_of(group ? group : "");

	o.groups = group ? &g : NULL;
	if (!(flags & MC_PUT_SOFT_PIN))
		o.soft_pin_ms = 0;
	return st_put_opts(s, key, "12345", 5, o);
}

static struct mc_query stat_of(struct mc_store *s, const char *key)
{
	struct mc_query q = { .key = key_of(key) };

	mc_store_stat(s, &q, 1, SOON);
	return q;
}

/* A replacement keeps the group and the pin of what lay in another pool: the master knows, and after it the new owner. */
TEST(replaced_in_another_pool)
{
	uint64_t by = deadline_after_ms(20000);
	struct mc_store *a, *b;
	char port[32];

	if (no_master())
		SKIP("build/bin/mooncake-master is not built");
	ASSERT_EQ(rig_master(&master, NULL, NULL, NULL), 0);
	a = st_open(master.port, 4 * MIB, "tcp");
	b = st_open(master.port, 4 * MIB, "tcp");
	ASSERT_TRUE(a && b);
	EXPECT_EQ(put_at(a, "kept", mc_store_name(a), "g", MC_PUT_SOFT_PIN), 0);
	EXPECT_EQ(put_at(a, "unpinned", mc_store_name(a), "g", MC_PUT_SOFT_PIN), 0);
	EXPECT_EQ(put_at(a, "kept", mc_store_name(b), NULL, MC_PUT_REPLACE), 0);
	EXPECT_EQ(put_at(a, "unpinned", mc_store_name(b), NULL, MC_PUT_REPLACE | MC_PUT_SOFT_UNPIN), 0);
	mc_store_close(a); /* nothing of it is there any more */
	EXPECT_EQ(stat_of(b, "kept").flags, MC_PUT_SOFT_PIN);
	EXPECT_EQ(stat_of(b, "unpinned").flags, 0);
	snprintf(port, sizeof(port), "--port=%u", master.port);
	EXPECT_EQ(rig_stop(&master, SIGKILL), 128 + SIGKILL);
	ASSERT_EQ(rig_master(&master, port, NULL, NULL), 0);
	while (stat_of(b, "kept").result != 1 && !deadline_passed(by))
		usleep(1000);
	EXPECT_EQ(stat_of(b, "kept").flags, MC_PUT_SOFT_PIN);
	EXPECT_EQ(stat_of(b, "unpinned").flags, 0);
	EXPECT_EQ(put_at(b, "kept", mc_store_name(b), "other", MC_PUT_REPLACE), -EINVAL);
	EXPECT_EQ(put_at(b, "unpinned", mc_store_name(b), "other", MC_PUT_REPLACE), -EINVAL);
	EXPECT_EQ(put_at(b, "kept", mc_store_name(b), "g", MC_PUT_REPLACE), 0);
	mc_store_close(b);
	rig_stop(&master, SIGTERM);
}

#define TWINS 40

static void put_twins(struct mc_store *s, uint32_t flags, char *value)
{
	struct mc_put_opts o = { .size = sizeof(o), .flags = flags };
	struct mc_put put[3 * TWINS];
	struct mc_iov iov[3 * TWINS];
	char key[TWINS][8];

	for (unsigned i = 0; i < 3 * TWINS; i++) {
		snprintf(key[i % TWINS], sizeof(key[0]), "t%u", i % TWINS);
		value[i] = (char)('0' + i / TWINS);
		iov[i] = (struct mc_iov){ &value[i], 1 };
		put[i] = (struct mc_put){ .key = key_of(key[i % TWINS]), .iov = &iov[i], .nr_iov = 1, .result = 1 };
	}
	EXPECT_EQ(mc_store_put(s, put, 3 * TWINS, &o, SOON), 3 * TWINS);
	for (unsigned i = 0; i < 3 * TWINS; i++)
		EXPECT_EQ(put[i].result, 0);
}

/* A key that a batch has more than once, where each item may go to another pool: as if they were put one after the other. */
TEST(a_key_twice_in_a_batch)
{
	char value[3 * TWINS], key[8], got;
	struct mc_store *a, *b, *c;

	if (no_master())
		SKIP("build/bin/mooncake-master is not built");
	ASSERT_EQ(rig_master(&master, NULL, NULL, NULL), 0);
	a = st_open(master.port, 4 * MIB, NULL);
	b = st_open(master.port, 4 * MIB, NULL);
	c = st_open(master.port, 0, "tcp");
	ASSERT_TRUE(a && b && c);
	for (unsigned round = 0; round < 2; round++) {
		struct mc_store *s = round ? a : c;

		put_twins(s, 0, value);
		for (unsigned i = 0; i < TWINS; i++) {
			snprintf(key, sizeof(key), "t%u", i);
			EXPECT_EQ(st_get(c, key, &got, 1), 1);
			EXPECT_EQ(got, '0');
		}
		put_twins(s, MC_PUT_REPLACE, value);
		for (unsigned i = 0; i < TWINS; i++) {
			snprintf(key, sizeof(key), "t%u", i);
			EXPECT_EQ(st_get(c, key, &got, 1), 1);
			EXPECT_EQ(got, '2');
			EXPECT_EQ(st_remove(c, key), 0);
		}
	}
	mc_store_close(c);
	mc_store_close(b);
	mc_store_close(a);
	rig_stop(&master, SIGTERM);
}
