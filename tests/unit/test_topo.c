// SPDX-License-Identifier: Apache-2.0
/* Topology from synthetic sysfs trees, and from this machine's. */
#include "mctest.h"
#include "dev/dev.h"

#include <unistd.h>

#include "unit/sysfs_rig.h"

TEST(two_nodes_with_a_hole_and_one_without_processors)
{
	struct topo t;

	tree_make();
	put("devices/system/cpu/online", "0-7,16-23\n");
	put("devices/system/node/online", "0,2-3\n");
	put("devices/system/node/node0/cpulist", "0-3,16-19\n");
	put("devices/system/node/node0/meminfo",
	    "Node 0 MemTotal:       1024 kB\nNode 0 MemFree: 1 kB\n");
	put("devices/system/node/node2/cpulist", "4-7,20-23\n");
	put("devices/system/node/node2/meminfo", "Node 2 MemTotal:    67108864 kB\n");
	put("devices/system/node/node3/cpulist", "\n");
	put("devices/system/node/node3/meminfo", "Node 3 MemTotal:           0 kB\n");
	ASSERT_EQ(topo_read(root, &t), 0);
	EXPECT_EQ(t.nr_cpus, 16);
	ASSERT_EQ(t.nr_nodes, 3);
	EXPECT_EQ(t.nodes[0].id, 0);
	EXPECT_EQ(t.nodes[0].nr_cpus, 8);
	EXPECT_EQ(t.nodes[0].mem_bytes, 1 * MiB);
	EXPECT_EQ(t.nodes[1].id, 2);
	EXPECT_EQ(t.nodes[1].nr_cpus, 8);
	EXPECT_EQ(t.nodes[1].mem_bytes, 64 * GiB);
	EXPECT_EQ(t.nodes[2].id, 3);
	EXPECT_EQ(t.nodes[2].nr_cpus, 0);
	EXPECT_EQ(t.nodes[2].mem_bytes, 0u);
	topo_free(&t);
	EXPECT_TRUE(!t.nodes);
	topo_free(&t);
	tree_drop();
}

TEST(no_numa_is_one_node)
{
	struct topo t;

	tree_make();
	put("devices/system/cpu/online", "0-1");
	ASSERT_EQ(topo_read(root, &t), 0);
	ASSERT_EQ(t.nr_nodes, 1);
	EXPECT_EQ(t.nodes[0].id, 0);
	EXPECT_EQ(t.nodes[0].nr_cpus, 2);
	EXPECT_GT(t.nodes[0].mem_bytes, 0u);
	EXPECT_EQ(t.nr_cpus, 2);
	topo_free(&t);
	tree_drop();
}

TEST(no_sysfs_at_all)
{
	struct topo t;

	ASSERT_EQ(topo_read("/nonexistent", &t), 0);
	EXPECT_EQ(t.nr_nodes, 1);
	EXPECT_GE(t.nr_cpus, 1);
	topo_free(&t);
}

TEST(lists_that_are_none)
{
	static const char *const bad[] = { "x\n",   "0-\n",	    "1-0\n",  "-1\n",
					   "0 1\n", "0-99999999\n", "0,,1\n", "0x1\n" };
	struct topo t = { .nr_cpus = 77 };

	tree_make();
	put("devices/system/cpu/online", "0\n");
	put("devices/system/node/node0/cpulist", "0\n");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put("devices/system/node/online", bad[i]);
		if (topo_read(root, &t) != -EBADMSG)
			MCTEST_FAIL("accepted: %s", bad[i]);
	}
	put("devices/system/node/online", "0\n");
	put("devices/system/node/node0/cpulist", "0-1-2\n");
	EXPECT_EQ(topo_read(root, &t), -EBADMSG);
	EXPECT_EQ(t.nr_cpus, 77);
	tree_drop();
}

TEST(this_machine)
{
	struct topo t;
	int cpus = 0;

	ASSERT_EQ(topo_read(NULL, &t), 0);
	EXPECT_EQ(t.nr_cpus, sysconf(_SC_NPROCESSORS_ONLN));
	for (int i = 0; i < t.nr_nodes; i++)
		cpus += t.nodes[i].nr_cpus;
	EXPECT_EQ(cpus, t.nr_cpus);
	topo_free(&t);
}
