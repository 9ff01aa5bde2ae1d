// SPDX-License-Identifier: GPL-2.0-only
/* REGION_IMPORT of memfds: windows, seals, revocation, and what their other owner may still do. */

#include "harness.h"

#include <sys/syscall.h>

#define LEN (4 * MIB)

static int memfd(unsigned int flags, int seals)
{
	int fd = memfd_create("import", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);

	ASSERT_GE(fd, 0);
	ASSERT_EQ(SYS(ftruncate(fd, LEN)), 0);
	if (seals)
		ASSERT_EQ(SYS(fcntl(fd, F_ADD_SEALS, seals)), 0);
	return fd;
}

static struct mc_ioc_region_import import_arg(int fd)
{
	return (struct mc_ioc_region_import){ .size = sizeof(struct mc_ioc_region_import), .fd = fd,
		.kind = MC_IMPORT_MEMFD, .length = LEN, .cq_fd = -1, .fd_flags = O_RDWR };
}

static int import_(int ctx, struct mc_ioc_region_import a)
{
	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_IMPORT, &a)), 0);
	return a.out_fd;
}

TEST(import_valid)
{
	int ctx = ctx_open(), fd = memfd(0, F_SEAL_SHRINK), r;
	struct mc_ioc_region_import a = import_arg(fd);
	char *own = map(fd, LEN, PROT_READ | PROT_WRITE), *p;

	a.offset = MIB;
	a.length = 2 * MIB;
	r = import_(ctx, a);
	p = map(r, 2 * MIB, PROT_READ | PROT_WRITE);
	strcpy(own + MIB, "a window");
	EXPECT_EQ(strcmp(p, "a window"), 0);
	p[2 * MIB - 1] = 9;
	EXPECT_EQ(own[3 * MIB - 1], 9);
	EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ, MAP_SHARED, r, 0)), -EINVAL);
	EXPECT_EQ(SYS(mmap(NULL, 4096, PROT_READ, MAP_SHARED, r, 2 * MIB)), -EINVAL);
	EXPECT_EQ(info(r).backing, MC_BACKING_MEMFD);
	EXPECT_EQ(info(r).length, 2 * MIB);
	EXPECT_EQ(info(r).resident, 8192);
	EXPECT_EQ(sysfs_number("bytes_allocated"), 2 * MIB);
	EXPECT_EQ(SYS(madvise(p, MIB, MADV_REMOVE)), -EOPNOTSUPP);
	EXPECT_EQ(mark(r, MC_MARK_PUNCH, 0, MIB), -EOPNOTSUPP);
	EXPECT_EQ(mark(r, MC_MARK_SEAL_WRITE, 0, 0), -EOPNOTSUPP);
	/* The region and its mapping outlive the memfd's owner. */
	munmap(own, LEN);
	close(fd);
	close(r);
	EXPECT_EQ(strcmp(p, "a window"), 0);
	EXPECT_EQ(SYS(syscall(SYS_delete_module, "mooncake", O_NONBLOCK)), -EAGAIN);
	munmap(p, 2 * MIB);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

TEST(import_wrong)
{
	int ctx = ctx_open(), fd = memfd(0, F_SEAL_SHRINK), r = region(ctx, LEN, 0), file;
	struct mc_ioc_region_import good = import_arg(fd);
	char path[] = "/tmp/importXXXXXX", ro[64];

	file = mkstemp(path);
	unlink(path);
	ASSERT_EQ(SYS(ftruncate(file, LEN)), 0);
	snprintf(ro, sizeof(ro), "/proc/self/fd/%d", fd);
#define W(field, v, e) WRONG(mc_ioc_region_import, field, v, e)
	CHECK_WRONG(ctx, MC_IOC_REGION_IMPORT, good,
		    W(flags, 1, EINVAL), W(flags, 0x80000000, EINVAL), W(fd, -1, EBADF), W(fd, 999, EBADF),
		    W(fd, ctx, EINVAL), W(fd, r, EINVAL), W(fd, file, EINVAL), W(fd, memfd(0, 0), EINVAL),
		    W(fd, memfd(0, F_SEAL_GROW), EINVAL), W(fd, memfd(0, F_SEAL_SHRINK | F_SEAL_WRITE), EACCES),
		    W(fd, memfd(0, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE), EACCES), W(fd, open(ro, O_RDONLY), EACCES),
		    W(kind, 0, EINVAL), W(kind, 4, EINVAL), W(kind, MC_IMPORT_DMABUF, EINVAL),
		    W(offset, 1, EINVAL), W(offset, 4096, EINVAL), W(offset, ~0ull - 4095, EINVAL),
		    W(length, 0, EINVAL), W(length, 1, EINVAL), W(length, LEN + 4096, EINVAL), W(length, ~0ull - 4095, EINVAL),
		    W(user_data, 1, EINVAL), W(cq_fd, 0, EINVAL), W(cq_fd, fd, EINVAL),
		    W(fd_flags, O_WRONLY, EINVAL), W(fd_flags, O_RDWR | O_NONBLOCK, EINVAL), W(rsv, 1, EINVAL));
#undef W
	check_sizes(ctx, MC_IOC_REGION_IMPORT, &good, sizeof(good), r);
}

