/* SPDX-License-Identifier: Apache-2.0 */
/* The machine: memory regions behind file descriptors, who this node is, its processors and memory nodes. */
#ifndef MC_DEV_H
#define MC_DEV_H

#include <linux/mooncake.h>
#include <sys/types.h>

#include "base/base.h"

/* ---- regions (region.c; what is behind them: memfd.c, module.c) --------------------------------------------------- */

struct region_ops;

/*
 * One contiguous range of memory behind a file descriptor. A mapping never faults for want of memory behind it; one that
 * /dev/mooncake made can be revoked, and then reads as zeroes that no reader takes for an object (guard.c).
 */
struct region {
	int fd; /* -1: not open */
	void *base;
	uint64_t size;	    /* whole pages */
	uint32_t page_size; /* that are guaranteed: 2 MiB or 1 GiB for hugetlb, else the machine's */
	bool writable;
	uint16_t guard; /* guard.c's */
	const struct region_ops *ops;
};

enum region_flag {
	REGION_POPULATE = 1, /* touch all pages now, in parallel; without it pages appear at first use */
	REGION_HUGE = 2,     /* huge pages when they can be had; falls back, says so at info level */
	REGION_KEEP = 4,     /* may be given a name; -EOPNOTSUPP from memfd */
	REGION_MEMFD = 8,    /* memfd, whatever else there is: rings and the like, memory of the program (memory.c) */
	REGION_GIANT = 16,   /* with REGION_HUGE: pages of 1 GiB */
};

/*
 * Where regions come from: "auto", the module when it is there and memfd otherwise; "require", the module or an error;
 * "off", memfd. The variable MC_KERNEL_MODULE says it, and this function before the first region is made. -EINVAL.
 */
int region_source(const char *word);

/* "/dev/mooncake" or "memfd"; what was chosen, why, and what to do about it goes to the log once, at info level. */
const char *region_backend(void);

/*
 * @size is rounded up to whole pages. @node: NUMA node to prefer, -1 any. Fresh memory is zero. -EINVAL: 0 bytes; -ENOMEM:
 * also when REGION_POPULATE asks for more than is available, control groups counted; -EMFILE; -ENODEV: the module is
 * required and not to be had; -EDQUOT: with REGION_KEEP, or when it is required, the user's quota of regions.
 */
int region_create(const char *name, uint64_t size, unsigned flags, int node, struct region *out);

/*
 * Takes over @fd (received from the owner), also on failure. Checks that it is a region of at least @size bytes that nobody
 * can shrink. -EINVAL: it is not; -EACCES: @writable and a read-only descriptor; -EKEYREVOKED; -ENOMEM.
 */
int region_map(int fd, uint64_t size, bool writable, struct region *out);
int region_size(int fd, uint64_t *out); /* of the region behind a descriptor; -EINVAL: there is none */

/*
 * [@off, @off + @size) of a file, mapped for this process alone: others cannot be sure of its length, and region_map() refuses it.
 * -EINVAL: no file, an empty range, or one that does not start at a page; -ERANGE: beyond its end; open(2)'s and mmap(2)'s errors.
 */
int region_file(const char *path, uint64_t off, uint64_t size, struct region *out);

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

/* Seen to be revoked, by touching it: it holds zeroes, and what is written to it goes nowhere. */
bool region_revoked(const struct region *r);

struct region_stat {
	const char *backend;
	uint64_t resident, huge; /* bytes; huge: in pages of at least 2 MiB, as far as the backend can tell */
	uint64_t pinned;	 /* bytes that hardware may reach */
	uint64_t id, epoch;	 /* the module's; 0 */
	int node;		 /* bound to; -1: none */
};
int region_stat(const struct region *r, struct region_stat *out); /* -EKEYREVOKED */

/*
 * Memory of mc_memory_alloc() (memory.c) stays mapped while somebody holds it, freed or not. NULL: not all of the range is
 * memory of one such call.
 */
void *memory_hold(const void *addr, size_t len);
void memory_let_go(void *hold); /* NULL is fine */

/* ---- names: regions that outlive every process (module_name.c); memfd has none: -EOPNOTSUPP ----------------------- */

#define REGION_NAME_MAX 63 /* of [A-Za-z0-9._-], not starting with a dot */

/* Gives a region made with REGION_KEEP a name. @group 0: the maker's. -EEXIST: taken; -EINVAL: no name. */
int region_publish(const struct region *r, const char *name, unsigned mode, gid_t group);

/*
 * A region by its name. With @lease as its one declared writer, until the last mapping and descriptor made through this
 * one go; then out->fd must not be handed on. -ENOENT; -EBUSY: another has the lease; -EACCES; -EKEYREVOKED; -EDQUOT no.
 */
struct region_lease {
	uint64_t epoch; /* grows when a holder goes without region_clean() */
	bool dirty;	/* the last one did */
};
int region_open(const char *name, bool lease, struct region *out, struct region_lease *st);
int region_clean(const struct region *r); /* the holder of the lease: the content is consistent from here on */
int region_unpublish(const char *name);   /* memory goes with its last user; -ENOENT; -EBUSY: somebody has the lease; -EPERM */

/* ---- the module (module.c) --------------------------------------------------------------------------------------- */

