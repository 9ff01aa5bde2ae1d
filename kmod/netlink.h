/* SPDX-License-Identifier: GPL-2.0-only */
/* What netlink.c says to groups, and what others give it to tell. All of it sleeps. */
#ifndef MC_NETLINK_H
#define MC_NETLINK_H

#include "kmod.h"
#include "rdma.h"

int mc_nl_init(void);
void mc_nl_exit(void);

/* @name: of the region, for who has just taken it away. */
void mc_nl_region_event(struct mc_region *r, const char *name, s32 what);
void mc_nl_rdma_event(const struct mc_rdma_dev *dev, u32 port, s32 what);
/* A queue has got or lost the name @text. */
void mc_nl_queue_event(u64 id, kuid_t uid, const char *text, s32 what);
/* @uid wanted @bytes more and may not have them. */
void mc_nl_quota_event(kuid_t uid, u64 bytes);

/* rdma.c: the device with the smallest index from *@index on; false: none. */
bool mc_rdma_next(unsigned long *index, struct mc_rdma_dev *out);

#endif /* MC_NETLINK_H */
