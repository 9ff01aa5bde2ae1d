// SPDX-License-Identifier: Apache-2.0
/* Where the copies of objects are, and clearing one's own: alone, and with a master and a pool in another process. */
#include "mctest.h"
#include "unit/store_rig.h"

#include <mooncake/replicas.h>

static int clear(struct mc_store *s, const char *key, const char *segment)
{
	struct mc_remove r = { .key = key_of(key), .result = 77 };
	int ok = mc_store_clear(s, &r, 1, segment, SOON);

	EXPECT_EQ(ok, !r.result);
	return r.result;
}

static int replicas(struct mc_store *s, const char *key, struct mc_replica *out)
{
	struct mc_replicas r = { .key = key_of(key) };
	int nr;

	mc_store_replicas(s, &r, 1, SOON);
	nr = r.result;
	for (int i = 0; i < nr; i++)
		out[i] = r.replica[i];
	mc_replicas_free(&r, 1);
	EXPECT_EQ(r.result, 0);
	EXPECT_TRUE(!r.replica);
	return nr;
}

TEST(alone)
{
	struct mc_store_opts o = { .size = sizeof(o), .master = "embedded", .pool_bytes = 4 * MIB };
	struct mc_replica r[16];
	struct mc_store *s;

	ASSERT_EQ(mc_store_open(&o, &s), 0);
	ASSERT_EQ(st_put(s, "a", "hello", 5), 0);
	EXPECT_EQ(replicas(s, "none", r), 0);
	ASSERT_EQ(replicas(s, "a", r), 1);
	EXPECT_EQ(r[0].bytes, 5);
	EXPECT_EQ(r[0].nr_extents, 1);
	EXPECT_STREQ(r[0].segment, mc_store_name(s));
	EXPECT_MEMEQ((const void *)(uintptr_t)r[0].addr, "hello", 5); /* it is this process that serves it */
	EXPECT_EQ(clear(s, "none", NULL), -ENOENT);
	EXPECT_EQ(clear(s, "", NULL), -EINVAL);
	EXPECT_EQ(clear(s, "a", "elsewhere:1"), -ENOENT);
	EXPECT_EQ(clear(s, "a", mc_store_name(s)), -EBUSY); /* looked at a moment ago */
	ASSERT_EQ(st_put(s, "b", "x", 1), 0);
	EXPECT_EQ(clear(s, "b", mc_store_name(s)), 0);
	EXPECT_EQ(st_exists(s, "b"), 0);
	mc_store_close(s);
}

TEST(a_batch_with_bad_keys)
{
	struct mc_store_opts o = { .size = sizeof(o), .master = "embedded", .pool_bytes = 4 * MIB };
	struct mc_replicas q[5] = { { .key = key_of("") }, { .key = key_of("a") }, { .key = key_of("none") },
				    { .key = { "x", KEY_MAX + 1 } }, { .key = key_of("a") } };
	struct mc_remove d[3] = { { .key = key_of("") }, { .key = key_of("b") }, { .key = key_of("") } };
	struct mc_store *s;

	ASSERT_EQ(mc_store_open(&o, &s), 0);
	ASSERT_EQ(st_put(s, "a", "hello", 5), 0);
	ASSERT_EQ(st_put(s, "b", "hello", 5), 0);
	EXPECT_EQ(mc_store_replicas(s, q, 5, SOON), 2);
	EXPECT_EQ(q[0].result, -EINVAL);
	EXPECT_EQ(q[1].result, 1);
	EXPECT_EQ(q[2].result, 0);
	EXPECT_EQ(q[3].result, -EINVAL);
	EXPECT_EQ(q[4].result, 1);
	mc_replicas_free(q, 5);
	EXPECT_EQ(mc_store_clear(s, d, 3, "", SOON), 1);
	EXPECT_EQ(d[0].result, -EINVAL);
	EXPECT_EQ(d[1].result, 0);
	EXPECT_EQ(d[2].result, -EINVAL);
	mc_store_shutdown(s);
	EXPECT_EQ(mc_store_replicas(s, q, 2, SOON), -ESHUTDOWN);
	EXPECT_EQ(q[1].result, -ESHUTDOWN);
	EXPECT_EQ(mc_store_clear(s, d, 1, "", SOON), 0);
	EXPECT_EQ(d[0].result, -ESHUTDOWN);
	mc_store_close(s);
}

