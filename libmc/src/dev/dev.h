/* SPDX-License-Identifier: Apache-2.0 */
/* The machine: memory regions behind file descriptors, who this node is, its processors and memory nodes. */
#ifndef MC_DEV_H
#define MC_DEV_H

#include <sys/types.h>

#include "base/base.h"

/* ---- regions (region.c; memfd now, /dev/mooncake beside it later) ----------------------------------------------- */

/*
 * What is behind a region is a backend, one table each (region.h): memfd.c now.
 *
 * One contiguous range of memory behind a file descriptor. Sealed against shrinking and growing: a mapping never faults.
 */
struct region {
	int fd; /* -1: not open */
	void *base;
	uint64_t size;	    /* whole pages */
	uint32_t page_size; /* that are guaranteed: 2 MiB or 1 GiB for hugetlb, else the machine's */
	bool writable;
};

enum region_flag {
	REGION_POPULATE = 1, /* touch all pages now, in parallel; without it pages appear at first use */
	REGION_HUGE = 2,     /* huge pages when they can be had; falls back, says so at info level */
};

/* "memfd"; what was chosen and what others miss goes to the log once, at info level. */
const char *region_backend(void);

/*
 * @size is rounded up to whole pages. @node: NUMA node to prefer, -1 any. Fresh memory is zero. -EINVAL: 0 bytes; -ENOMEM:
 * also when REGION_POPULATE asks for more than is available, control groups counted; -EMFILE.
 */
int region_create(const char *name, uint64_t size, unsigned flags, int node, struct region *out);

/*
 * Takes over @fd (received from the owner), also on failure. Checks that it is a sealed region of at least @size bytes.
 * -EINVAL: it is not; -EACCES: @writable and a read-only descriptor; -ENOMEM.
 */
int region_map(int fd, uint64_t size, bool writable, struct region *out);

/*
 * A descriptor of the same memory that can only be mapped read-only. Who gets it cannot open the memory again for writing
 * through /proc unless he is of the owner's user (who could trace the owner as well) or root.
 */
int region_readonly_fd(const struct region *r, int *fd);

/*
 * Advice: enters a part's pages into this process's page table, in one call instead of a fault for each at first use. For
 * memory its maker populated; holes are filled. A system call, so nothing for the data path.
 */
void region_prefault(const struct region *r, uint64_t off, uint64_t len);

void region_close(struct region *r); /* unmaps and closes; a closed region is fine */

/* Not in children: DONTFORK, not in core files: DONTDUMP. Done by create and map. */

/* ---- memory of other processes (process.c) ----------------------------------------------------------------------- */

/*
 * A process, pinned against pid reuse: pid, start time and pid namespace together name it.
 */
struct process_id {
	pid_t pid;
	uint64_t start_time; /* field 22 of /proc/<pid>/stat */
	uint64_t pid_ns;     /* inode of /proc/self/ns/pid hashed with the boot id: never the same on two machines */
};
int process_self(struct process_id *out);
int process_identify(pid_t pid, struct process_id *out); /* -ESRCH; of use only while something else keeps @pid from reuse */
bool process_alive(const struct process_id *p); /* the same process, still there (no zombie), in this pid namespace */

/* Its descriptor, opened again here. -ESRCH: it ended; -EBADF: it has no such descriptor; -EPERM. */
int process_open_fd(const struct process_id *p, int fd, bool writable, int *out);
int process_pidfd(pid_t pid, int *fd); /* readable when it ends; -ESRCH */

/*
 * Copies between this process and another. -EPERM: the kernel forbids it (another user, ptrace scope, container);
 * -EFAULT: an address is not there; -ESRCH: it ended. All or an error; an error may leave a part written.
 */
struct process_vec {
	void *local;
	uint64_t remote;
	uint64_t len;
};
int process_read(pid_t pid, const struct process_vec *v, size_t nr);
int process_write(pid_t pid, const struct process_vec *v, size_t nr);

/* ---- identity and topology (node.c, topo.c) ---------------------------------------------------------------------- */

/* 16 bytes derived from machine-id (never the machine-id itself); from the boot id when there is none. The same for every
 * process of a boot that shares a kernel and may share memory. */
void node_id(uint8_t out[16]);
void node_id_at(const char *root, uint8_t out[16]); /* with @root before the paths of both files */

struct topo_node {
	int id;
	uint64_t mem_bytes;
	int nr_cpus;
};
struct topo {
	struct topo_node *nodes;
	int nr_nodes;
	int nr_cpus;
};
/* @sysfs NULL: "/sys". A machine without NUMA has one node 0. -EBADMSG: a list of ids that is none; -ENOMEM. */
int topo_read(const char *sysfs, struct topo *out);
void topo_free(struct topo *t);

/* ---- limits worth telling (limits.c) ----------------------------------------------------------------------------- */

uint64_t limit_memlock_bytes(void);	/* UINT64_MAX: none */
uint64_t mem_available_bytes(void);	/* of the machine, and of the control groups this process is in */
uint64_t huge_pages_free_bytes(void); /* of the default size, not promised to anybody */

#endif
