/* SPDX-License-Identifier: GPL-2.0-only */
/* All that mooncake_rdma.ko tells mooncake.ko, in symbol namespace MOONCAKE. Sleeps. */
#ifndef MC_RDMA_H
#define MC_RDMA_H

#include <linux/types.h>

struct mc_rdma_dev {
	u32 index;			/* as `rdma dev` shows it */
	char name[64];
	char parent[32];		/* empty: none */
	int node;
	u32 nr_ports;
	u64 ports_up;			/* bit n - 1: port n */
};

int mc_rdma_add(const struct mc_rdma_dev *dev);
void mc_rdma_remove(u32 index);
void mc_rdma_rename(u32 index, const char *name);
/* @what: MC_EV_RDMA_PORT_*, or MC_EV_RDMA_FATAL with @port 0. */
void mc_rdma_port(u32 index, u32 port, s32 what);

#endif /* MC_RDMA_H */
