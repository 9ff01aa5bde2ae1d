// SPDX-License-Identifier: Apache-2.0
/* Regions: which backend, mapping, and what every mapping needs whatever is behind it. */
#include "dev/region.h"

#include <linux/mempolicy.h>
#include <pthread.h>
#include <stdatomic.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/env.h"
#include "base/log.h"

#define THP_BYTES (2 * MiB)

/* In order of preference. */
static const struct region_ops *const backends[] = { &region_module, &region_memfd };

static const char *const sources[] = { "auto", "require", "off" };
enum { SOURCE_AUTO, SOURCE_REQUIRE, SOURCE_OFF };

static atomic_int source = -1; /* what region_source() said */
static const struct region_ops *chosen; /* NULL: what is required is not there */
static pthread_once_t choose_once = PTHREAD_ONCE_INIT;

static int source_of(const char *word)
{
	for (unsigned i = 0; i < ARRAY_SIZE(sources); i++)
		if (!strcasecmp(word, sources[i]))
			return (int)i;
	log_err("kernel_module %s is none of auto, require, off", word);
	return -EINVAL;
}

int region_source(const char *word)
{
	int ret = source_of(word);

	if (ret >= 0)
		atomic_store(&source, ret);
	return MIN(ret, 0);
}

static void read_source(void)
{
	int got = SOURCE_AUTO;
	struct env env;

	if (atomic_load(&source) >= 0)
		return;
	if (!env_open(&env)) {
		got = source_of(env.kernel_module);
		env_close(&env);
	}
	atomic_store(&source, got);
}

bool region_source_is_off(void)
{
	read_source();
	return atomic_load(&source) == SOURCE_OFF;
}

static void choose(void)
{
	const char *why = "kernel_module is off";

	read_source();
	chosen = &region_memfd;
	if (source != SOURCE_OFF)
		why = region_module.missing();
	if (!why)
		chosen = &region_module;
	else if (source == SOURCE_REQUIRE)
		chosen = NULL;
	if (!chosen)
		log_err("no regions: kernel_module says that they come from %s, and: %s", region_module.name, why);
	else if (!why)
		log_info("regions come from %s; %s", chosen->name, chosen->life);
	else
		log_info("regions come from %s, and %s; not from %s: %s", chosen->name, chosen->life, region_module.name, why);
}

static const struct region_ops *backend(void)
{
	pthread_once(&choose_once, choose);
	return chosen;
}

const char *region_backend(void)
{
	return backend() ? backend()->name : "none";
}

/* Address space for @size bytes that starts where a 2 MiB page may start. */
static void *reserve_aligned(uint64_t size)
{
	uint64_t room, start, head, tail;
	uint8_t *p;

	if (check_add(size, THP_BYTES, &room))
		return NULL;
	p = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	start = align_up((uintptr_t)p, THP_BYTES);
	head = start - (uintptr_t)p;
	tail = room - head - size;
	if (head)
		munmap(p, head);
	if (tail)
		munmap(p + head + size, tail);
	return p + head;
}

/*
 * Fills in base. Not in a child, which would write to its parent's pool; not in a core file, which
 * would fill the disk.
 */
int region_map_in(struct region *r, uint64_t off, bool huge)
{
	void *at = huge && r->size >= THP_BYTES ? reserve_aligned(r->size) : NULL;
	int prot = PROT_READ | (r->writable ? PROT_WRITE : 0);
	void *p;
	int ret;

	p = mmap(at, r->size, prot, MAP_SHARED | (at ? MAP_FIXED : 0), r->fd, (off_t)off);
	if (p == MAP_FAILED) {
		ret = -errno;
		if (at)
			munmap(at, r->size);
		return ret;
	}
	if (madvise(p, r->size, MADV_DONTFORK) || madvise(p, r->size, MADV_DONTDUMP)) {
		ret = -errno;
		munmap(p, r->size);
		return ret;
	}
	/* Advice; a kernel without transparent huge pages says no, and nothing depends on it. */
	if (huge)
		madvise(p, r->size, MADV_HUGEPAGE);
	r->base = p;
	r->guard = r->ops->revocable ? guard_add(p, r->size, r->writable) : 0;
	return 0;
}

