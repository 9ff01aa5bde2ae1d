// SPDX-License-Identifier: Apache-2.0
/* The topology text is upstream's to the byte, on machines of several kinds. */
#include "mctest.h"

#include <errno.h>
#include <mooncake/engine.h>

#include "engine/topology.h"
#include "dev/dev.h"
#include "unit/sysfs_rig.h"

#define GLOBAL "2001:0db8:0000:0000:0000:0000:0000:0001"

static char dev[80];

static void begin(const char *nodes, int nr_nodes)
{
	tree_make();
	snprintf(dev, sizeof(dev), "%s/dev", root);
	put("devices/system/cpu/online", "0-15\n");
	put("devices/system/node/online", nodes);
	for (int i = 0; i < nr_nodes; i++)
		put_node(i);
}

/* The text for the tree; the caller's to free. */
static char *text_of(const char *devices, const char *also)
{
	const struct topology_source from = { root, dev, devices, also, .proc = root };
	struct buf b = BUF_INIT;
	struct places t;

	if (topology_discover(&from, &t))
		return NULL;
	places_print(&t, &b);
	buf_put_u8(&b, 0);
	places_fini(&t);
	return (char *)b.data;
}

static void expect_text(const char *devices, const char *also, const char *want)
{
	char *text = text_of(devices, also);

	EXPECT_STREQ(text, want);
	free(text);
}

/* This is what upstream's release 0.3.13 prints on a machine without RDMA. */
TEST(this_machine)
{
	char *text = mc_topology_json(NULL), want[4096], *w = want;
	struct topo_gpus gpus;
	struct topo t;

	ASSERT_EQ(topo_gpus_read(NULL, &gpus), 0);
	if (gpus.nr || !access("/sys/class/infiniband", F_OK))
		SKIP("this machine has RDMA or graphics cards");
	ASSERT_EQ(topo_read(NULL, &t), 0);
	if (t.nr_nodes > 10)
		SKIP("as bytes, cpu:10 comes before cpu:2");
	w += sprintf(w, "{");
	for (int i = 0; i < t.nr_nodes; i++)
		w += sprintf(w, "%s\n\t\"cpu:%d\" : \n\t[\n\t\t[],\n\t\t[]\n\t]", i ? "," : "",
			     t.nodes[i].id);
	sprintf(w, "\n}\n");
	EXPECT_STREQ(text, want);
	topo_free(&t);
	free(text);
}

TEST(a_machine_without_nics)
{
	begin("0-1\n", 2);
	expect_text(NULL, NULL,
		    "{\n\t\"cpu:0\" : \n\t[\n\t\t[],\n\t\t[]\n\t],\n\t\"cpu:1\" : \n\t[\n\t\t[],\n\t\t[]\n\t]\n}\n");
	tree_drop();
}

TEST(two_sockets)
{
	begin("0-1\n", 2);
	put_nic("mlx5_0", "pci0000:10/0000:10:01.0/0000:11:00.0", 0, 0);
	put_nic("mlx5_1", "pci0000:80/0000:80:01.0/0000:81:00.0", 1, 1);
	put_gid("mlx5_0", 0, GLOBAL, "RoCE v2", "eth0");
	put_gid("mlx5_1", 0, GLOBAL, "RoCE v2", "eth1");
	expect_text(NULL, NULL,
		    "{\n\t\"cpu:0\" : \n\t[\n\t\t[\n\t\t\t\"mlx5_0\"\n\t\t],\n\t\t[\n\t\t\t\"mlx5_1\"\n\t\t]\n\t],\n"
		    "\t\"cpu:1\" : \n\t[\n\t\t[\n\t\t\t\"mlx5_1\"\n\t\t],\n\t\t[\n\t\t\t\"mlx5_0\"\n\t\t]\n\t]\n}\n");
	/* Filters: one list, two lists, blanks, names that are not there. */
	expect_text(" mlx5_1 , none", NULL,
		    "{\n\t\"cpu:0\" : \n\t[\n\t\t[],\n\t\t[\n\t\t\t\"mlx5_1\"\n\t\t]\n\t],\n"
		    "\t\"cpu:1\" : \n\t[\n\t\t[\n\t\t\t\"mlx5_1\"\n\t\t],\n\t\t[]\n\t]\n}\n");
	expect_text("mlx5_0", "mlx5_1",
		    "{\n\t\"cpu:0\" : \n\t[\n\t\t[],\n\t\t[]\n\t],\n\t\"cpu:1\" : \n\t[\n\t\t[],\n\t\t[]\n\t]\n}\n");
	tree_drop();
}

