// SPDX-License-Identifier: Apache-2.0
/* RDMA devices, their addresses, graphics cards and distances, from synthetic trees. */
#include "mctest.h"
#include "dev/dev.h"

#include <unistd.h>

#include "unit/sysfs_rig.h"

#define GLOBAL	"2001:0db8:0000:0000:0000:0000:0000:0001"
#define LINK	"fe80:0000:0000:0000:0000:0000:0000:0001"
#define TEN	"0000:0000:0000:0000:0000:ffff:0a00:0001"
#define C_CLASS "0000:0000:0000:0000:0000:ffff:c0a8:0001"
#define ZERO	"0000:0000:0000:0000:0000:0000:0000:0000"
#define WHERE	"pci0000:00/0000:00:01.0/0000:01:00.0"

static char dev[80];

static void begin(void)
{
	tree_make();
	snprintf(dev, sizeof(dev), "%s/dev", root);
}

/* What is chosen of one device's table, made by the caller. */
static struct gid chosen(void)
{
	char port[256];

	snprintf(port, sizeof(port), "%s/class/infiniband/mlx5_0/ports/1", root);
	return gid_choose(port);
}

TEST(best_address)
{
	struct gid g;

	begin();
	put_nic("mlx5_0", WHERE, 0, 0);
	EXPECT_EQ(chosen().index, -1);
	put_gid("mlx5_0", 0, LINK, "IB/RoCE v1", "eth0");
	g = chosen();
	EXPECT_EQ(g.index, 0);
	EXPECT_EQ(g.class, GID_ANY);
	put_gid("mlx5_0", 1, LINK, "RoCE v2", "eth0");
	g = chosen();
	EXPECT_EQ(g.index, 1);
	EXPECT_EQ(g.class, GID_DEGRADED);
	put_gid("mlx5_0", 2, ZERO, NULL, NULL);
	put_gid("mlx5_0", 3, TEN, "RoCE v2", NULL);
	EXPECT_EQ(chosen().index, 1); /* a netdev counts for more */
	put_gid("mlx5_0", 4, TEN, "RoCE v2", "eth0");
	g = chosen();
	EXPECT_EQ(g.index, 4);
	EXPECT_EQ(g.class, GID_PRIVATE);
	put_gid("mlx5_0", 5, GLOBAL, "RoCE v2", "flannel.1");
	EXPECT_EQ(chosen().index, 4);
	put_gid("mlx5_0", 6, GLOBAL, "RoCE v2", NULL);
	EXPECT_EQ(chosen().class, GID_ROUTABLE_NO_NETDEV);
	put_gid("mlx5_0", 7, C_CLASS, "RoCE v2", "eth0");
	put_gid("mlx5_0", 8, GLOBAL, "RoCE v2", "eth0");
	g = chosen();
	EXPECT_EQ(g.index, 7); /* 192.168 counts as routable, and the first of equals is taken */
	EXPECT_EQ(g.class, GID_ROUTABLE);
	EXPECT_STREQ(g.netdev, "eth0");
	EXPECT_EQ(g.raw[12], 192);
	tree_drop();
}

TEST(infiniband_needs_no_roce)
{
	begin();
	put_nic("mlx5_0", WHERE, 0, 0);
	put("class/infiniband/mlx5_0/ports/1/link_layer", "InfiniBand\n");
	put_gid("mlx5_0", 0, LINK, "IB/RoCE v1", NULL);
	EXPECT_EQ(chosen().class, GID_DEGRADED_NO_NETDEV);
	tree_drop();
}

TEST(garbled_addresses)
{
	static const char *const bad[] = { "fe80::1", "hello", "fe80:0000:0000:0000:0000:0000:0000:00012",
					   "fe80:0000:0000:0000:0000:0000:0000:00-1", "fe80:0000:0000:0000:0000:0000:0000:001",
					   "-e80:0000:0000:0000:0000:0000:0000:0001", "0xfe:0000:0000:0000:0000:0000:0000:0001" };

	begin();
	put_nic("mlx5_0", WHERE, 0, 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_gid("mlx5_0", 0, bad[i], "RoCE v2", "eth0");
		if (chosen().index != -1)
			MCTEST_FAIL("accepted: %s", bad[i]);
	}
	put_gid("mlx5_0", 0, "fe80", "RoCE v2", "eth0");
	put_gid("mlx5_0", 1, GLOBAL, "RoCE v2", "an-interface-with-a-very-long-name");
	EXPECT_EQ(chosen().index, 1); /* the next one counts */
	tree_drop();
}

