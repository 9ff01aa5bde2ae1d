/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the module share. One file per object; each block below names the file it belongs to.
 *
 * Lock order: mmap_lock, mc_names_lock, region->lock, region->gate_lock, then the kernel's own (i_mmap, folio, xarray).
 * Events have locks apart from those: mc_rdma_lock, mc_subs_lock, a queue's lock.
 * So nothing touches user memory while it holds one of ours.
 */
#ifndef MC_KMOD_H
#define MC_KMOD_H

#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/user_namespace.h>
#include <linux/mooncake.h>

#define MC_HUGE_SHIFT	21
#define MC_HUGE_SIZE	(1UL << MC_HUGE_SHIFT)

/* For what is as large as a caller says: over his limits the call fails, with no warning and nobody in his cgroup killed. */
#define MC_GFP_LARGE	(GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | __GFP_NOWARN)

/* main.c: tell udev; @env as kobject_uevent_env() has it. */
void mc_dev_uevent(char **env);

/* call.c: one table of calls; arguments are copied in, zero-extended and copied out here and nowhere else. */

#define MC_ON_CTX	0x1u
#define MC_ON_REGION	0x2u
#define MC_ON_CQ	0x4u
#define MC_ON_POST	0x8u

struct mc_region;
struct mc_pin;
struct mc_cq;
struct mc_import;

struct mc_call {
	struct file *file;		/* the call was issued on */
	unsigned int on;		/* MC_ON_*, what kind of file that is */
	void *arg;			/* kernel copy, as long as this kernel's structure */
	/* New files become visible only when the call can no longer fail. */
	struct file *new_file[2];
	int new_fd[2];
	unsigned int nr_new;
	void (*commit)(struct mc_call *call);
};

long mc_call(struct file *file, unsigned int on, unsigned int cmd, unsigned long arg);
/* Takes over @file, on failure too. @fd_flags: as checked by mc_fd_flags_ok(). */
int mc_call_new_file(struct mc_call *call, struct file *file, u32 fd_flags, s32 *out_fd);
bool mc_fd_flags_ok(u32 fd_flags);
u64 mc_features(unsigned int word);

/* user.c: what each user's regions add up to. */

struct mc_user;

/* Charge @bytes to @uid; -EDQUOT over the limit unless @unlimited. The reference goes with mc_user_uncharge(). */
struct mc_user *mc_user_charge(kuid_t uid, u64 bytes, bool unlimited);
void mc_user_uncharge(struct mc_user *user, u64 bytes);
u64 mc_user_bytes(kuid_t uid);
u64 mc_user_limit(void);
void mc_user_set_limit(u64 bytes);
/* The user with the smallest uid from *@uid on; false: none. */
bool mc_user_next(unsigned long *uid, u64 *bytes, u32 *charges);
u64 mc_total_bytes(void);
bool mc_may_exceed_quota(void);

/* main.c: the device that imports dma-bufs for us. */
struct device *mc_dma_device(void);

/* backing.c: the only file that knows how memory is had. Memory is a shmem file nobody else can open or change. */

struct mc_mem_stat {
	u64 resident;
	u64 huge;
	u64 pinned;
};

