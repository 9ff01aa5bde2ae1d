// SPDX-License-Identifier: Apache-2.0
/*
 * A part of a file as a region: tmpfs, hugetlbfs, DAX, whatever can be mapped shared. It is not handed on to other processes, and
 * it is guarded: somebody may cut the file while it is mapped, and what was there then reads as zeroes.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "dev/region.h"

static int file_readonly(const struct region *r, int *fd)
{
	return -EOPNOTSUPP;
}

static int file_stat(const struct region *r, struct region_stat *out)
{
	*out = (struct region_stat){ .node = -1 };
	return 0;
}

static const struct region_ops region_of_file = {
	.name = "file",
	.life = "they live as long as the file",
	.revocable = true,
	.readonly = file_readonly,
	.stat = file_stat,
};

static int check(const char *path, int fd, uint64_t off, uint64_t size)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)) {
		log_err("%s is no file or device that could be mapped", path);
		return -EINVAL;
	}
	if (!size || off % page || off > INT64_MAX) {
		log_err("%s: a range of %llu bytes from %llu on: it must not be empty, and start at a multiple of %llu", path,
			(unsigned long long)size, (unsigned long long)off, (unsigned long long)page);
		return -EINVAL;
	}
	if (S_ISREG(st.st_mode) && !range_inside(off, size, (uint64_t)st.st_size)) {
		log_err("%s has %lld bytes: too few for %llu from %llu on; make it longer first", path, (long long)st.st_size,
			(unsigned long long)size, (unsigned long long)off);
		return -ERANGE;
	}
	return 0;
}

int region_file(const char *path, uint64_t off, uint64_t size, struct region *out)
{
	struct region r = { .size = size, .page_size = (uint32_t)sysconf(_SC_PAGESIZE), .writable = true, .ops = &region_of_file };
	int ret;

	r.fd = open(path, O_RDWR | O_CLOEXEC);
	if (r.fd < 0) {
		ret = -errno;
		log_err("cannot open %s for reading and writing: %s", path, strerror(-ret));
		return ret;
	}
	ret = check(path, r.fd, off, size);
	if (!ret)
		ret = region_map_in(&r, off, false);
	if (ret) {
		if (ret != -EINVAL && ret != -ERANGE)
			log_err("cannot map %s: %s", path, strerror(-ret));
		close(r.fd);
		return ret;
	}
	*out = r;
	return 0;
}
