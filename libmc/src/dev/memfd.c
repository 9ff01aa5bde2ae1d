// SPDX-License-Identifier: Apache-2.0
/* Regions from memfd_create(2): of hugetlb pages when enough are free, else of ordinary ones. */
#include "dev/region.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/log.h"
#include "dev/text.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* linux 6.3 */
#endif

#define MEMFD_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static const char *memfd_missing(void)
{
	return NULL;
}

static int memfd_new(const char *name, unsigned flags)
{
	int fd;

	flags |= MFD_CLOEXEC | MFD_ALLOW_SEALING;
	fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, flags);
	return fd < 0 ? -errno : fd;
}

static int memfd_sized(const char *name, unsigned mfd_flags, uint64_t page, struct region *r)
{
	uint64_t size = r->size;
	int fd, ret;

	if (check_add(size, page - 1, &size) || size > INT64_MAX)
		return -ENOMEM;
	size &= ~(page - 1);
	fd = memfd_new(name, mfd_flags);
	if (fd < 0)
		return fd;
	/* The mode decides who may open the memory again through /proc, for writing too. */
	if (fchmod(fd, 0600) || ftruncate(fd, (off_t)size) || fcntl(fd, F_ADD_SEALS, MEMFD_SEALS)) {
		ret = -errno;
		close(fd);
		return ret;
	}
	r->fd = fd;
	r->size = size;
	r->page_size = (uint32_t)page;
	return 0;
}

#define MFD_GIANT (MFD_HUGETLB | 30u << 26 /* log2 of the page's size */)

/* Reserves the pages as well: whether hugetlb memory is there shows at mmap(2), not before. */
static int memfd_huge(const char *name, bool giant, uint64_t free_bytes, struct region *r)
{
	uint64_t page = giant ? GiB : meminfo_bytes("Hugepagesize:");
	void *p;
	int ret;

	if (!is_pow2(page) || page > UINT32_MAX || free_bytes < page || r->size > free_bytes)
		return -ENOMEM;
	ret = memfd_sized(name, giant ? MFD_GIANT : MFD_HUGETLB, page, r);
	if (ret)
		return ret;
	p = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (p == MAP_FAILED) {
		ret = -errno;
		close(r->fd);
		return ret;
	}
	munmap(p, r->size); /* the reservation belongs to the file and stays */
	return 0;
}

static int memfd_region(const char *name, unsigned flags, int node, struct region *r)
{
	uint64_t asked = r->size;

	if (flags & REGION_KEEP)
		return -EOPNOTSUPP;
	if (flags & REGION_HUGE) {
		bool giant = flags & REGION_GIANT;
		uint64_t room = giant ? giant_pages_free_bytes() : huge_pages_free_bytes();

		if (!memfd_huge(name, giant, room, r))
			return 0;
		r->size = asked;
		log_info("region %s: ordinary pages, %llu MiB of huge ones are too few for %llu; %s sets more aside", name,
			 (unsigned long long)(room / MiB), (unsigned long long)(asked / MiB),
			 giant ? "hugepagesz=1G hugepages=N at boot" : "vm.nr_hugepages");
	}
	return memfd_sized(name, 0, (uint64_t)sysconf(_SC_PAGESIZE), r);
}

static int memfd_check(struct region *r, uint64_t *size)
{
	int seals = fcntl(r->fd, F_GET_SEALS);
	struct statfs fs;
	struct stat st;
	uint64_t page;

	/* Only memfd and tmpfs files know about seals. */
	if (seals < 0)
		return -EMEDIUMTYPE;
	if (fstat(r->fd, &st) || fstatfs(r->fd, &fs))
		return -errno;
	*size = (uint64_t)st.st_size;
	page = (uint64_t)(fs.f_type == HUGETLBFS_MAGIC ? fs.f_bsize : sysconf(_SC_PAGESIZE));
	if (!(seals & F_SEAL_SHRINK)) {
		log_err("region refused: descriptor is not sealed against shrinking");
		return -EINVAL;
	}
	if (r->size > (uint64_t)st.st_size) {
		log_err("region refused: %llu bytes announced, descriptor has %llu",
			(unsigned long long)r->size, (unsigned long long)st.st_size);
		return -EINVAL;
	}
	r->page_size = (uint32_t)page;
	return 0;
}

static int memfd_readonly(const struct region *r, int *fd)
{
	char path[32];
	int ro;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", r->fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	if (ro < 0)
		return -errno;
	*fd = ro;
	return 0;
}

/* How much lies in transparent huge pages nobody tells cheaply: only hugetlb counts. */
static int memfd_stat(const struct region *r, struct region_stat *out)
{
	struct stat st;

	if (fstat(r->fd, &st))
		return -errno;
	*out = (struct region_stat){ .resident = (uint64_t)st.st_blocks * 512, .node = -1 };
	if (r->page_size >= 2 * MiB)
		out->huge = out->resident;
	return 0;
}

const struct region_ops region_memfd = {
	.name = "memfd",
	.life = "they live as long as a process holds them",
	.missing = memfd_missing,
	.create = memfd_region,
	.check = memfd_check,
	.readonly = memfd_readonly,
	.stat = memfd_stat,
};