static void prefer_node(const struct region *r, int node)
{
	unsigned long mask[16] = { 0 };
	const unsigned bits = 8 * sizeof(mask[0]);

	if (node < 0)
		return;
	if ((unsigned)node < ARRAY_SIZE(mask) * bits) {
		mask[(unsigned)node / bits] = 1UL << (unsigned)node % bits;
		if (!syscall(SYS_mbind, r->base, r->size, MPOL_PREFERRED, mask,
			     ARRAY_SIZE(mask) * bits, 0))
			return;
	}
	log_warn("numa node %d cannot be preferred; memory comes from any node", node);
}

/* Better a refusal than the kernel's out-of-memory killer, halfway through. */
static bool fits(uint64_t size, unsigned flags)
{
	return size <= mem_available_bytes() ||
	       (flags & REGION_HUGE && size <= (flags & REGION_GIANT ? giant_pages_free_bytes() : huge_pages_free_bytes()));
}

static int create(const char *name, unsigned flags, int node, struct region *r)
{
	const struct region_ops *ops = flags & REGION_MEMFD ? &region_memfd : backend();
	int ret;

	if (!ops)
		return -ENODEV;
	r->ops = ops;
	ret = ops->create(name, flags, node, r);
	if (ret != -EDQUOT)
		return ret;
	log_warn("region %s of %llu MiB: over this user's quota of regions; raise max_region_bytes of the module, or give "
		 "CAP_IPC_LOCK", name, (unsigned long long)(r->size / MiB));
	if (flags & REGION_KEEP || source == SOURCE_REQUIRE)
		return ret;
	r->ops = &region_memfd;
	return r->ops->create(name, flags, node, r);
}

int region_create(const char *name, uint64_t size, unsigned flags, int node, struct region *out)
{
	struct region r = { .fd = -1, .size = size, .writable = true };
	int ret;

	if (!size)
		return -EINVAL;
	if (flags & REGION_POPULATE && !fits(size, flags)) {
		ret = -ENOMEM;
		goto err;
	}
	ret = create(name, flags, node, &r);
	if (ret)
		goto err;
	ret = region_map_in(&r, 0, flags & REGION_HUGE);
	if (ret)
		goto err_close;
	if (!r.ops->places)
		prefer_node(&r, node);
	if (flags & REGION_POPULATE) {
		ret = region_populate(&r);
		if (ret)
			goto err_unmap;
	}
	*out = r;
	return 0;

err_unmap:
	guard_del(r.guard);
	munmap(r.base, r.size);
err_close:
	close(r.fd);
err:
	log_err("region %s of %llu MiB: %s; %llu MiB of memory are available", name,
		(unsigned long long)(size / MiB), strerror(-ret),
		(unsigned long long)(mem_available_bytes() / MiB));
	return ret;
}

/* Whose is @r's descriptor? Sets ops and page_size. */
static int identify(struct region *r, uint64_t *size)
{
	for (size_t i = ARRAY_SIZE(backends); i--;) { /* memfd first: its question means nothing else to anybody */
		int ret = backends[i]->check(r, size);

		if (ret == -EMEDIUMTYPE)
			continue;
		r->ops = backends[i];
		return ret;
	}
	log_err("region refused: descriptor %d is no region", r->fd);
	return -EINVAL;
}

int region_size(int fd, uint64_t *out)
{
	struct region r = { .fd = fd, .size = 1 };
	uint64_t size;
	int ret = identify(&r, &size);

	if (!ret)
		*out = size;
	return ret;
}

int region_map(int fd, uint64_t size, bool writable, struct region *out)
{
	struct region r = { .fd = fd, .size = size, .writable = writable };
	uint64_t whole;
	int ret = -EINVAL;

	if (!size)
		goto err;
	ret = identify(&r, &whole);
	if (ret)
		goto err;
	/* The file is at least as long: its size is in whole pages. */
	r.size = align_up(size, r.page_size);
	ret = region_map_in(&r, 0, r.page_size == (uint32_t)sysconf(_SC_PAGESIZE));
	if (ret)
		goto err;
	*out = r;
	return 0;

err:
	close(fd);
	return ret;
}

int region_readonly_fd(const struct region *r, int *fd)
{
	return r->base ? r->ops->readonly(r, fd) : -EBADF;
}

bool region_revoked(const struct region *r)
{
	return guard_tripped(r->guard);
}

int region_stat(const struct region *r, struct region_stat *out)
{
	int ret = r->base ? r->ops->stat(r, out) : -EBADF;

	if (!ret)
		out->backend = r->ops->name;
	return ret;
}

void region_close(struct region *r)
{
	if (!r->base)
		return;
	guard_del(r->guard);
	munmap(r->base, r->size);
	close(r->fd);
	*r = (struct region){ .fd = -1 };
}
