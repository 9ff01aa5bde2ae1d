/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) */
/*
 * The generic netlink family "mooncake": what administrators and monitors ask and hear, in the initial network namespace.
 *
 * A caller sees what belongs to its own user, and with CAP_SYS_ADMIN everything; of what it may not see it is told ENOENT.
 * Attributes that a command does not name are EINVAL. Numbers are host order, strings end in zero. See mooncake(4).
 */
#ifndef _UAPI_LINUX_MOONCAKE_NETLINK_H
#define _UAPI_LINUX_MOONCAKE_NETLINK_H

#define MC_NL_FAMILY		"mooncake"
#define MC_NL_VERSION		1

/* Groups. `events`: regions and quotas of all users, needs CAP_SYS_ADMIN (EPERM). `rdma`: for everybody. */
#define MC_NL_GROUP_EVENTS	"events"
#define MC_NL_GROUP_RDMA	"rdma"

enum mc_nl_cmd {
	MC_NL_CMD_UNSPEC,
	MC_NL_CMD_GET_INFO,		/* do */
	MC_NL_CMD_REGION_GET,		/* do: ID; dump, without RESIDENT, HUGE and PINNED, which take time */
	MC_NL_CMD_REGION_REVOKE,	/* do: ID; as MC_IOC_REGION_REVOKE, answers PINNED. EPERM without CAP_SYS_ADMIN */
	MC_NL_CMD_REGION_RM,		/* do: ID; takes the name away, from a writer too. EPERM; ENOENT, also: has no name */
	MC_NL_CMD_CTX_GET,		/* dump: who has /dev/mooncake open */
	MC_NL_CMD_GRANT_GET,		/* reserved */
	MC_NL_CMD_CQ_GET,		/* dump */
	MC_NL_CMD_RDMA_DEV_GET,		/* dump, for everybody; empty without mooncake_rdma */
	MC_NL_CMD_POOL_SET,		/* reserved */
	MC_NL_CMD_STATS_GET,		/* dump: first the sums, then one message with a UID for each user */
	MC_NL_CMD_EVENT,		/* to the groups: EVENT, and what it happened to */

	__MC_NL_CMD_MAX,
	MC_NL_CMD_MAX = __MC_NL_CMD_MAX - 1
};

enum mc_nl_attr {
	MC_NL_A_UNSPEC,
	MC_NL_A_ID,			/* u64, of a region, queue or opened device */
	MC_NL_A_PAD,
	MC_NL_A_EVENT,			/* u32, MC_EV_* */
	/* GET_INFO */
	MC_NL_A_ABI_MAJOR,		/* u32 */
	MC_NL_A_ABI_MINOR,		/* u32 */
	MC_NL_A_FEATURES,		/* u64, MC_FEAT_* below 64 */
	MC_NL_A_FEATURES_HIGH,		/* u64, the others */
	MC_NL_A_INSTANCE,		/* 16 bytes, differs after every load of the module */
	/* STATS_GET */
	MC_NL_A_REGIONS,		/* u32 */
	MC_NL_A_QUEUES,			/* u32 */
	MC_NL_A_CONTEXTS,		/* u32 */
	MC_NL_A_BYTES_ALLOCATED,	/* u64, also of one user */
	MC_NL_A_BYTES_PINNED,		/* u64, by REGION_PIN */
	MC_NL_A_QUOTA,			/* u64, bytes that a user without CAP_IPC_LOCK may have */
	MC_NL_A_CHARGES,		/* u32, regions and queues of one user */
	/* Whatever has an owner */
	MC_NL_A_UID,			/* u32 */
	MC_NL_A_GID,			/* u32 */
	MC_NL_A_MODE,			/* u32 */
	MC_NL_A_PID,			/* u32, thread group that made it, while that lives */
	MC_NL_A_NAME,			/* string; absent: not published */
	/* Regions, as in struct mc_ioc_region_info */
	MC_NL_A_LENGTH,			/* u64, also of a queue's ring, and what a quota refused */
	MC_NL_A_STATE,			/* u32 */
	MC_NL_A_BACKING,		/* u32 */
	MC_NL_A_PAGE_SHIFT,		/* u32 */
	MC_NL_A_NODE,			/* s32, also of RDMA devices */
	MC_NL_A_EPOCH,			/* u64 */
	MC_NL_A_GEN,			/* u64 */
	MC_NL_A_NR_FDS,			/* u32 */
	MC_NL_A_NR_VMAS,		/* u32 */
	MC_NL_A_NR_ATTACH,		/* u32 */
	MC_NL_A_RESIDENT,		/* u64 */
	MC_NL_A_HUGE,			/* u64 */
	MC_NL_A_PINNED,			/* u64 */
	/* CTX_GET */
	MC_NL_A_EVENT_MASK,		/* u64, what EVENTS was called with; absent: it was not */
	/* CQ_GET */
	MC_NL_A_ENTRIES,		/* u32 */
	MC_NL_A_READY,			/* u32 */
	MC_NL_A_OVERFLOW,		/* u32, MC_CQ_DROP_COUNT, _RESERVE */
	MC_NL_A_KFLAGS,			/* u32, MC_CQ_K_* */
	MC_NL_A_POSTERS,		/* u32 */
	MC_NL_A_DROPPED,		/* u64 */
	/* RDMA_DEV_GET, group rdma */
	MC_NL_A_RDMA_INDEX,		/* u32, as `rdma dev` shows it */
	MC_NL_A_RDMA_NAME,		/* string */
	MC_NL_A_RDMA_PARENT,		/* string, name of the device behind it, as "0000:3b:00.0"; absent: none */
	MC_NL_A_RDMA_PORTS,		/* u32 */
	MC_NL_A_RDMA_PORTS_UP,		/* u64, bit n - 1: port n is active */
	MC_NL_A_RDMA_PORT,		/* u32, that the event is about */

	__MC_NL_A_MAX,
	MC_NL_A_MAX = __MC_NL_A_MAX - 1
};

#endif /* _UAPI_LINUX_MOONCAKE_NETLINK_H */
