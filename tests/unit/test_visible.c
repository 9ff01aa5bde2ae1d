// SPDX-License-Identifier: Apache-2.0
/* The cards that a program sees, by the driver's list and by CUDA_VISIBLE_DEVICES. */
#include "mctest.h"

#include "base/env.h"
#include "dev/dev.h"
#include "unit/sysfs_rig.h"

#define NR 4

static void put_uuid(int i, const char *uuid)
{
	char text[128];

	snprintf(text, sizeof(text), "Model: \t\t NVIDIA\nIRQ:   \t\t 100\nGPU UUID: \t %s\nDevice Minor: \t 0\n", uuid);
	putf(text, "driver/nvidia/gpus/0000:%d0:00.0/information", i + 1);
}

/* Four of NVIDIA's, and one of AMD's between. */
static void begin(void)
{
	tree_make();
	for (int i = 0; i < NR; i++) {
		char where[64];

		snprintf(where, sizeof(where), "pci0000:00/0000:00:0%d.0/0000:%d0:00.0", i + 1, i + 1);
		put_pci(where, 0, "0x030200", "0x10de");
	}
	put_pci("pci0000:00/0000:00:07.0/0000:15:00.0", 0, "0x038000", "0x1002");
}

/* Which are seen, by the first digit of their addresses, in the order of their numbers: "24". The other maker's always is. */
static const char *seen(const char *kind, const char *list)
{
	static char text[NR + 2];
	struct topo_gpus t;
	bool other = false;
	int nr = 0;

	memset(text, 0, sizeof(text));
	if (topo_gpus_read(root, &t))
		return "?";
	topo_gpus_see(&t, root, kind, list);
	for (int i = 0; i < t.nr; i++) {
		if (strcmp(t.gpu[i].kind, kind)) {
			other |= t.gpu[i].index == 0;
			continue;
		}
		if (t.gpu[i].index < 0 || t.gpu[i].index >= NR || text[t.gpu[i].index])
			return "twice";
		text[t.gpu[i].index] = t.gpu[i].address[5];
		nr++;
	}
	topo_gpus_free(&t);
	return other && (int)strlen(text) == nr ? text : "holes";
}

TEST(by_number)
{
	begin();
	EXPECT_STREQ(seen("cuda", "all"), "1234");
	EXPECT_STREQ(seen("cuda", "0"), "1");
	EXPECT_STREQ(seen("cuda", "3,1"), "42");
	EXPECT_STREQ(seen("cuda", " 2 , 0 "), "31");
	EXPECT_STREQ(seen("cuda", ""), "");
	EXPECT_STREQ(seen("hip", "0"), "1");
	EXPECT_STREQ(seen("hip", "1"), "");
	tree_drop();
}

/* It ends there, and is no error. */
TEST(before_the_first_that_is_none)
{
	begin();
	EXPECT_STREQ(seen("cuda", "-1"), "");
	EXPECT_STREQ(seen("cuda", "1,-1,2"), "2");
	EXPECT_STREQ(seen("cuda", "1,4,2"), "2");
	EXPECT_STREQ(seen("cuda", "1,,2"), "2");
	EXPECT_STREQ(seen("cuda", "1 2"), "2");
	EXPECT_STREQ(seen("cuda", "2,2,0"), "3");
	EXPECT_STREQ(seen("cuda", "0x1"), "");
	EXPECT_STREQ(seen("cuda", "NoDevFiles"), "");
	EXPECT_STREQ(seen("cuda", "99999999999999999999999"), "");
	EXPECT_STREQ(seen("cuda", "GPU-"), "");
	tree_drop();
}

TEST(by_uuid)
{
	begin();
	for (int i = 0; i < NR; i++) {
		char uuid[64];

		snprintf(uuid, sizeof(uuid), "GPU-%d0000000-1111-2222-3333-444444444444", i);
		put_uuid(i, uuid);
	}
	EXPECT_STREQ(seen("cuda", "GPU-20000000-1111-2222-3333-444444444444"), "3");
	EXPECT_STREQ(seen("cuda", "GPU-3,GPU-0000,1"), "412");
	EXPECT_STREQ(seen("cuda", "GPU-3,GPU-7,1"), "4");
	EXPECT_STREQ(seen("cuda", "MIG-20000000-1111-2222-3333-444444444444"), "");
	tree_drop();
}

/* In a container that was given two of the four. */
TEST(what_the_driver_does_not_list_is_not_there)
{
	begin();
	put_uuid(1, "GPU-1");
	put_uuid(3, "GPU-3");
	EXPECT_STREQ(seen("cuda", "all"), "24");
	EXPECT_STREQ(seen("cuda", "1"), "4");
	EXPECT_STREQ(seen("cuda", "2"), "");
	EXPECT_STREQ(seen("hip", "all"), "1");
	tree_drop();
}

/* Of other variables an empty one counts as not set. */
TEST(an_empty_list_is_none)
{
	struct env e;

	unsetenv("CUDA_VISIBLE_DEVICES");
	ASSERT_EQ(env_open(&e), 0);
	EXPECT_STREQ(e.cuda_visible_devices, "all");
	env_close(&e);
	setenv("CUDA_VISIBLE_DEVICES", "", 1);
	ASSERT_EQ(env_open(&e), 0);
	EXPECT_STREQ(e.cuda_visible_devices, "");
	env_close(&e);
	unsetenv("CUDA_VISIBLE_DEVICES");
}