TEST(numbers_in_names_are_numbers)
{
	struct topo_nics t;

	begin();
	put_nic("mlx5_10", "pci0000:00/0000:00:02.0/0000:02:00.0", 1, 0);
	put_nic("mlx5_9", WHERE, 0, 1);
	put_gid("mlx5_9", 0, LINK, "RoCE v2", "eth0");
	put_gid("mlx5_10", 0, GLOBAL, "RoCE v2", "eth1");
	ASSERT_EQ(topo_nics_read(root, dev, &t), 0);
	ASSERT_EQ(t.nr, 2);
	EXPECT_STREQ(t.nic[0].name, "mlx5_9");
	EXPECT_STREQ(t.nic[1].name, "mlx5_10");
	EXPECT_EQ(t.nic[0].node, 0);
	EXPECT_EQ(t.nic[1].node, 1);
	EXPECT_EQ(t.nic[0].port, 1);
	EXPECT_EQ(t.nic[0].gid.class, GID_DEGRADED); /* only link-local: to be used, when there is nothing better */
	EXPECT_TRUE(!t.nic[0].unusable && !t.nic[1].unusable);
	topo_nics_free(&t);
	tree_drop();
}

TEST(what_cannot_be_used_says_why)
{
	struct topo_nics t;
	char path[160];

	begin();
	put_nic("a_down", "pci0000:00/0000:00:01.0/0000:01:00.0", 0, 0);
	put("class/infiniband/a_down/ports/1/state", "1: DOWN\n");
	put_nic("b_bare", "pci0000:00/0000:00:01.0/0000:01:00.1", 0, 1);
	put_nic("c_hidden", "pci0000:00/0000:00:01.0/0000:01:00.2", 0, 2);
	put_gid("c_hidden", 0, GLOBAL, "RoCE v2", "eth0");
	snprintf(path, sizeof(path), "%s/infiniband/uverbs2", dev);
	unlink(path);
	put_nic("d_nobody", "pci0000:00/0000:00:01.0/0000:01:00.3", 0, 3);
	put_gid("d_nobody", 0, GLOBAL, "RoCE v2", "eth0");
	put("class/infiniband_verbs/uverbs3/ibdev", "another\n");
	put_nic("e_file", "pci0000:00/0000:00:01.0/0000:01:00.4", 0, 4);
	put_gid("e_file", 0, GLOBAL, "RoCE v2", "eth0");
	snprintf(path, sizeof(path), "%s/infiniband/uverbs4", dev);
	unlink(path);
	put("dev/infiniband/uverbs4", "no device");
	put("class/infiniband/f_empty/nothing", "");
	ASSERT_EQ(topo_nics_read(root, dev, &t), 0);
	ASSERT_EQ(t.nr, 6);
	EXPECT_STREQ(t.nic[0].unusable, "no port is active");
	EXPECT_STREQ(t.nic[1].unusable, "its active port has no address (GID)");
	EXPECT_STREQ(t.nic[2].unusable, "it has no node in /dev/infiniband");
	EXPECT_STREQ(t.nic[3].unusable, "the module ib_uverbs does not know it");
	EXPECT_STREQ(t.nic[4].unusable, "it has no node in /dev/infiniband");
	EXPECT_STREQ(t.nic[5].unusable, "no port is active");
	EXPECT_EQ(t.nic[5].node, -1);
	topo_nics_free(&t);
	tree_drop();
}

TEST(no_rdma_at_all)
{
	struct topo_nics t = { .nr = 7 };

	begin();
	ASSERT_EQ(topo_nics_read(root, dev, &t), 0);
	EXPECT_EQ(t.nr, 0);
	topo_nics_free(&t);
	tree_drop();
}

