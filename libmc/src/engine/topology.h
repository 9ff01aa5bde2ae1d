/* SPDX-License-Identifier: Apache-2.0 */
/* For each place memory of this machine can be in, which NICs are near it and which are not. */
#ifndef MC_ENGINE_TOPOLOGY_H
#define MC_ENGINE_TOPOLOGY_H

#include "proto/proto.h"

/* Where to look, and what may be used. NULL: "/sys", "/dev", all devices, "/proc", all cards. */
struct topology_source {
	const char *sysfs, *dev;
	const char *devices; /* comma list, blanks around its words do not count */
	const char *also;    /* a second list; a device has to be in both */
	const char *proc;
	const char *cuda, *hip; /* the cards that are seen, see topo_gpus_see() */
};

/* -EBADMSG sysfs makes no sense; -ENOMEM. A machine without RDMA devices has places without NICs. */
int topology_discover(const struct topology_source *from, struct places *out);

/*
 * What a file says, in the form of mc_topology_json(). -ENOENT: it cannot be read or is empty, which is logged and no reason to
 * fail; -EBADMSG.
 */
int topology_custom(const char *path, struct places *out);

/* What mc_topology_json() writes: the file that MC_CUSTOM_TOPO_JSON names, or what is found. -EBADMSG, -ENOMEM. */
int topology_find(const char *devices, struct places *out);

#endif