TEST(two_pools)
{
	struct mc_put_opts both = { .replicas = 2 };
	struct mc_store *mine, *other;
	struct mc_replica r[16];
	struct child c;
	char far[MC_SEGMENT_NAME_BYTES], data[5000];

	NEED_MASTER();
	ASSERT_EQ(child_start(&c, "provider", master.port, 8 * MIB), 0);
	mine = st_open(master.port, 8 * MIB, NULL);
	other = st_open(master.port, 0, NULL);
	ASSERT_TRUE(mine && other);
	fill(data, sizeof(data), 3);
	ASSERT_EQ(st_put_opts(mine, "k", data, sizeof(data), both), 0);
	ASSERT_EQ(replicas(other, "k", r), 2);
	EXPECT_EQ(r[0].bytes, sizeof(data));
	EXPECT_EQ(r[1].bytes, sizeof(data));
	EXPECT_TRUE(strcmp(r[0].segment, r[1].segment));
	strcpy(far, strcmp(r[0].segment, mc_store_name(mine)) ? r[0].segment : r[1].segment);

	/* Leased by the look; not theirs at all; not there. */
	EXPECT_EQ(clear(mine, "k", NULL), -EBUSY);
	EXPECT_EQ(clear(other, "k", NULL), -ENOENT);
	EXPECT_EQ(clear(mine, "none", NULL), -ENOENT);

	ASSERT_EQ(st_put_opts(mine, "j", data, sizeof(data), both), 0);
	EXPECT_EQ(clear(mine, "j", "nobody:1"), -ENOENT);
	EXPECT_EQ(clear(mine, "j", far), 0);
	EXPECT_EQ(clear(mine, "j", far), -ENOENT);
	ASSERT_EQ(replicas(other, "j", r), 1);
	EXPECT_STREQ(r[0].segment, mc_store_name(mine));
	memset(data, 0, sizeof(data));
	EXPECT_EQ(st_get(other, "j", data, sizeof(data)), sizeof(data));
	EXPECT_TRUE(filled(data, sizeof(data), 3));

	/* Replaced by somebody else: not ours any more. */
	ASSERT_EQ(st_put_opts(mine, "r", data, sizeof(data), both), 0);
	ASSERT_EQ(st_put_opts(other, "r", "new", 3, (struct mc_put_opts){ .flags = MC_PUT_REPLACE }), 0);
	EXPECT_EQ(clear(mine, "r", NULL), -ENOENT);
	EXPECT_EQ(st_exists(mine, "r"), 1);

	ASSERT_EQ(st_put_opts(other, "whole", data, sizeof(data), both), 0);
	EXPECT_EQ(clear(other, "whole", ""), 0);
	EXPECT_EQ(st_exists(mine, "whole"), 0);
	mc_store_close(mine);
	mc_store_close(other);
	EXPECT_EQ(child_stop(&c, 0), 0);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}

TEST(without_a_master)
{
	struct mc_replica r[16];
	struct mc_store *s;

	NEED_MASTER();
	s = st_open(master.port, 8 * MIB, NULL);
	ASSERT_TRUE(s);
	ASSERT_EQ(st_put(s, "a", "hello", 5), 0);
	EXPECT_EQ(rig_stop(&master, SIGKILL), 128 + SIGKILL);
	EXPECT_TRUE(replicas(s, "a", r) < 0);
	EXPECT_TRUE(clear(s, "a", NULL) < 0);
	EXPECT_EQ(st_exists(s, "a"), 1);
	mc_store_close(s);
}