int mc_backing_init(void);
void mc_backing_exit(void);
/* @node: NUMA_NO_NODE or one with memory. @huge: 2 MiB pages wherever they fit. Undone by fput(). */
struct file *mc_backing_create(u64 length, int node, bool huge);
/* -EINTR when the caller is killed or *@stop; -ENOSPC @must_be_huge and a page is not; -ENOMEM. */
int mc_backing_populate(struct file *mem, u64 offset, u64 length, bool must_be_huge, const bool *stop);
/* The page at @index, there afterwards if it was not, with a reference. */
struct page *mc_backing_page(struct file *mem, pgoff_t index);
int mc_backing_mmap(struct file *mem, struct vm_area_struct *vma);
/* A file of ours on the memory of the memfd @file; it must keep its size. -EINVAL, -EACCES, -EOPNOTSUPP. */
struct file *mc_backing_adopt(struct file *file, u64 end, bool writable);
bool mc_backing_is_hugetlb(struct file *file);
/* -EINVAL, -EACCES, as mc_backing_adopt(); pins nothing. */
int mc_backing_check_hugetlb(struct file *file, u64 end, bool writable);
unsigned int mc_backing_hugetlb_shift(struct file *file);
/* A memfd's owner may seal it: count as somebody who writes to it (-EPERM when sealed) as long as we do. */
int mc_backing_writer_begin(struct file *mem);
void mc_backing_writer_end(struct file *mem);
void mc_backing_stat(struct file *mem, u64 offset, u64 length, struct mc_mem_stat *st);
/* Bytes in [offset, offset + length) in pages that somebody pinned. */
u64 mc_backing_pinned(struct file *mem, u64 offset, u64 length);
/* Where in [offset, end) the first page is that is there, or @end. */
u64 mc_backing_next(struct file *mem, u64 offset, u64 end);
/* Wait for page faults that hold a page of the range locked right now, then take the range out of every mapping. */
void mc_backing_zap(struct file *mem, u64 offset, u64 length);
/* Free the range; with @keep_pinned spare pages that are pinned. Returns bytes freed. */
u64 mc_backing_punch(struct file *mem, u64 offset, u64 length, bool keep_pinned);
void mc_backing_wipe(struct file *mem);

/* name.c: names, modes and owners of whatever can be published. */

extern struct mutex mc_names_lock;

struct mc_name {
	u64 id;				/* of the region or queue this is part of, never used again */
	bool queue;			/* what it is part of */
	struct user_namespace *ns;	/* of the creator; names live in it */
	struct pid *creator;

	/* guarded by mc_names_lock */
	struct hlist_node node;
	char text[MC_NAME_MAX + 1];	/* empty: not published */
	kuid_t uid;
	kgid_t gid;
	umode_t mode;
};

u64 mc_new_id(void);
/* Owned by the opener of /dev/mooncake, whoever calls. */
void mc_name_init(struct mc_name *n, const struct cred *opener, bool queue);
void mc_name_fini(struct mc_name *n);
int mc_name_copy(char *name, u64 uptr, u32 len);
struct mc_name *mc_name_find(const struct user_namespace *ns, const char *name);
/* Take the name away, if there is one; the reference that it may have is the caller's. */
void mc_name_remove(struct mc_name *n);
/* MC_ACCESS_R and _W that the calling task has by the mode; the other takes mc_names_lock. */
u32 mc_name_granted(const struct mc_name *n);
u32 mc_name_granted_unlocked(struct mc_name *n);
kuid_t mc_name_uid(struct mc_name *n);
bool mc_may_own(const struct cred *cred, kuid_t uid);
/* Thread group that created it, as the calling task sees it; 0 when it is gone or not visible. */
u32 mc_name_pid(const struct mc_name *n);

/* Take a region's name away for an administrator, from a writer too; -ENOENT. */
int mc_region_rm(struct mc_region *r);

int mc_publish(struct mc_call *call);
int mc_unpublish(struct mc_call *call);
int mc_region_open(struct mc_call *call);

/* populate.c: all pages of a new region, by several threads when there are many. */

int mc_populate(struct file *mem, u64 length, int node, bool must_be_huge);

/* region.c: regions and the files that stand for them. */

struct mc_region {
	struct kref ref;
	u64 id;				/* as in @name */
	u64 length;
	u32 flags;			/* MC_REGION_*, as created */
	u32 backing;			/* MC_BACKING_* */
	u32 page_shift;
	int node;
	struct file *mem;		/* either this, from mem_offset on */
	u64 mem_offset;
	bool adopted;			/* @mem is somebody's memfd, who may write and punch it as well */
	struct mc_pin *pin;		/* or this; given up by REVOKE, under gate_lock */
	struct mc_import *import;	/* or this, until the region goes; see provider.h */
	struct mc_user *user;
	u64 charged;			/* bytes, to @user */
	struct mc_name name;
	atomic_t nr_fds;
	atomic_t nr_vmas;
	atomic_t nr_writers;		/* mappings that could be written through, and running copies */
	atomic_t nr_exports;		/* dma-bufs; raised under lock */
	atomic64_t exported;		/* bytes in those that devices may still reach */