TEST(only_link_local_is_used_all_the_same)
{
	begin("0\n", 1);
	put_nic("mlx5_0", "pci0000:10/0000:10:01.0/0000:11:00.0", 0, 0);
	put_gid("mlx5_0", 0, "fe80:0000:0000:0000:0000:0000:0000:0001", "RoCE v2", "eth0");
	put_nic("mlx5_1", "pci0000:10/0000:10:01.0/0000:12:00.0", 0, 1); /* no address: not usable */
	expect_text(NULL, NULL, "{\n\t\"cpu:0\" : \n\t[\n\t\t[\n\t\t\t\"mlx5_0\"\n\t\t],\n\t\t[]\n\t]\n}\n");
	tree_drop();
}

/* Four switches, two on each socket; two cards and two NICs below each. Every card is near the two NICs of its switch. */
TEST(eight_cards_and_eight_nics)
{
	struct topology_source from = { .sysfs = root, .dev = dev, .proc = root };
	struct places t;

	begin("0-1\n", 2);
	for (int i = 0; i < 8; i++) {
		static const char *const bridges[] = { "0000:10:01.0/0000:11:00.0", "0000:20:01.0/0000:21:00.0",
						       "0000:90:01.0/0000:91:00.0", "0000:a0:01.0/0000:a1:00.0" };
		const char *up = bridges[i / 2];
		char where[256], name[16];

		snprintf(where, sizeof(where), "pci%.7s/%s/0000:%.2s:0%d.0/0000:%.1s%x:00.0", up, up, up + 18, i % 2, up + 18,
			 2 + i % 2);
		put_pci(where, i / 4, "0x030200", "0x10de");
		snprintf(where, sizeof(where), "pci%.7s/%s/0000:%.2s:0%d.0/0000:%.1s%x:00.0", up, up, up + 18, 2 + i % 2, up + 18,
			 4 + i % 2);
		snprintf(name, sizeof(name), "mlx5_%d", i);
		put_nic(name, where, i / 4, i);
		put_gid(name, 0, GLOBAL, "RoCE v2", "eth0");
	}
	ASSERT_EQ(topology_discover(&from, &t), 0);
	ASSERT_EQ(t.nr, 10);
	EXPECT_STREQ(t.place[0].name, "cpu:0");
	EXPECT_STREQ(t.place[2].name, "cuda:0");
	EXPECT_EQ(t.place[0].nr_near, 4);
	EXPECT_EQ(t.place[0].nr_far, 4);
	EXPECT_STREQ(t.place[1].near[0], "mlx5_4");
	for (int i = 0; i < 8; i++) {
		const struct place *p = &t.place[2 + i];
		char first[16], second[16];

		snprintf(first, sizeof(first), "mlx5_%d", i & ~1);
		snprintf(second, sizeof(second), "mlx5_%d", i | 1);
		ASSERT_EQ(p->nr_near, 2);
		EXPECT_EQ(p->nr_far, 6);
		EXPECT_STREQ(p->near[0], first);
		EXPECT_STREQ(p->near[1], second);
	}
	places_fini(&t);
	/* With the near ones not allowed, the nearest of the same socket; with none there, the nearest of all. */
	from.devices = "mlx5_2,mlx5_7";
	ASSERT_EQ(topology_discover(&from, &t), 0);
	EXPECT_EQ(t.place[2].nr_near, 1);
	EXPECT_STREQ(t.place[2].near[0], "mlx5_2");
	EXPECT_STREQ(t.place[9].near[0], "mlx5_7");
	places_fini(&t);
	from.devices = "mlx5_7";
	ASSERT_EQ(topology_discover(&from, &t), 0);
	EXPECT_EQ(t.place[2].nr_near, 1);
	EXPECT_STREQ(t.place[2].near[0], "mlx5_7");
	places_fini(&t);
	tree_drop();
}

/* The second card alone is near the NIC of its socket, under the number by which the program knows it. */
TEST(cards_as_the_program_sees_them)
{
	struct topology_source from = { .sysfs = root, .dev = dev, .proc = root, .cuda = "1" };
	struct places t;

	begin("0-1\n", 2);
	put_pci("pci0000:10/0000:10:01.0/0000:11:00.0", 0, "0x030200", "0x10de");
	put_pci("pci0000:80/0000:80:01.0/0000:81:00.0", 1, "0x030200", "0x10de");
	put_nic("mlx5_0", "pci0000:10/0000:10:02.0/0000:12:00.0", 0, 0);
	put_gid("mlx5_0", 0, GLOBAL, "RoCE v2", "eth0");
	put_nic("mlx5_1", "pci0000:80/0000:80:02.0/0000:82:00.0", 1, 1);
	put_gid("mlx5_1", 0, GLOBAL, "RoCE v2", "eth1");
	ASSERT_EQ(topology_discover(&from, &t), 0);
	ASSERT_EQ(t.nr, 3);
	EXPECT_STREQ(t.place[2].name, "cuda:0");
	EXPECT_STREQ(t.place[2].near[0], "mlx5_1");
	places_fini(&t);
	from.cuda = "";
	ASSERT_EQ(topology_discover(&from, &t), 0);
	EXPECT_EQ(t.nr, 2);
	places_fini(&t);
	tree_drop();
}

