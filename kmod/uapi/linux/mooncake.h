/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) */
/*
 * The contract of /dev/mooncake: regions of memory that outlive processes, copies between them, completion rings.
 *
 * Every object is a file descriptor. Every argument starts with its own size, so either side may be older: a shorter
 * structure is read as if its tail were zero, a longer one whose tail is not zero is E2BIG. Unknown flags, non-zero
 * reserved fields and undefined values are EINVAL and change nothing; a call this module does not have is ENOTTY.
 * Outputs (out_*) are written on success only.
 *
 * A call is issued on the file named beside it: C the opened /dev/mooncake, R a region, Q a completion queue. On a
 * region the argument's `fd` is -1; on /dev/mooncake it names the region (or is -1 where an id or a name may do so).
 * See mooncake(4).
 */
#ifndef _UAPI_LINUX_MOONCAKE_H
#define _UAPI_LINUX_MOONCAKE_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Major 0: the layouts may still change. Ask for features, not for versions. */
#define MC_ABI_MAJOR		0
#define MC_ABI_MINOR		1

#define MC_IOC_MAGIC		0xC4
#define MC_IOC(nr)		_IO(MC_IOC_MAGIC, nr)

#define MC_IOC_QUERY		MC_IOC(0x00)	/* C  struct mc_ioc_query */
#define MC_IOC_REGION_CREATE	MC_IOC(0x01)	/* C  struct mc_ioc_region_create */
#define MC_IOC_REGION_PIN	MC_IOC(0x02)	/* C  struct mc_ioc_region_pin */
#define MC_IOC_REGION_IMPORT	MC_IOC(0x03)	/* C  struct mc_ioc_region_import */
#define MC_IOC_REGION_OPEN	MC_IOC(0x04)	/* CR struct mc_ioc_region_open */
#define MC_IOC_REGION_INFO	MC_IOC(0x05)	/* CR struct mc_ioc_region_info */
#define MC_IOC_REGION_PUBLISH	MC_IOC(0x06)	/* RQ struct mc_ioc_region_publish */
#define MC_IOC_REGION_UNPUBLISH	MC_IOC(0x07)	/* CRQ struct mc_ioc_region_publish */
#define MC_IOC_REGION_REVOKE	MC_IOC(0x08)	/* CR struct mc_ioc_region_revoke */
#define MC_IOC_REGION_EXPORT	MC_IOC(0x09)	/* R  struct mc_ioc_region_export */
#define MC_IOC_REGION_MARK	MC_IOC(0x0a)	/* R  struct mc_ioc_region_mark */
#define MC_IOC_GRANT		MC_IOC(0x10)	/* R  struct mc_ioc_grant, reserved */
#define MC_IOC_GRANT_REVOKE	MC_IOC(0x11)	/* C  struct mc_ioc_grant_revoke, reserved */
#define MC_IOC_COPY		MC_IOC(0x12)	/* C  struct mc_ioc_copy */
#define MC_IOC_CQ_CREATE	MC_IOC(0x18)	/* C  struct mc_ioc_cq_create */
#define MC_IOC_CQ_WAIT		MC_IOC(0x19)	/* Q  struct mc_ioc_cq_wait */
#define MC_IOC_CQ_POST		MC_IOC(0x1a)	/* P  struct mc_ioc_cq_post */
#define MC_IOC_CQ_OPEN_POST	MC_IOC(0x1b)	/* C  struct mc_ioc_region_open */
#define MC_IOC_EVENTS		MC_IOC(0x20)	/* C  struct mc_ioc_events */

/* Names of regions and queues: 1 to MC_NAME_MAX of [A-Za-z0-9._-], not starting with a dot. */
#define MC_NAME_MAX		63