	struct mutex lock;
	/* guarded by lock */
	u32 state;			/* MC_STATE_SEALED, _REVOKED, _DIRTY; bits are read without it */
	struct mc_handle *writer;	/* holds the lease; cleared before it goes */
	u64 epoch;
	u64 gen;
	struct list_head outlets;	/* dma-bufs, see outlet.h */

	struct mutex gate_lock;
	u32 gate;			/* MC_GATE_*, written under gate_lock, see gate.c */
};

/* A file of a region, and what was mapped through it. The last of both to go gives up the lease. */
struct mc_handle {
	struct kref ref;
	struct mc_region *region;
	bool lease;
	/* guarded by region->lock */
	bool armed;			/* the open that took the lease has succeeded */
	bool clean;
};

extern const struct file_operations mc_region_fops;

int mc_region_create(struct mc_call *call);
/* Owned by the opener of /dev/mooncake, whoever calls; @charge bytes count against his quota. Not yet to be found. */
struct mc_region *mc_region_new(const struct cred *opener, u64 length, u32 flags, u64 charge);
/* Let @r be found and give the caller a file of it. */
int mc_region_show(struct mc_call *call, struct mc_region *r, u32 fd_flags, s32 *out_fd, u64 *out_id);
void mc_region_get(struct mc_region *r);
void mc_region_put(struct mc_region *r);
struct mc_region *mc_region_by_id(u64 id);
struct mc_region *mc_region_next(u64 id);
/* The region a call names by @fd (C) or was issued on (R); a reference. -EINVAL, -EBADF. */
struct mc_region *mc_region_of(struct mc_call *call, s32 fd);
/* Count a writer, so that nobody seals: -EKEYREVOKED, -EACCES sealed. Undone by mc_writer_end(). */
int mc_writer_begin(struct mc_region *r);
/* Another of a kind that is already counted, so it cannot fail. */
void mc_writer_again(struct mc_region *r);
void mc_writer_end(struct mc_region *r);
struct mc_handle *mc_handle_new(struct mc_region *r);
/* A new handle and file; with @lease the region's writer, or -EBUSY. */
struct file *mc_handle_file(struct mc_region *r, u32 fd_flags, bool lease);
void mc_handle_get(struct mc_handle *h);
void mc_handle_put(struct mc_handle *h);
u32 mc_region_state(struct mc_region *r);
unsigned int mc_region_count(void);
void mc_regions_check_empty(void);

/* info.c */
int mc_query(struct mc_call *call);
int mc_region_info(struct mc_call *call);
/* Everything but what the caller may not know; @memory: also what takes time. @name: MC_NAME_MAX + 1 bytes. */
void mc_info_read(struct mc_region *r, struct mc_ioc_region_info *a, char *name, bool memory);
void mc_region_fdinfo(struct seq_file *m, struct file *file);
extern const struct attribute_group *mc_dev_groups[];
extern u64 mc_instance[2];

/* map.c */
int mc_region_mmap(struct file *file, struct vm_area_struct *vma);
/* Map a window of the region, which @vma's offset counts from. */
int mc_map(struct mc_handle *h, struct vm_area_struct *vma, u64 offset, u64 length);

/* export.c: regions as dma-bufs. */

int mc_region_export(struct mc_call *call);

/* pin.c: REGION_PIN, memory of the process that asks; and hugetlb memfds. */

int mc_region_pin(struct mc_call *call);
struct mc_pin *mc_pin_hugetlb(struct file *memfd, u64 offset, u64 length, bool writable);
u64 mc_pinned_bytes(void);
/* Valid under RCU while the region's gate is not REVOKED. */
struct page *mc_pin_page(struct mc_pin *pin, pgoff_t index);
void mc_pin_free(struct mc_pin *pin);

/* import.c: REGION_IMPORT, memory that somebody else made. */

int mc_import_init(void);
void mc_import_exit(void);
u64 mc_import_features(void);
int mc_region_import(struct mc_call *call);
/* Give the source back to its provider; new uses find none. Hold nothing. */
void mc_import_let_go(struct mc_import *imp);
/* The gate is closed: empty the mappings. Hold nothing. */
void mc_import_zap(struct mc_import *imp);
void mc_import_free(struct mc_import *imp);

/* copy.c */