TEST(places_are_in_the_order_of_bytes)
{
	char *text, *two, *ten;

	begin("0-11\n", 12);
	text = text_of(NULL, NULL);
	ASSERT_TRUE(text);
	two = strstr(text, "\"cpu:2\"");
	ten = strstr(text, "\"cpu:10\"");
	EXPECT_TRUE(two && ten && ten < two);
	free(text);
	tree_drop();
}

/* ---- a topology of the user's own ---- */

TEST(read_and_written_again)
{
	static const char in[] = "{\"cuda:0\":[[\"b\",\"a\"],null],\"cpu:0\":[[],[\"\\u00e9\"]]}\n";
	struct buf b = BUF_INIT, again = BUF_INIT;
	struct places t;

	ASSERT_EQ(places_parse(in, sizeof(in) - 1, &t), 0);
	places_print(&t, &b);
	places_fini(&t);
	ASSERT_EQ(places_parse((char *)b.data, b.len, &t), 0);
	places_print(&t, &again);
	places_fini(&t);
	EXPECT_EQ(b.len, again.len);
	EXPECT_MEMEQ(b.data, again.data, b.len);
	buf_put_u8(&b, 0);
	EXPECT_STREQ((char *)b.data, "{\n\t\"cpu:0\" : \n\t[\n\t\t[],\n\t\t[\n\t\t\t\"\\u00e9\"\n\t\t]\n\t],\n"
				     "\t\"cuda:0\" : \n\t[\n\t\t[\n\t\t\t\"b\",\n\t\t\t\"a\"\n\t\t],\n\t\t[]\n\t]\n}\n");
	buf_fini(&b);
	buf_fini(&again);
}

TEST(malformed)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"null",
		"{\"cpu:0\":[]}",
		"{\"cpu:0\":[[]]}",
		"{\"cpu:0\":[[],[],[]]}",
		"{\"cpu:0\":[{},[]]}",
		"{\"cpu:0\":[[1],[]]}",
		"{\"cpu:0\":[[\"\"],[]]}",
		"{\"cpu:0\":[[\"a\\u0000b\"],[]]}",
		"{\"cpu:0\":[[[]],[]]}",
		"{\"cpu:0\":null}",
		"{\"cpu:0\":[[],[]]} x",
		"{\"a-name-that-is-longer-than-any-place-of-any-machine-will-ever-be-called\":[[],[]]}",
	};
	struct places t = { .nr = 7 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (places_parse(bad[i], strlen(bad[i]), &t) != -EBADMSG)
			MCTEST_FAIL("accepted: %s", bad[i]);
	EXPECT_EQ(t.nr, 7);
}

TEST(from_a_file)
{
	char path[128], *text;

	tree_make();
	put("topology.json", "{\"cpu:0\": [[\"a\"], []]}\n");
	put("bad.json", "{\"cpu:0\": [[\"a\"]]}\n");
	put("empty.json", "");
	snprintf(path, sizeof(path), "%s/topology.json", root);
	setenv("MC_CUSTOM_TOPO_JSON", path, 1);
	text = mc_topology_json("b");
	EXPECT_STREQ(text, "{\n\t\"cpu:0\" : \n\t[\n\t\t[\n\t\t\t\"a\"\n\t\t],\n\t\t[]\n\t]\n}\n");
	free(text);
	snprintf(path, sizeof(path), "%s/bad.json", root);
	setenv("MC_CUSTOM_TOPO_JSON", path, 1);
	EXPECT_TRUE(!mc_topology_json(NULL));
	EXPECT_EQ(errno, EBADMSG);
	EXPECT_TRUE(strstr(mc_last_error(), "place \"cpu:0\" is malformed"));
	/* What cannot be read does not count. */
	snprintf(path, sizeof(path), "%s/empty.json", root);
	setenv("MC_CUSTOM_TOPO_JSON", path, 1);
	text = mc_topology_json(NULL);
	EXPECT_TRUE(text && !strstr(text, "\"a\""));
	free(text);
	setenv("MC_CUSTOM_TOPO_JSON", root, 1);
	text = mc_topology_json(NULL);
	EXPECT_TRUE(text && !strstr(text, "\"a\""));
	free(text);
	unsetenv("MC_CUSTOM_TOPO_JSON");
	tree_drop();
}
