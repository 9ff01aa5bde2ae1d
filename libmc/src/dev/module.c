// SPDX-License-Identifier: Apache-2.0
/* Regions from /dev/mooncake: whether it can be used, and the backend. Names are in module_name.c. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "dev/region.h"

#define DEVICE "/dev/mooncake"
#define PAGE   4096 /* regions are made of such, on every machine */

/* What this library calls. Every other feature may be missing. */
#define NEEDED                                                                                               \
	((uint64_t)1 << MC_FEAT_REGION | (uint64_t)1 << MC_FEAT_PUBLISH | (uint64_t)1 << MC_FEAT_REVOKE | \
	 (uint64_t)1 << MC_FEAT_MARK | (uint64_t)1 << MC_FEAT_REOPEN)

static int device = -1;

/* ---- is it there ---- */

static void say(struct module_status *s, int err, const char *fix, const char *why)
{
	s->err = err;
	s->fix = fix;
	snprintf(s->why, sizeof(s->why), "%s", why);
}

void module_judge(int err, struct module_status *s)
{
	s->missing = NEEDED & ~s->q.features[0];
	if (err == -ENOENT || err == -ENXIO || err == -ENODEV) {
		say(s, -ENOENT, "modprobe mooncake (make install-dkms builds it for this kernel; in a container: --device /dev/mooncake)",
		    "the module is not loaded: no /dev/mooncake");
	} else if (err == -EACCES || err == -EPERM) {
		say(s, -EACCES, "usermod -aG mooncake USER, then log in again; in a container: --device and --group-add", "");
		snprintf(s->why, sizeof(s->why), "/dev/mooncake may not be opened by user %u: %s", (unsigned)geteuid(), strerror(-err));
	} else if (err == -ENOTTY || err == -EINVAL) {
		say(s, -ENOTTY, "look what made it: ls -l /dev/mooncake; udev makes it when the module is loaded",
		    "/dev/mooncake is not this module's device");
	} else if (err) {
		say(s, err, "look into the kernel's log", strerror(-err));
	} else if (s->q.abi_major != MC_ABI_MAJOR) {
		say(s, -EPROTO, "install module and library of one release", "");
		snprintf(s->why, sizeof(s->why), "the module speaks ABI %u, this library %u", s->q.abi_major, (unsigned)MC_ABI_MAJOR);
	} else if (s->missing) {
		say(s, -EOPNOTSUPP, "install the module of this release and load it again: rmmod mooncake && modprobe mooncake", "");
		snprintf(s->why, sizeof(s->why), "the module is too old: features %#llx are missing",
			 (unsigned long long)s->missing);
	} else {
		say(s, 0, NULL, "");
	}
}

/* The descriptor, or -1 and @s says why. */
static int ask(const char *path, struct module_status *s)
{
	int fd, err = 0;

	*s = (struct module_status){ .q.size = sizeof(s->q) };
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, MC_IOC_QUERY, &s->q))
		err = -errno;
	module_judge(err, s);
	if (fd >= 0 && s->err) {
		close(fd);
		fd = -1;
	}
	return fd;
}

void module_status(const char *path, struct module_status *out)
{
	int fd = ask(path ? path : DEVICE, out);

	if (fd >= 0)
		close(fd);
}

static void open_device(void)
{
	struct module_status s;

	device = ask(DEVICE, &s);
}

int module_fd(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, open_device);
	return device;
}

static const char *module_missing(void)
{
	static char text[400];
	struct module_status s;

	if (module_fd() >= 0)
		return NULL;
	module_status(NULL, &s);
	snprintf(text, sizeof(text), "%s; %s", s.why, s.fix ? s.fix : "it can be used now");
	return text;
}

/* ---- regions ---- */