/* Bit numbers in mc_ioc_query.features; a number is never used again. */
#define MC_FEAT_REGION		0	/* REGION_CREATE, REGION_INFO, mmap */
#define MC_FEAT_PUBLISH		1	/* REGION_PUBLISH, _UNPUBLISH, _OPEN, the writer's lease */
#define MC_FEAT_REVOKE		2	/* REGION_REVOKE */
#define MC_FEAT_MARK		3	/* REGION_MARK: SEAL_WRITE, PUNCH, CLEAN, DIRTY */
#define MC_FEAT_PIN		4	/* REGION_PIN */
#define MC_FEAT_IMPORT_MEMFD	5	/* REGION_IMPORT of a memfd */
#define MC_FEAT_IMPORT_DMABUF	6	/* REGION_IMPORT of a dma-buf */
#define MC_FEAT_EXPORT		7	/* REGION_EXPORT */
#define MC_FEAT_COPY		8	/* COPY, synchronous */
#define MC_FEAT_CQ		9	/* CQ_CREATE, _WAIT, _POST */
#define MC_FEAT_CQ_NAMED	10	/* CQ_OPEN_POST, REGION_PUBLISH and _UNPUBLISH of queues */
#define MC_FEAT_EVENTS		11	/* EVENTS */
#define MC_FEAT_GRANT		12	/* GRANT, GRANT_REVOKE */
#define MC_FEAT_COPY_ASYNC	13	/* COPY with MC_COPY_ASYNC */
#define MC_FEAT_PURGE		14	/* REGION_MARK: COLD, HOT */
#define MC_FEAT_HUGE		15	/* regions can have 2 MiB pages on this kernel */
#define MC_FEAT_REOPEN		16	/* REGION_OPEN on a region */
#define MC_FEAT_CQ_SPSC		20	/* CQ_CREATE with MC_CQ_SPSC */
#define MC_FEAT_EVENTS_RDMA	21	/* EVENTS takes MC_EVENT_RDMA_DEV */
#define MC_FEAT_IMPORT_P2P	24	/* REGION_IMPORT of device memory by address; needs the device's driver as well */
#define MC_FEAT_IMPORT_HUGETLB	25	/* REGION_IMPORT of a hugetlb memfd */

/* mc_ioc_query.caps: what the opener of this file may do beyond its own objects. */
#define MC_CAP_ADMIN		0x1u	/* see, revoke and remove every region */
#define MC_CAP_NO_QUOTA		0x2u	/* create and pin without limit */

/* C: what this module is and may do. @flags is zero. No side effects. */
struct mc_ioc_query {
	__u32 size;
	__u32 flags;
	__u32 abi_major;
	__u32 abi_minor;
	__aligned_u64 features[2];	/* MC_FEAT_*, bit n of word n / 64 */
	__aligned_u64 instance[2];	/* random, differs after every load of the module */
	__aligned_u64 page_sizes;	/* bitmap of the shifts REGION_CREATE takes */
	__aligned_u64 max_region;	/* bytes */
	__aligned_u64 quota_bytes;	/* the opener's limit; ~0: none */
	__aligned_u64 quota_used;	/* bytes charged to the opener's user */
	__u32 max_batch;		/* elements of one COPY or CQ_POST */
	__u32 cq_max_entries;
	__u32 name_max;
	__u32 nr_nodes;			/* NUMA nodes are numbered below this */
	__u32 caps;			/* MC_CAP_* */
	__u32 rsv;
};

/* mc_ioc_region_create.flags */
#define MC_REGION_POPULATE	0x1u	/* allocate every page before returning */
#define MC_REGION_PERSIST_OK	0x2u	/* may be published */
#define MC_REGION_PURGEABLE	0x4u	/* reserved: EOPNOTSUPP */
#define MC_REGION_NOHUGE_FALLBACK 0x8u	/* with POPULATE: ENOSPC rather than any 4 KiB page */
#define MC_REGION_ZERO_ON_FREE	0x10u	/* overwrite pages when the region goes */

/* mc_ioc_region_create.backing, mc_ioc_region_info.backing */
#define MC_BACKING_AUTO		0u	/* huge pages when at least 2 MiB long */
#define MC_BACKING_SHMEM_HUGE	1u
#define MC_BACKING_SHMEM	2u	/* 4 KiB pages */
#define MC_BACKING_POOL		3u	/* reserved: EOPNOTSUPP */
#define MC_BACKING_PINNED	4u	/* REGION_PIN made it (INFO only) */
#define MC_BACKING_MEMFD	5u	/* REGION_IMPORT made it (INFO only) */
#define MC_BACKING_DMABUF	6u	/* REGION_IMPORT made it (INFO only) */
#define MC_BACKING_P2P		7u	/* REGION_IMPORT made it (INFO only) */