/* A read-only window of a memfd that is sealed against writing stays read-only. */
TEST(import_read_only)
{
	int ctx = ctx_open(), r;
	struct mc_ioc_region_import a = import_arg(memfd(0, F_SEAL_SHRINK | F_SEAL_WRITE));
	char *p;

	a.fd_flags = O_RDONLY;
	a.flags = MC_REGION_PERSIST_OK;
	r = import_(ctx, a);
	EXPECT_EQ(publish(r, "ro-import", 0666), -EACCES);
	EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, r, 0)), -EACCES);
	p = map(r, LEN, PROT_READ);
	EXPECT_EQ(p[0], 0);
	EXPECT_EQ(SYS(mprotect(p, LEN, PROT_READ | PROT_WRITE)), -EACCES);
}

/* The memfd's own seal against writing: not while we could write, and kept once it is there. */
TEST(owner_seals)
{
	int ctx = ctx_open(), fd = memfd(0, F_SEAL_SHRINK), r = import_(ctx, import_arg(fd));
	char *p = map(r, LEN, PROT_READ | PROT_WRITE), buf[8] = "";
	struct mc_copy_vec v = { { .kind = MC_SGE_USER, .fd = -1, .addr = UPTR(buf), .length = 8 },
				 { .kind = MC_SGE_REGION, .fd = r, .length = 8 } };
	struct mc_ioc_copy c = { .size = sizeof(c), .vec = UPTR(&v), .nr = 1, .cq_fd = -1 };

	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_COPY, &c)), 0);
	EXPECT_EQ(SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)), -EBUSY);
	mprotect(p, LEN / 2, PROT_READ);
	munmap(p + LEN / 2, LEN / 2);
	EXPECT_EQ(SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)), -EBUSY);
	munmap(p, LEN / 2);
	EXPECT_EQ(SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)), 0);
	EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, r, 0)), -EACCES);
	EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ, MAP_SHARED, r, 0)), -EACCES);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_COPY, &c)), -EACCES);
	EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)), -EPERM);
}

/* A seal that came after the import: what it allows, and nothing stays counted for what it does not. */
TEST(owner_seals_the_future)
{
	int ctx = ctx_open(), fd = memfd(0, F_SEAL_SHRINK), r = import_(ctx, import_arg(fd));
	char *p;

	ASSERT_EQ(SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE)), 0);
	EXPECT_EQ(SYS(mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, r, 0)), -EPERM);
	p = map(r, LEN, PROT_READ);
	EXPECT_EQ(SYS(mprotect(p, LEN, PROT_READ | PROT_WRITE)), -EACCES);
	munmap(p, LEN);
	EXPECT_EQ(SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)), 0);
	close(r);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

/* Larger than memory could ever be: nothing is there yet, and nothing has to be until somebody wants all of it. */
TEST(import_sparse)
{
	const uint64_t length = 1ull << 41;
	int ctx = ctx_open(), fd = memfd_create("sparse", MFD_ALLOW_SEALING), r;
	struct mc_ioc_region_import a = import_arg(fd);
	struct mc_ioc_region_export e = { .size = sizeof(e), .fd = -1, .fd_flags = O_RDWR, .length = length };

	ASSERT_EQ(SYS(ftruncate(fd, length)), 0);
	ASSERT_EQ(SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)), 0);
	a.length = length;
	r = import_(ctx, a);
	EXPECT_EQ(info(r).resident, 0);
	EXPECT_EQ(SYS(ioctl(r, MC_IOC_REGION_EXPORT, &e)), -ENOMEM);
	EXPECT_EQ(info(r).nr_attach, 0);
	close(r);
}

/* REVOKE closes our doors; the owner's mapping goes on, with the bytes it had. */
TEST(import_revoke)
{
	int ctx = ctx_open(), fd = memfd(0, F_SEAL_SHRINK), r = import_(ctx, import_arg(fd));
	char *own = map(fd, LEN, PROT_READ | PROT_WRITE), *p = map(r, LEN, PROT_READ | PROT_WRITE);

	memset(p, 4, LEN);
	EXPECT_EQ(revoke_region(r), 0);
	EXPECT_EQ(touch(p, true), SIGBUS);
	EXPECT_EQ(touch(own, true), 0);
	EXPECT_EQ(own[LEN - 1], 4);
	/* A hole the owner makes is his business. */
	EXPECT_EQ(SYS(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, LEN)), 0);
	EXPECT_EQ(own[LEN - 1], 0);
}

TEST(import_published)
{
	int ctx = ctx_open(), r, w;
	struct mc_ioc_region_import a = import_arg(memfd(0, F_SEAL_SHRINK | F_SEAL_GROW));
	struct mc_ioc_region_open o;

	a.offset = 2 * MIB;
	a.length = 2 * MIB;
	a.flags = MC_REGION_PERSIST_OK;
	r = import_(ctx, a);
	strcpy(map(r, 2 * MIB, PROT_READ | PROT_WRITE), "persists");
	ASSERT_EQ(publish(r, "imported", 0600), 0);
	close(r);
	w = open_name(ctx, "imported", MC_ACCESS_R | MC_ACCESS_W | MC_ACCESS_EXCL_WRITER, &o);
	ASSERT_GE(w, 0);
	EXPECT_EQ(strcmp(map(w, 2 * MIB, PROT_READ), "persists"), 0);
	EXPECT_EQ(mark(w, MC_MARK_CLEAN, 0, 0), 0);
	EXPECT_EQ(unpublish(ctx, "imported", MC_UNPUBLISH_FORCE), 0);
}