/* Can regions come from /dev/mooncake, and if not, what is to be done. */
struct module_status {
	int err;	      /* 0; -ENOENT no device; -EACCES; -ENOTTY no such device; -EPROTO another ABI; -EOPNOTSUPP too old */
	uint64_t missing;     /* feature bits the library needs and the module lacks */
	struct mc_ioc_query q; /* when it answered: 0, -EPROTO, -EOPNOTSUPP */
	char why[160];
	const char *fix; /* NULL: none needed */
};
void module_status(const char *path, struct module_status *out); /* @path NULL: /dev/mooncake */
void module_judge(int err, struct module_status *s); /* @err: of opening and asking; s->q filled in when it is 0 */

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

/* ---- memory shared through the module (share.c) -------------------------------------------------------------------- */

/* The module's descriptor when it can copy between processes and may be used, or -1. */
int share_device(void);

/*
 * Whole pages of this process as a descriptor that can only be copied to and from, by whoever has it and may open
 * /dev/mooncake. They are pinned until share_end() here and close() elsewhere. -ENOMEM: over RLIMIT_MEMLOCK; -EINVAL; -EFAULT.
 */
int share_memory(uint64_t addr, uint64_t len, int *fd);
void share_end(int fd); /* no copy runs any more, nor ever will; closes @fd */

/* @v's remote counts from the beginning of the shared memory. -EKEYREVOKED: it was ended; -EINVAL: beyond it; -EFAULT: local. */
int share_copy(int fd, bool write, const struct process_vec *v, unsigned nr);

/* ---- identity and topology (node.c, topo.c, topo_nic.c, topo_gpu.c, visible.c, gid.c) ----------------------------- */

/* 16 bytes derived from machine-id (never the machine-id itself); from the boot id when there is none. The same for every
 * process of a boot that shares a kernel and may share memory. */
void node_id(uint8_t out[16]);
#define NODE_ID_TEXT 33
char *node_id_text(char out[NODE_ID_TEXT]); /* the same in hex; returns @out */
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

/* The processors of one node, a bit each in @set of @bytes bytes, cleared first. -ENOENT: no such node; -EBADMSG. */
int topo_cpus(const char *sysfs, int node, unsigned long *set, size_t bytes);

/* How good an address of an RDMA port is for others to connect to; the lower the better. */
enum gid_class {
	GID_ROUTABLE,
	GID_ROUTABLE_NO_NETDEV,
	GID_PRIVATE, /* IPv4 of 10/8, 172.16/12 or 100.64/10 */
	GID_DEGRADED, /* link-local, or of a container's or tunnel's interface */
	GID_PRIVATE_NO_NETDEV,
	GID_DEGRADED_NO_NETDEV,
	GID_ANY, /* none of the above: the first that is not zero */
};
struct gid {
	uint8_t raw[16];
	int index; /* in the port's table; -1: none */
	enum gid_class class;
	char netdev[16];
};
/* The best of a port's table: RoCE v2 and native InfiniBand before anything else. @port: its folder in sysfs. */
struct gid gid_choose(const char *port);

/* An RDMA device. */
struct topo_nic {
	char name[64];
	char *path; /* of its PCI device, resolved; for topo_distance() */
	int node;   /* -1: not known */
	int port;   /* the first that is active and has an address; 0: none */
	struct gid gid;
	const char *unusable; /* why; NULL: it can be used */
};
struct topo_nics {
	struct topo_nic *nic; /* by name, numbers in them counted as numbers */
	int nr;
};
/*
 * @sysfs NULL: "/sys"; @dev NULL: "/dev", where each device's node must be open to this process. What cannot be understood
 * is left out, with a line at debug level. -ENOMEM.
 */
int topo_nics_read(const char *sysfs, const char *dev, struct topo_nics *out);
void topo_nics_free(struct topo_nics *t);

/* A processor with memory of its own on the PCI bus: graphics, 3D and accelerator cards of makers whose memory can be reached. */
struct topo_gpu {
	const char *kind; /* "cuda", "hip", "musa", "maca": what comes before the number in a location */
	int index;	  /* among its kind, in the order of PCI addresses */
	char address[16]; /* "0000:17:00.0" */
	char *path;
	int node;
};
struct topo_gpus {
	struct topo_gpu *gpu; /* by PCI address */
	int nr;
};
int topo_gpus_read(const char *sysfs, struct topo_gpus *out);
void topo_gpus_free(struct topo_gpus *t);

/*
 * Takes out the cards of @kind that this program cannot see, and numbers the others as it sees them (visible.c). NVIDIA's driver
 * lists those of this container, in @proc (NULL: "/proc"). @list: as CUDA_VISIBLE_DEVICES; "all": no list.
 */
void topo_gpus_see(struct topo_gpus *t, const char *proc, const char *kind, const char *list);

/* How many steps apart two devices are in the tree of PCI bridges: 0 the same, 2 two functions below one switch port. */
unsigned topo_distance(const char *path_a, const char *path_b);

/* ---- limits worth telling (limits.c) ----------------------------------------------------------------------------- */

uint64_t limit_memlock_bytes(void);	/* UINT64_MAX: none */
uint64_t mem_available_bytes(void);	/* of the machine, and of the control groups this process is in */
uint64_t huge_pages_free_bytes(void); /* of the default size, not promised to anybody */
uint64_t giant_pages_free_bytes(void); /* the same of pages of 1 GiB */
uint64_t node_free_bytes(int node); /* of one NUMA node, page cache it could drop included; UINT64_MAX: not known */

#endif