/*
 * C: a new region of zeroes. @length is a multiple of 4 KiB (of the page size asked for), at most max_region.
 * @page_shift 0 leaves the page size to the module, 12 and 21 ask for one (30 is EOPNOTSUPP). @node -1 leaves placement
 * to the caller's memory policy, else memory comes from that node alone. @memfd is -1. @align is 0 or a power of two up
 * to 2 MiB that divides @length. @fd_flags: O_RDONLY or O_RDWR, with O_CLOEXEC.
 * EINVAL, EOPNOTSUPP; EDQUOT over the user's quota; ENOMEM; ENOSPC no huge page; EMFILE, ENFILE; EINTR while populating.
 */
struct mc_ioc_region_create {
	__u32 size;
	__u32 flags;			/* MC_REGION_* */
	__aligned_u64 length;
	__u32 backing;			/* MC_BACKING_AUTO, _SHMEM_HUGE, _SHMEM */
	__u32 page_shift;
	__s32 node;
	__s32 memfd;
	__aligned_u64 align;
	__u32 fd_flags;
	__s32 out_fd;
	__aligned_u64 out_id;		/* never used again while the module stays loaded */
};

#define MC_PIN_RDONLY		0x1u	/* the region is never written */

/*
 * C: a region of the caller's own memory, pinned until the region goes. @addr and @length are multiples of 4 KiB. The
 * region cannot be mapped, published or exported for writing when RDONLY. Pages count against RLIMIT_MEMLOCK.
 * EINVAL; EFAULT no such memory or not pinnable; ENOMEM, also over RLIMIT_MEMLOCK; EINTR.
 */
struct mc_ioc_region_pin {
	__u32 size;
	__u32 flags;			/* MC_PIN_* */
	__aligned_u64 addr;
	__aligned_u64 length;
	__u32 fd_flags;
	__s32 out_fd;
	__aligned_u64 out_id;
};

/* mc_ioc_region_import.kind */
#define MC_IMPORT_MEMFD		1u
#define MC_IMPORT_DMABUF	2u
#define MC_IMPORT_P2P		3u	/* device memory by its address, of drivers that cannot make dma-bufs */

/*
 * C: a region of [@offset, @offset + @length) of somebody else's memory, multiples of 4 KiB. @flags: MC_REGION_PERSIST_OK.
 * PUNCH and SEAL_WRITE are EOPNOTSUPP. See mooncake(4), "Imported memory".
 * MEMFD: @fd carries F_SEAL_SHRINK and is open for what @fd_flags asks; @user_data is 0, @cq_fd -1. Of hugetlb it is pinned
 * and cannot be mapped (ENODEV).
 * DMABUF: @fd is a dma-buf open for what @fd_flags asks; no quota. Mapped if its exporter can, never copied (EOPNOTSUPP).
 * When it cannot be had any more the region is REVOKED, and an entry with @user_data, type MC_CQE_REGION, res
 * MC_EV_REVOKED and the region's id goes to @cq_fd (-1: none), a queue that counts its losses.
 * P2P: @fd is -1, @offset the device's virtual address; 64 KiB multiples. Exported only; ends as a dma-buf does.
 * EINVAL, also: not sealed, or too short; EBADF; EACCES not open or sealed against writing; ELOOP the export of an
 * imported region; EDQUOT, ENOMEM, EINTR; EOPNOTSUPP no MC_FEAT_IMPORT_HUGETLB, no driver; an exporter's own refusal.
 */
struct mc_ioc_region_import {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 kind;			/* MC_IMPORT_* */
	__aligned_u64 offset;
	__aligned_u64 length;
	__aligned_u64 user_data;
	__s32 cq_fd;
	__u32 fd_flags;
	__s32 out_fd;
	__u32 rsv;
	__aligned_u64 out_id;
};

/* mc_ioc_region_open.access: R, R|W or R|W|EXCL_WRITER */
#define MC_ACCESS_R		0x1u
#define MC_ACCESS_W		0x2u
#define MC_ACCESS_EXCL_WRITER	0x4u	/* hold the writer's lease, see below */
#define MC_ACCESS_POST		0x8u	/* of a queue, the one thing CQ_OPEN_POST gives */

