// SPDX-License-Identifier: Apache-2.0
/* RDMA devices: which there are, where they sit, and whether this process can use them. */
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "dev/dev.h"
#include "dev/text.h"

#define NICS_MAX  1024 /* of one machine */
#define PORTS_MAX 255  /* of one device */

/* ---- may this process use it ---- */

/* The node in /dev of a device: sysfs says which device each belongs to. */
struct node_search {
	const char *sysfs, *device;
	char node[64];
};

static int is_node_of(void *arg, const char *node)
{
	struct node_search *s = arg;
	char path[PATH_MAX], text[128];

	if (snprintf(path, sizeof(path), "%s/class/infiniband_verbs/%s/ibdev", s->sysfs, node) >= PATH_MAX ||
	    file_text(path, text, sizeof(text)) <= 0)
		return 0;
	text[strcspn(text, "\n")] = 0;
	return !strcmp(text, s->device) && snprintf(s->node, sizeof(s->node), "%s", node) < (int)sizeof(s->node);
}

static const char *check_node(const char *sysfs, const char *dev, const char *name)
{
	struct node_search s = { sysfs, name, "" };
	char path[PATH_MAX];
	struct stat st;

	if (snprintf(path, sizeof(path), "%s/class/infiniband_verbs", sysfs) >= PATH_MAX || dir_each(path, is_node_of, &s) <= 0)
		return "the module ib_uverbs does not know it";
	if (snprintf(path, sizeof(path), "%s/infiniband/%s", dev, s.node) >= PATH_MAX || stat(path, &st) || !S_ISCHR(st.st_mode))
		return "it has no node in /dev/infiniband";
	return access(path, R_OK | W_OK) ? "its node in /dev/infiniband is not open to this user" : NULL;
}

static bool port_active(const char *port)
{
	char path[PATH_MAX], text[64];

	return snprintf(path, sizeof(path), "%s/state", port) < PATH_MAX && file_text(path, text, sizeof(text)) > 0 && text[0] == '4';
}

/* The first port that others can be told of. */
static const char *check_ports(const char *folder, struct topo_nic *nic)
{
	const char *why = "no port is active";
	char port[PATH_MAX];

	for (int i = 1; i <= PORTS_MAX; i++) {
		if (snprintf(port, sizeof(port), "%s/ports/%d", folder, i) >= PATH_MAX || access(port, F_OK))
			break;
		if (!port_active(port))
			continue;
		nic->gid = gid_choose(port);
		if (nic->gid.index >= 0) {
			nic->port = i;
			return NULL;
		}
		why = "its active port has no address (GID)";
	}
	return why;
}

/* ---- reading ---- */

struct reading {
	const char *sysfs, *dev;
	struct topo_nics t;
};

static int read_nic(const struct reading *r, const char *name, struct topo_nic *out)
{
	struct topo_nic nic = { .gid.index = -1 };
	char folder[PATH_MAX], path[PATH_MAX];

	if (snprintf(nic.name, sizeof(nic.name), "%s", name) >= (int)sizeof(nic.name) ||
	    snprintf(folder, sizeof(folder), "%s/class/infiniband/%s", r->sysfs, name) >= PATH_MAX ||
	    snprintf(path, sizeof(path), "%s/device", folder) >= PATH_MAX)
		return -ENAMETOOLONG;
	/* A software device has no PCI device below it and stands for itself. */
	nic.path = realpath(path, NULL) ?: realpath(folder, NULL);
	if (!nic.path)
		return -errno;
	nic.node = device_node(nic.path);
	nic.unusable = check_ports(folder, &nic);
	if (!nic.unusable)
		nic.unusable = check_node(r->sysfs, r->dev, name);
	*out = nic;
	return 0;
}

static int add(void *arg, const char *name)
{
	struct reading *r = arg;
	struct topo_nic *more = realloc(r->t.nic, (size_t)(r->t.nr + 1) * sizeof(*more));
	int ret;

	if (!more)
		return -ENOMEM;
	r->t.nic = more;
	ret = r->t.nr < NICS_MAX ? read_nic(r, name, &more[r->t.nr]) : -E2BIG;
	if (!ret)
		r->t.nr++;
	else
		log_debug("RDMA device %s is left out: %s", name, strerror(-ret));
	return ret == -ENOMEM ? ret : 0;
}

int topo_nics_read(const char *sysfs, const char *dev, struct topo_nics *out)
{
	struct reading r = { sysfs ?: "/sys", dev ?: "/dev", { 0 } };
	char path[PATH_MAX];
	int ret;

	if (snprintf(path, sizeof(path), "%s/class/infiniband", r.sysfs) >= PATH_MAX)
		return -ENAMETOOLONG;
	ret = dir_each(path, add, &r);
	if (ret)
		topo_nics_free(&r.t);
	else
		*out = r.t;
	return ret;
}

void topo_nics_free(struct topo_nics *t)
{
	for (int i = 0; i < t->nr; i++)
		free(t->nic[i].path);
	free(t->nic);
	*t = (struct topo_nics){ 0 };
}
