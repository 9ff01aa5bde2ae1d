/* SPDX-License-Identifier: Apache-2.0 */
/* A sysfs of a test's own: files, links, and whole devices as the kernel shows them. */
#ifndef SYSFS_RIG_H
#define SYSFS_RIG_H

#include <ftw.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mctest.h"

static char root[64];

static inline void tree_make(void)
{
	strcpy(root, "/tmp/mc-topo-XXXXXX");
	if (!mkdtemp(root))
		abort();
}

/* Makes the folders that lead to @full. */
static inline void folders(char *full)
{
	for (char *p = strchr(full + strlen(root) + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		mkdir(full, 0700);
		*p = '/';
	}
}

static inline void put(const char *path, const char *text)
{
	char full[1024];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", root, path);
	folders(full);
	f = fopen(full, "w");
	if (!f)
		abort();
	fputs(text, f);
	fclose(f);
}

__attribute__((format(printf, 2, 3))) static inline void putf(const char *text, const char *path, ...)
{
	char at[512];
	va_list ap;

	va_start(ap, path);
	vsnprintf(at, sizeof(at), path, ap);
	va_end(ap);
	put(at, text);
}

/* @to is relative to the tree's root, or absolute. */
static inline void link_to(const char *path, const char *to)
{
	char full[1024], target[1024];

	snprintf(full, sizeof(full), "%s/%s", root, path);
	folders(full);
	snprintf(target, sizeof(target), "%s%s%s", *to == '/' ? "" : root, *to == '/' ? "" : "/", to);
	if (symlink(target, full))
		abort();
}

static inline int drop(const char *path, const struct stat *st, int kind, struct FTW *w)
{
	return remove(path);
}

static inline void tree_drop(void)
{
	nftw(root, drop, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- machines ---- */

/* @where: the device's folder below devices/, e.g. "pci0000:00/0000:00:01.0/0000:01:00.0"; its last part is its address. */
static inline void put_pci(const char *where, int node, const char *class, const char *vendor)
{
	const char *address = strrchr(where, '/') + 1;
	char text[512], path[512];

	snprintf(text, sizeof(text), "%d\n", node);
	putf(text, "devices/%s/numa_node", where);
	snprintf(text, sizeof(text), "%s\n", class);
	putf(text, "devices/%s/class", where);
	snprintf(text, sizeof(text), "%s\n", vendor);
	putf(text, "devices/%s/vendor", where);
	snprintf(path, sizeof(path), "bus/pci/devices/%s", address);
	snprintf(text, sizeof(text), "devices/%s", where);
	link_to(path, text);
}

static inline void put_gid(const char *nic, int index, const char *gid, const char *type, const char *netdev)
{
	char text[64];

	snprintf(text, sizeof(text), "%s\n", gid);
	putf(text, "class/infiniband/%s/ports/1/gids/%d", nic, index);
	if (type) {
		snprintf(text, sizeof(text), "%s\n", type);
		putf(text, "class/infiniband/%s/ports/1/gid_attrs/types/%d", nic, index);
	}
	if (netdev) {
		snprintf(text, sizeof(text), "%s\n", netdev);
		putf(text, "class/infiniband/%s/ports/1/gid_attrs/ndevs/%d", nic, index);
	}
}

/* An RDMA device with one active port, without addresses; its node in /dev is a character device everybody may open. */
static inline void put_nic(const char *name, const char *where, int node, int number)
{
	char path[512], text[512];

	put_pci(where, node, "0x020700", "0x15b3");
	snprintf(path, sizeof(path), "class/infiniband/%s/device", name);
	snprintf(text, sizeof(text), "devices/%s", where);
	link_to(path, text);
	putf("4: ACTIVE\n", "class/infiniband/%s/ports/1/state", name);
	putf("Ethernet\n", "class/infiniband/%s/ports/1/link_layer", name);
	snprintf(text, sizeof(text), "%s\n", name);
	putf(text, "class/infiniband_verbs/uverbs%d/ibdev", number);
	snprintf(path, sizeof(path), "dev/infiniband/uverbs%d", number);
	link_to(path, "/dev/null");
}

static inline void put_node(int id)
{
	char text[64];

	snprintf(text, sizeof(text), "%d-%d\n", id * 8, id * 8 + 7);
	putf(text, "devices/system/node/node%d/cpulist", id);
}

#endif