/* Region states, a set of bits; 0 is plainly alive. */
#define MC_STATE_SEALED		0x1u	/* nobody writes any more */
#define MC_STATE_REVOKED	0x2u	/* nobody reads or writes any more */
#define MC_STATE_DIRTY		0x4u	/* the last holder of the lease went without MC_MARK_CLEAN */
#define MC_STATE_PUBLISHED	0x8u
#define MC_STATE_WRITER		0x10u	/* the lease is held */

/*
 * C: open a published region by @name, or by @id when @name and @name_len are 0. @fd_flags: O_CLOEXEC or 0.
 * R: another file of the same region, with R or, if this one is open for writing (EACCES), R|W: a descriptor to pass on
 * that can do less than this one, and does not hold its lease. @name, @name_len and @id are 0.
 *
 * The writer's lease: EXCL_WRITER makes the new file, and every mapping made through it, the region's one declared
 * writer. When the last of them goes and the holder had not said MC_MARK_CLEAN, the region turns DIRTY and its epoch
 * grows by one. A successor reads both here. The lease is a promise among writers; plain W opens are not refused.
 * EINVAL; E2BIG name too long; ENOENT; EPROTOTYPE a queue's name; EACCES; EBUSY the lease is held; EKEYREVOKED.
 *
 * CQ_OPEN_POST, C: a file to post through to the published queue @name, open for POST where its mode has the write bit
 * for the caller. @access is POST, @id 0. @out_id is the queue's number, @out_length the size of its ring where the
 * post file can be mapped (SPSC), else 0; @out_epoch is 0, @out_state PUBLISHED. EINVAL; E2BIG name too long; ENOENT;
 * EPROTOTYPE a region's name; EACCES; EBUSY an SPSC queue that has its poster; EPIPE the queue is dead.
 */
struct mc_ioc_region_open {
	__u32 size;
	__u32 flags;
	__aligned_u64 name;		/* pointer; not terminated */
	__u32 name_len;
	__u32 access;			/* MC_ACCESS_* */
	__aligned_u64 id;
	__u32 fd_flags;
	__s32 out_fd;
	__aligned_u64 out_id;
	__aligned_u64 out_length;
	__aligned_u64 out_epoch;
	__u32 out_state;		/* MC_STATE_*, as before this open */
	__u32 rsv;
};

#define MC_INFO_NEXT		0x1u	/* C, fd -1: the region with the smallest id above @id that the caller may see */

/*
 * CR: what is known of a region. On C, @fd or @id names it. A caller sees regions it has open, its own, published ones
 * that grant it something, and with CAP_SYS_ADMIN all. @name is 0 or a buffer of @name_len bytes, which gets as much of
 * the name as fits; @name_len returns the whole name's length, 0 when unpublished. The counts are a snapshot.
 * EINVAL, EBADF; ENOENT no such region, or none further with NEXT; EFAULT.
 */
struct mc_ioc_region_info {
	__u32 size;
	__u32 flags;			/* MC_INFO_* */
	__s32 fd;
	__u32 state;			/* MC_STATE_* */
	__aligned_u64 id;
	__aligned_u64 length;
	__u32 backing;			/* MC_BACKING_* */
	__u32 page_shift;		/* 0: mixed or unknown */
	__s32 node;
	__u32 nr_fds;
	__aligned_u64 resident;		/* bytes */
	__aligned_u64 huge;		/* bytes of them in 2 MiB pages */
	__aligned_u64 pinned;		/* bytes in pages that hardware may still reach */
	__aligned_u64 epoch;
	__aligned_u64 gen;		/* grows with every PUNCH */
	__u32 nr_vmas;
	__u32 nr_attach;		/* dma-buf exports that live */
	__u32 uid;			/* in the caller's user namespace */
	__u32 gid;
	__u32 mode;
	__u32 owner_pid;		/* thread group that created it, 0 when it is gone or not visible */
	__aligned_u64 name;
	__u32 name_len;
	__u32 rsv;
};

#define MC_UNPUBLISH_FORCE	0x1u	/* also while the lease is held */