#define MC_MAX_BATCH	1024u		/* also of CQ_POST */

int mc_copy(struct mc_call *call);

/* ring.c: the ring of a completion queue; see cq.h. */

/* Append up to @nr entries; how many were taken, -EAGAIN none, -EPIPE nobody will ever read them. Any context but irq. */
int mc_cq_push(struct mc_cq *cq, const struct mc_cqe *cqe, u32 nr);

/* cq.c: completion queues and who waits for them. */

#define MC_CQ_MAX_ENTRIES	65536u

int mc_cq_create(struct mc_call *call);
int mc_cq_wait(struct mc_call *call);
/*
 * A post file holds the queue from add (-EBUSY: SPSC, and there is one; -EPIPE) to del. Once somebody has got it (here), the
 * consumer is told when the last such file goes.
 */
int mc_cq_poster_add(struct mc_cq *cq);
void mc_cq_poster_here(struct mc_cq *cq);
void mc_cq_poster_del(struct mc_cq *cq, bool told);

/* ringmem.c: zeroed memory to map into a process with remap_vmalloc_range(), a multiple of pages. Freed by vfree(). */
void *mc_ring_alloc(size_t size);

/* The queue behind @fd with a reference, -EBADF, -EINVAL; one that counts what it loses, for who cannot wait. */
struct mc_cq *mc_cq_from_fd(s32 fd);
struct mc_cq *mc_cq_next(u64 id);
unsigned int mc_cq_count(void);
void mc_cq_put(struct mc_cq *cq);
/* The name of the queue that @file is, or NULL. */
struct mc_name *mc_cq_name(struct file *file);
/* The queue has got or lost its name, under mc_names_lock. */
void mc_cq_named(struct mc_name *n, bool named);

/* events.c: what happens to regions, told to whom it may concern. */

struct mc_ctx;

struct mc_ctx_info {
	u64 id;
	kuid_t uid;
	pid_t pid;			/* as the calling task sees it; 0: gone or not visible */
	u64 mask;			/* 0: not subscribed */
};

struct mc_ctx *mc_ctx_new(struct file *file);
void mc_ctx_fdinfo(struct seq_file *m, struct file *file);
/* The one with the smallest id above @id; false: none. */
bool mc_ctx_next(u64 id, struct mc_ctx_info *out);
unsigned int mc_ctx_count(void);
void mc_ctx_free(struct mc_ctx *ctx);
int mc_events(struct mc_call *call);
/* Sleeps; hold neither mc_names_lock nor a region's lock. @event: MC_EVENT_*, @type: MC_CQE_*, @what: MC_EV_*. */
void mc_event(struct mc_region *r, u64 event, u16 type, s32 what);
/* For who has just taken the region's @name away. */
void mc_event_named(struct mc_region *r, const char *name, u64 event, u16 type, s32 what);
void mc_event_rdma(u32 index, u32 port, s32 what);

/* post.c: files to post through. */

/* @told: tell the consumer when the file goes. */
struct file *mc_post_file(struct mc_cq *cq, bool told);
int mc_cq_post(struct mc_call *call);
int mc_cq_open_post(struct mc_call *call);

/* gate.c: REVOKE and MARK, the calls that take access away. */

#define MC_GATE_REVOKED	0x1u
#define MC_GATE_PUNCH	0x2u

/* After something that must not happen behind a closed gate: was it open? If not, undo it and wait. */
bool mc_gate_open(struct mc_region *r);
/* Until a hole is made, which may take long; -EINTR when killed. */
int mc_gate_wait(struct mc_region *r);
int mc_region_revoke(struct mc_call *call);
/*
 * Everything there is to take away, and the events. @pinned: bytes that hardware still holds. -EINTR: killed, when access had been
 * taken away, but not all memory freed or looked at. Hold nothing.
 */
int mc_revoke(struct mc_region *r, u64 *pinned);
/* As above, for a source that is lost: it stays with its provider. */
int mc_revoke_access(struct mc_region *r, u64 *pinned);
/* After nr_exports went down: a revoked region gives up what an export that came too late had brought in. */
void mc_export_gone(struct mc_region *r);
int mc_region_mark(struct mc_call *call);

#endif /* MC_KMOD_H */
