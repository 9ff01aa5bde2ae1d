// SPDX-License-Identifier: Apache-2.0
/* A master process, owners and clients: publish, find, replace, remove, and what happens when one of them is gone. */
#include "integration/master_rig.h"

#pragma GCC diagnostic ignored "-Wsign-compare" /* plain numbers beside counters */

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