/*
 * PUBLISH, R: give the region a name, an owner and a mode (bits of 0666); it now outlives every process. @uid and @gid
 * ~0 keep the creator's. The fd is open for writing, the caller owns the region or has CAP_SYS_ADMIN, the region was
 * created with PERSIST_OK. EINVAL; E2BIG name too long; EEXIST name taken or region already published; EACCES; EPERM;
 * EKEYREVOKED.
 * PUBLISH, Q: give the queue a name for CQ_OPEN_POST, out of the same names as regions. @mode: bits of 0222, who may
 * post. The caller owns the queue or has CAP_SYS_ADMIN. The name ends with the queue's last descriptor and mapping: a
 * queue without its consumer is of no use. While it has a name, posters may still come: nobody being left is told (an
 * entry of type PEER, MC_CQ_K_HUP) but is not the end, so WAIT goes on and poll does not say HUP. EINVAL; E2BIG; EEXIST;
 * EPERM.
 * UNPUBLISH, CRQ: take the name away; memory goes when the last user goes. On C @name, or @fd when @name_len is 0. The
 * rest is 0. EBUSY the lease is held and FORCE missing; ENOENT; EPERM.
 */
struct mc_ioc_region_publish {
	__u32 size;
	__u32 flags;			/* UNPUBLISH: MC_UNPUBLISH_* */
	__s32 fd;
	__u32 mode;
	__u32 uid;
	__u32 gid;
	__aligned_u64 name;
	__u32 name_len;
	__u32 rsv;
};

/*
 * CR: stop every access now and for good: mappings give SIGBUS, calls EKEYREVOKED. Importers of the region's dma-bufs are
 * told to let go. Pages nobody holds are freed; @out_pinned are the bytes that devices (or O_DIRECT) still hold, which
 * are freed when those let go. The name stays until UNPUBLISH. On C @fd, or @id when @fd is -1. ENOENT; EPERM not the
 * owner and no CAP_SYS_ADMIN. Twice is no error. EINTR: killed; access has ended all the same, but only a part may have been
 * freed, which a second call goes on with.
 */
struct mc_ioc_region_revoke {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 rsv;
	__aligned_u64 id;
	__aligned_u64 out_pinned;
};

#define MC_EXPORT_RDONLY	0x1u	/* devices and CPUs may only read; O_RDONLY in @fd_flags */

/*
 * R: a dma-buf of [@offset, @offset + @length), both multiples of 4 KiB (P2P: 64 KiB). The memory is populated and stays
 * put as long as the dma-buf and the region live. A REVOKE tells importers that can be told (move_notify) to unmap; those
 * that cannot go on until they do, and keep the memory; new mappings are EKEYREVOKED. Of an imported region the dma-buf
 * is a window that passes everything on to the exporter. @fd_flags: O_RDONLY or O_RDWR, with O_CLOEXEC. Without RDONLY
 * the region's fd is open for writing and the region not sealed (EACCES). An RDONLY one is not told to move.
 * EINVAL; EACCES; ENOMEM; EINTR; EKEYREVOKED; EREMOTEIO poisoned memory.
 */
struct mc_ioc_region_export {
	__u32 size;
	__u32 flags;			/* MC_EXPORT_* */
	__s32 fd;
	__u32 fd_flags;
	__aligned_u64 offset;
	__aligned_u64 length;
	__s32 out_fd;
	__u32 rsv;
};

/* mc_ioc_region_mark.op */
#define MC_MARK_COLD		1u	/* reserved: EOPNOTSUPP */
#define MC_MARK_HOT		2u	/* reserved: EOPNOTSUPP */
#define MC_MARK_PUNCH		3u	/* free [offset, offset + length): reads zero afterwards */
#define MC_MARK_SEAL_WRITE	4u	/* the whole region turns read-only for good */
#define MC_MARK_CLEAN		5u	/* lease: the content is consistent from here on */
#define MC_MARK_DIRTY		6u	/* lease: it is not, until CLEAN */

/*
 * R: say something about the region's content. The fd is open for writing (EACCES). PUNCH takes multiples of 4 KiB;
 * the other ops take offset 0 and length 0. EBUSY: PUNCH of, or sealing with, pages that hardware holds or a dma-buf
 * covers; SEAL_WRITE while somebody could still write through a mapping. EPERM: CLEAN, DIRTY on a file without the
 * lease; PUNCH after sealing. EKEYREVOKED. EINTR: killed; PUNCH then, or when the region is revoked, may have freed a part.
 */
