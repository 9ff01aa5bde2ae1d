// SPDX-License-Identifier: Apache-2.0
/* Regions: which backend, mapping, and what every mapping needs whatever is behind it. */
#include "dev/region.h"

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"

#define THP_BYTES (2 * MiB)

/* In order of preference. */
static const struct region_ops *const backends[] = { &region_memfd };

static const struct region_ops *chosen;
static pthread_once_t choose_once = PTHREAD_ONCE_INIT;

static void choose(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(backends) && !chosen; i++) {
		const char *why = backends[i]->missing();

		if (!why)
			chosen = backends[i];
		else
			log_info("no regions from %s: %s", backends[i]->name, why);
	}
	log_info("regions come from %s; they live as long as a process holds them", chosen->name);
}

static const struct region_ops *backend(void)
{
	pthread_once(&choose_once, choose);
	return chosen;
}

const char *region_backend(void)
{
	return backend()->name;
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
static int map(struct region *r, bool huge)
{
	void *at = huge && r->size >= THP_BYTES ? reserve_aligned(r->size) : NULL;
	int prot = PROT_READ | (r->writable ? PROT_WRITE : 0);
	void *p;
	int ret;

	p = mmap(at, r->size, prot, MAP_SHARED | (at ? MAP_FIXED : 0), r->fd, 0);
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
	       (flags & REGION_HUGE && size <= huge_pages_free_bytes());
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
	ret = backend()->create(name, flags, &r);
	if (ret)
		goto err;
	ret = map(&r, flags & REGION_HUGE);
	if (ret)
		goto err_close;
	prefer_node(&r, node);
	if (flags & REGION_POPULATE) {
		ret = region_populate(&r);
		if (ret)
			goto err_unmap;
	}
	*out = r;
	return 0;

err_unmap:
	munmap(r.base, r.size);
err_close:
	close(r.fd);
err:
	log_err("region %s of %llu MiB: %s; %llu MiB of memory are available", name,
		(unsigned long long)(size / MiB), strerror(-ret),
		(unsigned long long)(mem_available_bytes() / MiB));
	return ret;
}

int region_map(int fd, uint64_t size, bool writable, struct region *out)
{
	struct region r = { .fd = fd, .size = size, .writable = writable };
	int ret = -EINVAL;

	if (!size)
		goto err;
	for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
		ret = backends[i]->check(&r);
		if (ret != -EMEDIUMTYPE)
			break;
	}
	if (ret == -EMEDIUMTYPE) {
		log_err("region refused: descriptor %d is no region", fd);
		ret = -EINVAL;
	}
	if (ret)
		goto err;
	/* The file is at least as long: its size is in whole pages. */
	r.size = align_up(size, r.page_size);
	ret = map(&r, r.page_size == (uint32_t)sysconf(_SC_PAGESIZE));
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
	char path[32];
	int ro;

	if (!r->base)
		return -EBADF;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", r->fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	if (ro < 0)
		return -errno;
	*fd = ro;
	return 0;
}

void region_close(struct region *r)
{
	if (!r->base)
		return;
	munmap(r->base, r->size);
	close(r->fd);
	*r = (struct region){ .fd = -1 };
}
