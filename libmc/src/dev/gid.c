// SPDX-License-Identifier: Apache-2.0
/*
 * Addresses of RDMA ports (GIDs), and which one to tell others. The kernel lists them below a port's folder:
 * gids/N, gid_attrs/types/N and gid_attrs/ndevs/N (Documentation/ABI/stable/sysfs-class-infiniband).
 */
#include <limits.h>
#include <stdio.h>

#include "dev/dev.h"
#include "dev/text.h"

#define GIDS_MAX 256 /* of one port's table that are looked at */

/* Eight groups of four digits, as the kernel prints them. */
static int parse(const char *text, uint8_t raw[16])
{
	if (strlen(text) != 39)
		return -EBADMSG;
	for (int i = 0; i < 16; i++) {
		const char *p = text + i / 2 * 5 + i % 2 * 2;
		int high = hex_digit(p[0]), low = hex_digit(p[1]);

		if (high < 0 || low < 0 || (i % 2 && p[2] && p[2] != ':'))
			return -EBADMSG;
		raw[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

static bool is_zero(const uint8_t raw[16])
{
	static const uint8_t zero[16];

	return !memcmp(raw, zero, 16);
}

/* The four bytes of an IPv4 address in its IPv6 form, or NULL. */
static const uint8_t *ipv4_of(const uint8_t raw[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(raw, mapped, sizeof(mapped)) ? NULL : raw + 12;
}

static bool link_local(const uint8_t raw[16])
{
	const uint8_t *v4 = ipv4_of(raw);

	return v4 ? v4[0] == 169 && v4[1] == 254 : raw[0] == 0xfe && (raw[1] & 0xc0) == 0x80;
}

/* 192.168/16 is not among them: it is what many clusters give their storage network. */
static bool private_net(const uint8_t raw[16])
{
	const uint8_t *v4 = ipv4_of(raw);

	return v4 && (v4[0] == 10 || (v4[0] == 172 && (v4[1] & 0xf0) == 16) || (v4[0] == 100 && (v4[1] & 0xc0) == 64));
}

static bool overlay(const char *netdev)
{
	static const char *const names[] = { "flannel", "cni", "cali", "vxlan", "docker", "tunl", "geneve", "weave", "veth" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strncmp(netdev, names[i], strlen(names[i])))
			return true;
	return false;
}

static enum gid_class class_of(const struct gid *g)
{
	bool there = *g->netdev;

	if (link_local(g->raw) || overlay(g->netdev))
		return there ? GID_DEGRADED : GID_DEGRADED_NO_NETDEV;
	if (private_net(g->raw))
		return there ? GID_PRIVATE : GID_PRIVATE_NO_NETDEV;
	return there ? GID_ROUTABLE : GID_ROUTABLE_NO_NETDEV;
}

/* What sysfs says about one entry; "" when it says nothing. */
static void attribute(const char *port, const char *kind, int index, char *out, size_t size)
{
	char path[PATH_MAX];

	*out = 0;
	if (snprintf(path, sizeof(path), "%s/%s/%d", port, kind, index) < PATH_MAX && file_text(path, out, size) < 0)
		*out = 0;
	out[strcspn(out, "\n")] = 0;
}

static bool native(const char *port)
{
	char path[PATH_MAX], text[32] = "";

	return snprintf(path, sizeof(path), "%s/link_layer", port) < PATH_MAX && file_text(path, text, sizeof(text)) > 0 &&
	       !strncmp(text, "InfiniBand", 10);
}

struct gid gid_choose(const char *port)
{
	struct gid best = { .index = -1 };
	bool ib = native(port);

	for (int i = 0; i < GIDS_MAX; i++) {
		char text[64], type[32];
		struct gid g = { .index = i };

		attribute(port, "gids", i, text, sizeof(text));
		if (!*text)
			break; /* the table ends here */
		if (parse(text, g.raw) || is_zero(g.raw))
			continue;
		attribute(port, "gid_attrs/types", i, type, sizeof(type));
		attribute(port, "gid_attrs/ndevs", i, g.netdev, sizeof(g.netdev));
		g.class = ib || !strcmp(type, "RoCE v2") ? class_of(&g) : GID_ANY;
		if (best.index < 0 || g.class < best.class)
			best = g;
	}
	return best;
}