struct mc_ioc_region_mark {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 op;			/* MC_MARK_* */
	__aligned_u64 offset;
	__aligned_u64 length;
	__aligned_u64 out_gen;
	__aligned_u64 out_purged;	/* bytes of memory that PUNCH freed */
};

/* Reserved for the second step: windows of a region behind an unguessable number. */
#define MC_RIGHT_R		0x1u
#define MC_RIGHT_W		0x2u
#define MC_RIGHT_POST		0x4u

struct mc_ioc_grant {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 rights;			/* MC_RIGHT_* */
	__aligned_u64 offset;
	__aligned_u64 length;
	__aligned_u64 expires_ns;	/* CLOCK_BOOTTIME, 0: never */
	__u32 max_uses;
	__u32 uid;			/* ~0: anybody */
	__aligned_u64 cookie[2];
};

struct mc_ioc_grant_revoke {
	__u32 size;
	__u32 flags;
	__aligned_u64 cookie[2];
};

/* mc_sge.kind */
#define MC_SGE_USER		1u	/* the caller's memory; @fd is -1 */
#define MC_SGE_REGION		2u	/* @fd is a region, @addr an offset in it */
#define MC_SGE_COOKIE		3u	/* reserved: EOPNOTSUPP */

struct mc_sge {
	__u32 kind;			/* MC_SGE_* */
	__s32 fd;
	__aligned_u64 addr;
	__aligned_u64 length;
	__aligned_u64 cookie[2];
};

struct mc_copy_vec {
	struct mc_sge src;
	struct mc_sge dst;
};

#define MC_COPY_ASYNC		0x1u	/* reserved: EOPNOTSUPP */
#define MC_COPY_PER_ELEMENT_CQE	0x2u	/* reserved: EOPNOTSUPP */
#define MC_COPY_DMA_HINT	0x4u	/* a hint; no error without a DMA engine */
#define MC_COPY_NOCACHE		0x8u	/* a hint */

/*
 * C: copy each element's source to its destination, in order; lengths of both sides are equal and not 0. All elements
 * are checked before the first byte moves. Once anything was copied the call succeeds and says how far it got: @out_bytes in
 * all, @out_index the element that failed (-1: none), @out_error its negative errno.
 * EINVAL, E2BIG over max_batch; EBADF, EACCES, EFAULT, EKEYREVOKED, EREMOTEIO poisoned memory; EINTR nothing copied yet;
 * EOPNOTSUPP a region of kind DMABUF or P2P.
 */
struct mc_ioc_copy {
	__u32 size;
	__u32 flags;			/* MC_COPY_* */
	__aligned_u64 vec;		/* pointer to struct mc_copy_vec[nr] */
	__u32 nr;
	__s32 cq_fd;			/* -1 */
	__aligned_u64 user_data;	/* 0 */
	__aligned_u64 out_bytes;
	__s32 out_index;
	__s32 out_error;
};

#define MC_CQ_POST_FD		0x1u	/* also return a file to post through */
#define MC_CQ_EVENTFD		0x2u	/* signal @eventfd when an entry arrives */
#define MC_CQ_SPSC		0x4u	/* one poster, who writes entries itself; see struct mc_cq_ring */

#define MC_CQ_DROP_COUNT	0u	/* a full ring counts what it loses */
#define MC_CQ_RESERVE		1u	/* a full ring refuses: EAGAIN */

/*
 * C: a completion queue of @entries (rounded up to a power of two, at most cq_max_entries), to be mapped from its fd at
 * offset 0 with exactly @out_ring_size bytes. @eventfd is -1 without EVENTFD. @fd_flags: O_RDWR, with O_CLOEXEC, for
 * both files. Both can be polled: IN and HUP on the queue, OUT and ERR on the post file, where a ring that was full and
 * is emptied wakes nobody. The ring counts against the quota. SPSC goes with RESERVE and without EVENTFD.
 * EINVAL, EBADF; EDQUOT, ENOMEM.
 */