TEST(cards_by_maker_and_class)
{
	struct topo_gpus t;

	begin();
	put_pci("pci0000:00/0000:00:03.0/0000:9a:00.0", 1, "0x030200", "0x10de");
	put_pci("pci0000:00/0000:00:01.0/0000:17:00.0", 0, "0x030200", "0x10de");
	put_pci("pci0000:00/0000:00:01.0/0000:18:00.0", 0, "0x038000", "0x1002");
	put_pci("pci0000:00/0000:00:01.0/0000:19:00.0", -1, "0x120000", "0x1002");
	put_pci("pci0000:00/0000:00:02.0/0000:03:00.0", 0, "0x030000", "0x1a03"); /* the board's screen */
	put_pci("pci0000:00/0000:00:02.0/0000:04:00.0", 0, "0x010802", "0x144d"); /* a disk */
	put_pci("pci0000:00/0000:00:02.0/0000:05:00.0", 0, "0x040300", "0x10de"); /* sound of a graphics card */
	ASSERT_EQ(topo_gpus_read(root, &t), 0);
	ASSERT_EQ(t.nr, 4);
	EXPECT_STREQ(t.gpu[0].address, "0000:17:00.0");
	EXPECT_STREQ(t.gpu[0].kind, "cuda");
	EXPECT_EQ(t.gpu[0].index, 0);
	EXPECT_STREQ(t.gpu[1].kind, "hip");
	EXPECT_EQ(t.gpu[1].index, 0);
	EXPECT_EQ(t.gpu[2].index, 1);
	EXPECT_EQ(t.gpu[2].node, -1);
	EXPECT_STREQ(t.gpu[3].address, "0000:9a:00.0"); /* a hexadecimal number, behind 17 */
	EXPECT_EQ(t.gpu[3].index, 1);
	EXPECT_EQ(t.gpu[3].node, 1);
	topo_gpus_free(&t);
	tree_drop();
}

TEST(garbled_devices_are_left_out)
{
	static const char *const bad[] = { "", "\n", "zz\n", "0x030200 10de\n", "99999999999999999999\n", "-1\n" };
	struct topo_gpus t;

	begin();
	put_pci("pci0000:00/0000:00:01.0/0000:17:00.0", 0, "0x030200", "0x10de");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put("devices/pci0000:00/0000:00:01.0/0000:17:00.0/class", bad[i]);
		ASSERT_EQ(topo_gpus_read(root, &t), 0);
		if (t.nr)
			MCTEST_FAIL("accepted: %s", bad[i]);
		topo_gpus_free(&t);
	}
	put("devices/pci0000:00/0000:00:01.0/0000:17:00.0/class", "0x030200\n");
	put("devices/pci0000:00/0000:00:01.0/0000:17:00.0/numa_node", "many\n");
	link_to("bus/pci/devices/0000:aa:00.0", "devices/nowhere");
	put("bus/pci/devices/a-name-far-too-long-for-a-pci-address/class", "0x030200\n");
	ASSERT_EQ(topo_gpus_read(root, &t), 0);
	ASSERT_EQ(t.nr, 1);
	EXPECT_EQ(t.gpu[0].node, -1);
	topo_gpus_free(&t);
	tree_drop();
}

TEST(distances)
{
	EXPECT_EQ(topo_distance("/a/b", "/a/b"), 0);
	EXPECT_EQ(topo_distance("/a/b", "/a/b/"), 0);
	EXPECT_EQ(topo_distance("/a/b", "/a/c"), 2);
	EXPECT_EQ(topo_distance("/a/b", "/a/bc"), 2);
	EXPECT_EQ(topo_distance("/a/b", "/a/b/c"), 1);
	EXPECT_EQ(topo_distance("/a/b/c/d", "/a"), 3);
	EXPECT_EQ(topo_distance("/x", "/y/z"), 3);
	EXPECT_EQ(topo_distance("", ""), 0);
}