static int create(uint64_t length, uint32_t backing, bool keep, int node, struct region *r)
{
	struct mc_ioc_region_create a = {
		.size = sizeof(a),
		.flags = keep ? MC_REGION_PERSIST_OK : 0,
		.length = length,
		.backing = backing,
		.node = node,
		.memfd = -1,
		.fd_flags = O_RDWR | O_CLOEXEC,
	};

	if (ioctl(module_fd(), MC_IOC_REGION_CREATE, &a))
		return -errno;
	r->fd = a.out_fd;
	r->size = length;
	r->page_size = (uint32_t)sysconf(_SC_PAGESIZE);
	return 0;
}

static int module_create(const char *name, unsigned flags, int node, struct region *r)
{
	const uint64_t page = MAX((uint64_t)PAGE, (uint64_t)sysconf(_SC_PAGESIZE));
	uint64_t length;
	int ret;

	if (check_add(r->size, page - 1, &length) || length > INT64_MAX)
		return -ENOMEM;
	length &= ~(page - 1);
	/* The module binds: when the node has not enough, the kernel would rather kill somebody than look elsewhere. */
	if (node >= 0 && flags & REGION_POPULATE && length > node_free_bytes(node)) {
		log_warn("region %s: numa node %d has not enough free memory; it comes from any node", name, node);
		node = -1;
	}
	ret = create(length, flags & REGION_HUGE ? MC_BACKING_AUTO : MC_BACKING_SHMEM, flags & REGION_KEEP, node, r);
	if (ret == -EINVAL && node >= 0) {
		log_warn("numa node %d has no memory; region %s comes from any node", node, name);
		ret = create(length, flags & REGION_HUGE ? MC_BACKING_AUTO : MC_BACKING_SHMEM, flags & REGION_KEEP, -1, r);
	}
	if (ret == -EINVAL)
		ret = -ENOMEM; /* longer than any region may be */
	return ret;
}

static int get_info(int fd, struct mc_ioc_region_info *a)
{
	*a = (struct mc_ioc_region_info){ .size = sizeof(*a), .fd = -1 };
	return ioctl(fd, MC_IOC_REGION_INFO, a) ? -errno : 0;
}

static int module_check(struct region *r, uint64_t *size)
{
	struct mc_ioc_region_info a;

	/* Nothing but a region of the module answers on its own descriptor. */
	if (get_info(r->fd, &a))
		return -EMEDIUMTYPE;
	*size = a.length;
	if (a.state & MC_STATE_REVOKED) {
		log_err("region refused: it was revoked");
		return -EKEYREVOKED;
	}
	if (a.backing != MC_BACKING_SHMEM_HUGE && a.backing != MC_BACKING_SHMEM) {
		log_err("region refused: its memory is somebody else's, who may take it back");
		return -EINVAL;
	}
	if (r->size > a.length) {
		log_err("region refused: %llu bytes announced, descriptor has %llu", (unsigned long long)r->size,
			(unsigned long long)a.length);
		return -EINVAL;
	}
	r->page_size = (uint32_t)sysconf(_SC_PAGESIZE);
	return 0;
}

static int module_readonly(const struct region *r, int *fd)
{
	struct mc_ioc_region_open a = { .size = sizeof(a), .access = MC_ACCESS_R, .fd_flags = O_CLOEXEC };

	if (ioctl(r->fd, MC_IOC_REGION_OPEN, &a))
		return -errno;
	*fd = a.out_fd;
	return 0;
}

static int module_stat(const struct region *r, struct region_stat *out)
{
	struct mc_ioc_region_info a;
	int ret = get_info(r->fd, &a);

	if (ret)
		return ret;
	if (a.state & MC_STATE_REVOKED)
		return -EKEYREVOKED;
	*out = (struct region_stat){
		.resident = a.resident,
		.huge = a.huge,
		.pinned = a.pinned,
		.id = a.id,
		.epoch = a.epoch,
		.node = a.node,
	};
	return 0;
}

const struct region_ops region_module = {
	.name = DEVICE,
	.life = "those with a name outlive every process",
	.missing = module_missing,
	.create = module_create,
	.places = true,
	.revocable = true,
	.check = module_check,
	.readonly = module_readonly,
	.stat = module_stat,
};