struct mc_ioc_cq_create {
	__u32 size;
	__u32 flags;			/* MC_CQ_* */
	__u32 entries;
	__u32 overflow;
	__s32 eventfd;
	__u32 fd_flags;
	__s32 out_fd;
	__s32 out_post_fd;		/* -1 without POST_FD */
	__aligned_u64 out_ring_size;
	__u32 out_entries;
	__u32 out_cqe_off;
};

/*
 * Q: spin up to @spin_us (at most 1000), then sleep until @min entries are there or @timeout_ns has passed
 * (CLOCK_MONOTONIC, absolute; 0: do not wait, ~0: no limit). Fewer than @min are success when every poster went.
 * @sigmask and @sigsetsize are 0: modules cannot set a mask atomically (a mask is EOPNOTSUPP); poll the fd instead.
 * EAGAIN would wait; ETIME; EINTR, restarted where SA_RESTART says so; EPIPE nothing is there and none will come.
 */
struct mc_ioc_cq_wait {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 min;
	__aligned_u64 timeout_ns;
	__u32 spin_us;
	__u32 out_ready;
	__aligned_u64 sigmask;
	__u32 sigsetsize;
	__u32 rsv;
};

/*
 * P: append up to @nr entries of type NOTIFY, with flags 0 or MORE; ts_ns is filled in by the module. With RESERVE fewer
 * than @nr may be taken. EINVAL; E2BIG over max_batch; EFAULT; EAGAIN nothing was posted: the ring is full, or this file
 * has woken a sleeping consumer more often than the parameter max_wakes allows; EPIPE the consumer is gone.
 * To an SPSC queue the poster posts itself; with @nr and @vec 0 the call wakes the consumer if it sleeps. EAGAIN as above.
 */
struct mc_ioc_cq_post {
	__u32 size;
	__u32 flags;
	__s32 post_fd;			/* -1 on the post file itself */
	__u32 nr;
	__aligned_u64 vec;		/* pointer to struct mc_cqe[nr] */
	__u32 out_posted;
	__u32 rsv;
};

/* mc_ioc_events.mask */
#define MC_EVENT_REGION		0x1u	/* published, unpublished, revoked */
#define MC_EVENT_RDMA_DEV	0x2u	/* RDMA devices and their ports, while mooncake_rdma is loaded */
#define MC_EVENT_PEER		0x4u	/* a writer's lease ended */

/*
 * mc_cqe.res of an entry that EVENTS made, and MC_NL_A_EVENT. user_data is the subscriber's, data the region's id; of an
 * RDMA device its index as `rdma dev` shows it, with the port in the upper 32 bits (0: the device as a whole).
 */
#define MC_EV_PUBLISHED		1	/* MC_CQE_REGION */
#define MC_EV_UNPUBLISHED	2
#define MC_EV_REVOKED		3
#define MC_EV_LEASE_CLEAN	4	/* MC_CQE_PEER */
#define MC_EV_LEASE_DIRTY	5
#define MC_EV_RDMA_ADD		16	/* MC_CQE_RDMA_DEV */
#define MC_EV_RDMA_REMOVE	17	/* gone, or mooncake_rdma is unloaded */
#define MC_EV_RDMA_RENAME	18
#define MC_EV_RDMA_PORT_UP	19
#define MC_EV_RDMA_PORT_DOWN	20
#define MC_EV_RDMA_PORT_CHANGE	21	/* addresses or keys of the port */
#define MC_EV_RDMA_FATAL	22	/* the device says that it works no more */
#define MC_EV_QUOTA		32	/* netlink only: a user was refused memory */
#define MC_EV_QUEUE_PUBLISHED	33	/* netlink only: a queue has got a name */
#define MC_EV_QUEUE_UNPUBLISHED	34	/* netlink only: or lost it */

/*
 * C: report these events into a queue that counts its losses, until /dev/mooncake is closed or EVENTS is called again;
 * @mask 0, @cq_fd -1 and @user_data 0 end it. Told are events of the opener's own regions and of those that others may
 * read; with CAP_SYS_ADMIN all; of RDMA devices everybody may hear. EINVAL, also: not such a queue; EBADF.
 */
struct mc_ioc_events {
	__u32 size;
	__u32 flags;
	__s32 cq_fd;
	__u32 rsv;
	__aligned_u64 mask;		/* MC_EVENT_* */
	__aligned_u64 user_data;
};

