// SPDX-License-Identifier: Apache-2.0
/* Who this node is. */
#include "dev/dev.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "base/hash.h"
#include "dev/text.h"

/*
 * Fixed, because all processes of a node must come to the same id. machine-id(5) asks applications to
 * publish nothing but a keyed hash of their own.
 */
static const struct hash_key node_key = { { 0x6d6f6f6e63616b65, 0x6e6f64652d696421 } };

/* 32 hexadecimal digits, not all 0. On first boot the file is empty or says "uninitialized". */
static bool usable_id(const char *text, int len)
{
	bool zero = true;
	int digits = 0;

	for (int i = 0; i < len && text[i] != '\n'; i++) {
		if (text[i] == '-')
			continue;
		if (!isxdigit((unsigned char)text[i]))
			return false;
		zero &= text[i] == '0';
		digits++;
	}
	return digits >= 32 && !zero;
}

static int read_id(const char *root, const char *path, char *text, size_t size)
{
	char full[PATH_MAX];
	int len;

	if (snprintf(full, sizeof(full), "%s%s", root, path) >= (int)sizeof(full))
		return -ENAMETOOLONG;
	len = file_text(full, text, size);
	if (len < 0)
		return len;
	return usable_id(text, len) ? len : -EBADMSG;
}

void node_id_at(const char *root, uint8_t out[16])
{
	char text[sizeof(struct utsname)] = "";
	struct utsname un;
	uint64_t h[2];
	int len;

	len = read_id(root, "/etc/machine-id", text, sizeof(text));
	if (len < 0)
		len = read_id(root, "/proc/sys/kernel/random/boot_id", text, sizeof(text));
	if (len < 0 && !uname(&un)) /* no machine-id and no /proc: the host's name is all that is left */
		memcpy(text, un.nodename, sizeof(un.nodename));
	text[strcspn(text, "\n")] = 0;
	siphash128(&node_key, text, strlen(text), h);
	put_le64(out, h[0]);
	put_le64(out + 8, h[1]);
}

void node_id(uint8_t out[16])
{
	node_id_at("", out);
}

char *node_id_text(char out[NODE_ID_TEXT])
{
	uint8_t id[16];

	node_id(id);
	return hex_text(out, id, sizeof(id));
}
