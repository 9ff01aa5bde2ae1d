// SPDX-License-Identifier: Apache-2.0
/* A part of a file as a region: what it maps, what it refuses, and the file being cut under it. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/dev.h"
#include "mctest.h"

static int file_make(char path[64], uint64_t size)
{
	int fd;

	strcpy(path, "/dev/shm/mc-file-XXXXXX");
	fd = mkstemp(path);
	EXPECT_TRUE(fd >= 0 && !ftruncate(fd, (off_t)size));
	return fd;
}

TEST(maps_what_was_asked_for)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct region r, other;
	struct region_stat st;
	char path[64], c;
	int fd = file_make(path, 4 * page), ro;

	EXPECT_EQ(pwrite(fd, "x", 1, (off_t)page), 1);
	ASSERT_EQ(region_file(path, page, 2 * page + 100, &r), 0);
	EXPECT_EQ(r.size, 2 * page + 100);
	EXPECT_EQ(*(char *)r.base, 'x');
	((char *)r.base)[2 * page + 99] = 'y';
	EXPECT_EQ(pread(fd, &c, 1, (off_t)(3 * page + 99)), 1);
	EXPECT_EQ(c, 'y');
	EXPECT_EQ(region_stat(&r, &st), 0);
	EXPECT_STREQ(st.backend, "file");
	/* It is not handed on: whoever gets it refuses it, and nobody makes a read-only one. */
	EXPECT_EQ(region_readonly_fd(&r, &ro), -EOPNOTSUPP);
	EXPECT_EQ(region_map(dup(r.fd), page, true, &other), -EINVAL);
	region_close(&r);
	region_close(&r);
	close(fd);
	unlink(path);
}

TEST(refuses)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	char path[64], fifo[80];
	struct region r = { .fd = -1 };
	int fd = file_make(path, 4 * page);

	EXPECT_EQ(region_file(path, 0, 0, &r), -EINVAL);
	EXPECT_EQ(region_file(path, 1, page, &r), -EINVAL);
	EXPECT_EQ(region_file(path, UINT64_MAX - page + 1, page, &r), -EINVAL);
	EXPECT_EQ(region_file(path, 4 * page, 1, &r), -ERANGE);
	EXPECT_EQ(region_file(path, page, UINT64_MAX, &r), -ERANGE);
	EXPECT_EQ(region_file("/dev/shm/mc-none/none", 0, page, &r), -ENOENT);
	EXPECT_EQ(region_file("/dev/shm", 0, page, &r), -EISDIR);
	snprintf(fifo, sizeof(fifo), "%s.fifo", path);
	ASSERT_EQ(mkfifo(fifo, 0600), 0);
	EXPECT_EQ(region_file(fifo, 0, page, &r), -EINVAL);
	unlink(fifo);
	EXPECT_EQ(r.fd, -1);
	close(fd);
	unlink(path);
}

TEST(is_cut)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct region r;
	char path[64];
	int fd = file_make(path, 4 * page);

	ASSERT_EQ(region_file(path, 0, 4 * page, &r), 0);
	memset(r.base, 7, r.size);
	EXPECT_TRUE(!region_revoked(&r));
	ASSERT_EQ(ftruncate(fd, (off_t)page), 0);
	EXPECT_EQ(((volatile char *)r.base)[3 * page], 0);
	EXPECT_TRUE(region_revoked(&r));
	region_close(&r);
	close(fd);
	unlink(path);
}