/* mc_cqe.type; a poster chooses NOTIFY, the others are the module's own word */
#define MC_CQE_COPY		1
#define MC_CQE_NOTIFY		2
#define MC_CQE_REGION		3
#define MC_CQE_RDMA_DEV		4
#define MC_CQE_PEER		5	/* res 0: the last post file closed; else MC_EV_LEASE_* */

#define MC_CQE_F_MORE		0x1
#define MC_CQE_F_OVERFLOW_BEFORE 0x2	/* entries were lost just before this one */

struct mc_cqe {
	__aligned_u64 user_data;
	__s32 res;
	__u16 type;
	__u16 flags;
	__aligned_u64 data;
	__aligned_u64 ts_ns;		/* CLOCK_MONOTONIC */
};

#define MC_CQ_MAGIC		0x514d434bu
#define MC_CQ_K_DEAD		0x2u	/* head was set to nonsense or the queue closed; nothing will be posted any more */
#define MC_CQ_K_OVERFLOWED	0x4u	/* entries were lost, see dropped */
#define MC_CQ_K_HUP		0x8u	/* there were posters, now there is none */
#define MC_CQ_K_ARMED		0x10u	/* SPSC: the consumer may sleep; the poster calls CQ_POST with @nr 0 */
#define MC_CQ_U_NO_EVENTFD	0x1u	/* do not signal the eventfd for now */
#define MC_CQ_U_ARMED		0x2u	/* reserved; the module sees who sleeps and says it by MC_CQ_K_ARMED */

/*
 * The start of a mapped queue: three blocks of 128 bytes, each with one writer. The consumer loads tail (acquire),
 * reads the entries, stores head (release). Both indices run freely; entry i lies at cqe_off + (i & mask) * cqe_size.
 *
 * tail lies at tail_off: in this structure, or for SPSC at the start of the second page, which with the rest of the ring
 * is the poster's. The poster maps its file twice: one page at offset 0 for reading, and what follows it, to write to.
 * It loads head (acquire), writes entries while tail - head is below `entries`, stores tail (release), then, behind a
 * full barrier, loads kflags: with MC_CQ_K_ARMED it calls CQ_POST, with MC_CQ_K_DEAD nobody reads any more. Both check
 * what the other wrote: tail - head above `entries` is nonsense, and the type of an entry is the poster's word.
 */
struct mc_cq_ring {
	/* constant */
	__u32 magic;
	__u32 version;
	__u32 hdr_size;
	__u32 entries;
	__u32 mask;
	__u32 cqe_off;
	__u32 cqe_size;
	__u32 overflow;
	__u32 tail_off;
	__u32 rsv0[23];
	/* written by the module */
	__u32 tail;			/* of other queues than SPSC */
	__u32 kflags;
	__aligned_u64 dropped;
	__aligned_u64 last_ts;
	__u32 rsv1[26];
	/* written by the consumer */
	__u32 head;
	__u32 uflags;
	__u32 rsv2[30];
};

/* Sizes of the first version: what a caller must pass at least, on every architecture. */
#define MC_QUERY_SIZE_VER0		104
#define MC_REGION_CREATE_SIZE_VER0	56
#define MC_REGION_PIN_SIZE_VER0		40
#define MC_REGION_IMPORT_SIZE_VER0	64
#define MC_REGION_OPEN_SIZE_VER0	72
#define MC_REGION_INFO_SIZE_VER0	128
#define MC_REGION_PUBLISH_SIZE_VER0	40
#define MC_REGION_REVOKE_SIZE_VER0	32
#define MC_REGION_EXPORT_SIZE_VER0	40
#define MC_REGION_MARK_SIZE_VER0	48
#define MC_GRANT_SIZE_VER0		64
#define MC_GRANT_REVOKE_SIZE_VER0	24
#define MC_COPY_SIZE_VER0		48
#define MC_CQ_CREATE_SIZE_VER0		48
#define MC_CQ_WAIT_SIZE_VER0		48
#define MC_CQ_POST_SIZE_VER0		32
#define MC_EVENTS_SIZE_VER0		32

#endif /* _UAPI_LINUX_MOONCAKE_H */
