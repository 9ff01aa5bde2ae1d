/* SPDX-License-Identifier: Apache-2.0 */
/* The machine: memory regions behind file descriptors, who this node is, its processors and memory nodes. */
#ifndef MC_DEV_H
#define MC_DEV_H

#include <sys/types.h>

#include "base/base.h"

/* ---- regions (region.c; memfd now, /dev/mooncake beside it later) ----------------------------------------------- */

/*
 * One contiguous range of memory behind a file descriptor. Sealed against shrinking and growing: a mapping never faults.
 */
struct region {
	int fd; /* -1: not open */
	void *base;
	uint64_t size;
	uint32_t page_size; /* of the mapping: 4 KiB, 2 MiB */
	bool writable;
};

struct region_ops; /* a backend: name, create, map; one table each, chosen by region_backend() */

enum region_flag {
	REGION_POPULATE = 1, /* touch all pages now, in parallel; without it pages appear at first use */
	REGION_HUGE = 2,     /* huge pages when they can be had; falls back, says so at info level */
};

/* "memfd" or, when the module is there, "module"; the reason for the choice goes to the log once. */
const char *region_backend(void);

/* @node: NUMA node to prefer, -1 any. -ENOMEM; -EINVAL for 0. */
int region_create(const char *name, uint64_t size, unsigned flags, int node, struct region *out);

/* Takes over @fd (received from the owner). Checks that it is a sealed region of at least @size bytes. */
int region_map(int fd, uint64_t size, bool writable, struct region *out);

/* A descriptor of the same memory that can only be mapped read-only, whoever gets it. */
int region_readonly_fd(const struct region *r, int *fd);

void region_close(struct region *r); /* unmaps and closes; a closed region is fine */

/* Not in children: DONTFORK, not in core files: DONTDUMP. Done by create and map. */

/* ---- memory of other processes (process.c) ----------------------------------------------------------------------- */

/*
 * A process, pinned against pid reuse: pid, start time and pid namespace together name it.
 */
struct process_id {
	pid_t pid;
	uint64_t start_time; /* field 22 of /proc/<pid>/stat */
	uint64_t pid_ns;     /* inode of /proc/self/ns/pid */
};
int process_self(struct process_id *out);
bool process_alive(const struct process_id *p); /* the same process, still there, in this pid namespace */
int process_open_fd(const struct process_id *p, int fd, bool writable, int *out); /* its descriptor, opened again here */
int process_pidfd(pid_t pid, int *fd); /* readable when it ends */

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
/* @sysfs NULL: "/sys". A machine without NUMA has one node 0. */
int topo_read(const char *sysfs, struct topo *out);
void topo_free(struct topo *t);

/* ---- limits worth telling (limits.c) ----------------------------------------------------------------------------- */

uint64_t limit_memlock_bytes(void);
uint64_t mem_available_bytes(void);
uint64_t huge_pages_free_bytes(void);

#endif
