// SPDX-License-Identifier: Apache-2.0
/* Node identity from a tree that looks like a machine's. */
#include "mctest.h"
#include "dev/dev.h"

#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/mc-node-XXXXXX";

static void put(const char *path, const char *text)
{
	char full[256];
	FILE *f;

	snprintf(full, sizeof(full), "%s%s", root, path);
	if (!text) {
		unlink(full);
		return;
	}
	f = fopen(full, "w");
	fputs(text, f);
	fclose(f);
}

static void tree(bool make)
{
	static const char *const dirs[] = { "/etc", "/proc", "/proc/sys", "/proc/sys/kernel",
					    "/proc/sys/kernel/random" };
	char full[256];

	if (make && !mkdtemp(root))
		abort();
	for (int i = 0; i < 5; i++) {
		snprintf(full, sizeof(full), "%s%s", root, dirs[make ? i : 4 - i]);
		if (make ? mkdir(full, 0700) : rmdir(full))
			abort();
	}
	if (!make) {
		rmdir(root);
		strcpy(root + sizeof(root) - 7, "XXXXXX");
	}
}

#define MACHINE "/etc/machine-id"
#define BOOT	"/proc/sys/kernel/random/boot_id"

TEST(this_machine)
{
	uint8_t a[16], b[16], zero[16] = { 0 };

	node_id(a);
	node_id(b);
	EXPECT_MEMEQ(a, b, 16);
	EXPECT_TRUE(memcmp(a, zero, 16));
}

TEST(as_text)
{
	static const uint8_t bytes[] = { 0x00, 0x9a, 0xff, 0x10 };
	char text[NODE_ID_TEXT], byte[3] = "";
	uint8_t id[16];

	EXPECT_STREQ(hex_text(text, bytes, sizeof(bytes)), "009aff10");
	EXPECT_STREQ(hex_text(text, bytes, 0), "");
	node_id(id);
	EXPECT_EQ(strlen(node_id_text(text)), 32);
	for (int i = 0; i < 16; i++) {
		memcpy(byte, text + 2 * i, 2);
		EXPECT_EQ(strtol(byte, NULL, 16), id[i]);
	}
}

TEST(derived_from_the_machine_id_alone)
{
	static const uint8_t raw[16] = { 0x3d, 0x12, 0x19, 0xc7, 0xc4, 0xc5, 0x40, 0x4a,
					 0xaa, 0x1f, 0x6d, 0x2a, 0x48, 0xad, 0xfd, 0xa4 };
	uint8_t a[16], b[16];

	tree(true);
	put(MACHINE, "3d1219c7c4c5404aaa1f6d2a48adfda4\n");
	put(BOOT, "11111111-2222-3333-4444-555555555555\n");
	node_id_at(root, a);
	EXPECT_TRUE(memcmp(a, raw, 16));
	put(BOOT, "99999999-2222-3333-4444-555555555555\n");
	node_id_at(root, b);
	EXPECT_MEMEQ(a, b, 16);
	put(MACHINE, "3d1219c7c4c5404aaa1f6d2a48adfda4"); /* without the newline it is the same */
	node_id_at(root, b);
	EXPECT_MEMEQ(a, b, 16);
	put(MACHINE, "3d1219c7c4c5404aaa1f6d2a48adfda5\n");
	node_id_at(root, b);
	EXPECT_TRUE(memcmp(a, b, 16));
	put(MACHINE, NULL);
	put(BOOT, NULL);
	tree(false);
}

/* Images and first boots have a machine-id that identifies nothing: two of them must not be taken for one machine. */
TEST(without_a_usable_machine_id_the_boot_counts)
{
	static const char *const unusable[] = {
		NULL, "", "\n", "uninitialized\n", "00000000000000000000000000000000\n", "3d12\n"
	};
	uint8_t first[16], a[16], b[16];

	tree(true);
	for (size_t i = 0; i < sizeof(unusable) / sizeof(unusable[0]); i++) {
		put(MACHINE, unusable[i]);
		put(BOOT, "11111111-2222-3333-4444-555555555555\n");
		node_id_at(root, a);
		if (!i)
			memcpy(first, a, 16);
		EXPECT_MEMEQ(a, first, 16);
		put(BOOT, "99999999-2222-3333-4444-555555555555\n");
		node_id_at(root, b);
		EXPECT_TRUE(memcmp(a, b, 16));
	}
	put(MACHINE, NULL);
	put(BOOT, NULL);
	tree(false);
}
