// SPDX-License-Identifier: GPL-2.0-only
/* PUBLISH, OPEN, UNPUBLISH: names, modes, owners, and the writer's lease. */

#include "harness.h"

#define LEN (1 * MIB)

static const char name[] = "test.pub_1-x";

#define PUBLISH(...) ((struct mc_ioc_region_publish){ .size = sizeof(struct mc_ioc_region_publish), .fd = -1,	\
	.mode = 0600, .uid = -1, .gid = -1, .name = UPTR(name), .name_len = sizeof(name) - 1, __VA_ARGS__ })

static void clean(void)
{
	unpublish(ctx_open(), name, MC_UNPUBLISH_FORCE);
}

TEST(publish_valid)
{
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK), fd;
	char *p = map(r, LEN, PROT_READ | PROT_WRITE), *q, got[64] = "";
	struct mc_ioc_region_info i = { .size = sizeof(i), .fd = -1, .name = UPTR(got), .name_len = sizeof(got) };
	struct mc_ioc_region_open o;

	strcpy(p, "still here");
	ASSERT_EQ(publish(r, name, 0640), 0);
	ASSERT_EQ(SYS(ioctl(r, MC_IOC_REGION_INFO, &i)), 0);
	EXPECT_EQ(strcmp(got, name), 0);
	EXPECT_EQ(i.name_len, strlen(name));
	EXPECT_EQ(i.mode, 0640);
	EXPECT_EQ(i.state, MC_STATE_PUBLISHED);
	munmap(p, LEN);
	close(r);
	close(ctx);

	ctx = ctx_open();
	fd = open_name(ctx, name, MC_ACCESS_R, &o);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	EXPECT_EQ(o.out_length, LEN);
	EXPECT_EQ(o.out_epoch, 0);
	EXPECT_EQ(o.out_id, i.id);
	EXPECT_EQ(o.out_state, MC_STATE_PUBLISHED);
	q = map(fd, LEN, PROT_READ);
	EXPECT_EQ(strcmp(q, "still here"), 0);
	EXPECT_EQ(SYS(mprotect(q, LEN, PROT_READ | PROT_WRITE)), -EACCES);
	ASSERT_EQ(unpublish(ctx, name, 0), 0);
	EXPECT_EQ(open_name(ctx, name, MC_ACCESS_R, &o), -ENOENT);
	/* Without a name, it lives as long as its users. */
	EXPECT_EQ(strcmp(q, "still here"), 0);
	munmap(q, LEN);
	close(fd);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

TEST(publish_wrong)
{
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK), plain = region(ctx, LEN, 0);
	struct mc_ioc_region_publish good = PUBLISH();
	struct mc_ioc_region_create ro = CREATE(.length = LEN, .flags = MC_REGION_PERSIST_OK, .fd_flags = O_RDONLY);
	const char *names[] = { "", ".", "..", ".hidden", "a b", "a/b", "a\nb", "\xc3\xa4", "a:b" };
	char longest[65];
	size_t i;

#define W(field, v, e) WRONG(mc_ioc_region_publish, field, v, e)
	CHECK_WRONG(r, MC_IOC_REGION_PUBLISH, good,
		    W(flags, 1, EINVAL), W(fd, 0, EINVAL), W(fd, r, EINVAL), W(fd, -2, EINVAL),
		    W(mode, 0700, EINVAL), W(mode, 01600, EINVAL), W(mode, ~0, EINVAL),
		    W(name, 0, EFAULT), W(name, 8, EFAULT), W(name_len, 0, EINVAL), W(name_len, 64, E2BIG),
		    W(name_len, ~0, E2BIG), W(name_len, sizeof(name), EINVAL), W(rsv, 1, EINVAL));
#undef W
	check_sizes(r, MC_IOC_REGION_PUBLISH, &good, sizeof(good), ctx);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		EXPECT_EQ(publish(r, names[i], 0600), -EINVAL);
	memset(longest, 'a', sizeof(longest));
	longest[64] = '\0';
	EXPECT_EQ(publish(r, longest, 0600), -E2BIG);
	longest[63] = '\0';
	ASSERT_EQ(publish(r, longest, 0600), 0);
	ASSERT_EQ(unpublish(ctx, longest, 0), 0);

	EXPECT_EQ(publish(plain, name, 0600), -EPERM);
	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &ro)), 0);
	EXPECT_EQ(publish(ro.out_fd, name, 0600), -EACCES);
	ASSERT_EQ(publish(r, name, 0600), 0);
	EXPECT_EQ(publish(r, "another", 0600), -EEXIST);
	EXPECT_EQ(publish(region(ctx, LEN, MC_REGION_PERSIST_OK), name, 0600), -EEXIST);
	clean();
}

TEST(open_wrong)
{
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK);
	struct mc_ioc_region_open good = { .size = sizeof(good), .name = UPTR(name), .name_len = strlen(name),
		.access = MC_ACCESS_R | MC_ACCESS_W }, by_id;
	uint64_t id = info(r).id;

	/* Before it has a name its id opens nothing. */
	by_id = (struct mc_ioc_region_open){ .size = sizeof(by_id), .id = id, .access = MC_ACCESS_R };
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_OPEN, &by_id)), -ENOENT);
	ASSERT_EQ(publish(r, name, 0600), 0);
#define W(field, v, e) WRONG(mc_ioc_region_open, field, v, e)
	CHECK_WRONG(ctx, MC_IOC_REGION_OPEN, good,
		    W(flags, 1, EINVAL), W(name, 0, EFAULT), W(name_len, 0, EINVAL), W(name_len, 64, E2BIG),
		    W(name_len, 4, ENOENT), W(access, 0, EINVAL), W(access, MC_ACCESS_W, EINVAL),
		    W(access, MC_ACCESS_R | MC_ACCESS_EXCL_WRITER, EINVAL), W(access, 8, EINVAL), W(access, 9, EINVAL),
		    W(id, id, EINVAL), W(id, ~0ull, EINVAL), W(fd_flags, O_RDWR, EINVAL),
		    W(fd_flags, O_NONBLOCK, EINVAL), W(rsv, 1, EINVAL));
	CHECK_WRONG(ctx, MC_IOC_REGION_OPEN, by_id,
		    W(id, 0, EINVAL), W(id, id + 1, ENOENT), W(id, ~0ull, ENOENT), W(id, 1ull << 40, ENOENT),
		    W(name, UPTR(name), EINVAL));
#undef W
	check_sizes(ctx, MC_IOC_REGION_OPEN, &good, sizeof(good), -1);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_OPEN, &by_id)), 0);
	EXPECT_EQ(by_id.out_length, LEN);
	clean();
}

/* On a region: no name needed, never more than the file at hand allows, never its lease. */
TEST(reopen)
{
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK), ro, lease;
	struct mc_ioc_region_open good = { .size = sizeof(good), .access = MC_ACCESS_R, .fd_flags = O_CLOEXEC }, o = good;
	char *p = map(r, LEN, PROT_READ | PROT_WRITE), *q;

#define W(field, v, e) WRONG(mc_ioc_region_open, field, v, e)
	CHECK_WRONG(r, MC_IOC_REGION_OPEN, good,
		    W(flags, 1, EINVAL), W(name, UPTR(name), EINVAL), W(name_len, 4, EINVAL), W(id, info(r).id, EINVAL),
		    W(access, 0, EINVAL), W(access, MC_ACCESS_W, EINVAL), W(access, 7, EINVAL), W(access, 8, EINVAL),
		    W(fd_flags, O_RDWR, EINVAL), W(rsv, 1, EINVAL));
#undef W
	check_sizes(r, MC_IOC_REGION_OPEN, &good, sizeof(good), -1);
	ASSERT_EQ(SYS(ioctl(r, MC_IOC_REGION_OPEN, &o)), 0);
	ro = o.out_fd;
	EXPECT_EQ(o.out_id, info(r).id);
	EXPECT_EQ(o.out_length, LEN);
	EXPECT_EQ(fcntl(ro, F_GETFD), FD_CLOEXEC);
	strcpy(p, "seen");
	q = map(ro, LEN, PROT_READ);
	EXPECT_EQ(strcmp(q, "seen"), 0);
	EXPECT_EQ(SYS(mprotect(q, LEN, PROT_READ | PROT_WRITE)), -EACCES);
	o = good;
	o.access = MC_ACCESS_R | MC_ACCESS_W;
	EXPECT_EQ(SYS(ioctl(ro, MC_IOC_REGION_OPEN, &o)), -EACCES);
	ASSERT_EQ(SYS(ioctl(r, MC_IOC_REGION_OPEN, &o)), 0);
	EXPECT_EQ(mark(o.out_fd, MC_MARK_CLEAN, 0, 0), -EPERM);
	close(o.out_fd);

	/* What was handed on from the writer's file outlives its lease. */
	ASSERT_EQ(publish(r, name, 0600), 0);
	lease = open_name(ctx, name, 7, &o);
	ASSERT_GE(lease, 0);
	o = good;
	ASSERT_EQ(SYS(ioctl(lease, MC_IOC_REGION_OPEN, &o)), 0);
	close(lease);
	EXPECT_EQ(info(r).state, MC_STATE_PUBLISHED | MC_STATE_DIRTY);
	EXPECT_EQ(info(r).epoch, 1);
	ASSERT_EQ(revoke_region(r), 0);
	o = good;
	EXPECT_EQ(SYS(ioctl(ro, MC_IOC_REGION_OPEN, &o)), -EKEYREVOKED);
	clean();
}

TEST(unpublish_wrong)
{
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK), other = region(ctx, LEN, 0);
	struct mc_ioc_region_publish good = { .size = sizeof(good), .fd = -1, .name = UPTR(name),
		.name_len = strlen(name) }, by_fd = { .size = sizeof(by_fd), .fd = r }, on_r = { .size = sizeof(on_r), .fd = -1 };

	ASSERT_EQ(publish(r, name, 0600), 0);
#define W(field, v, e) WRONG(mc_ioc_region_publish, field, v, e)
	CHECK_WRONG(ctx, MC_IOC_REGION_UNPUBLISH, good,
		    W(flags, 2, EINVAL), W(fd, r, EINVAL), W(mode, 0600, EINVAL), W(uid, -1, EINVAL), W(gid, -1, EINVAL),
		    W(name, 0, EFAULT), W(name_len, 0, EINVAL), W(name_len, 64, E2BIG), W(name_len, 3, ENOENT),
		    W(rsv, 1, EINVAL));
	CHECK_WRONG(ctx, MC_IOC_REGION_UNPUBLISH, by_fd,
		    W(fd, -1, EINVAL), W(fd, 999, EBADF), W(fd, -2, EBADF), W(fd, ctx, EINVAL), W(fd, 0, EINVAL),
		    W(fd, other, ENOENT), W(name, UPTR(name), EINVAL));
	CHECK_WRONG(r, MC_IOC_REGION_UNPUBLISH, on_r,
		    W(fd, r, EINVAL), W(fd, 0, EINVAL), W(name, 8, EINVAL), W(name_len, 4, EINVAL));
#undef W
	check_sizes(ctx, MC_IOC_REGION_UNPUBLISH, &good, sizeof(good), -1);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_UNPUBLISH, &by_fd)), 0);
	ASSERT_EQ(publish(r, name, 0600), 0);
	EXPECT_EQ(SYS(ioctl(r, MC_IOC_REGION_UNPUBLISH, &on_r)), 0);
	EXPECT_EQ(SYS(ioctl(r, MC_IOC_REGION_UNPUBLISH, &on_r)), -ENOENT);
}

struct dac { uint32_t access; long want; };

static void open_as(void *arg)
{
	const struct dac *d = arg;
	struct mc_ioc_region_open o;
	long fd = open_name(ctx_open(), name, d->access, &o);

	EXPECT_EQ(fd < 0 ? fd : 0, d->want);
	if (fd >= 0 && d->access & MC_ACCESS_W)
		*(char *)map(fd, LEN, PROT_READ | PROT_WRITE) = 1;
}

static void publish_0640_to_1001(void *arg)
{
	struct mc_ioc_region_publish a = PUBLISH(.mode = 0640, .gid = 1234);

	(void)arg;
	ASSERT_EQ(SYS(ioctl(region(ctx_open(), LEN, MC_REGION_PERSIST_OK), MC_IOC_REGION_PUBLISH, &a)), 0);
}

static void stranger(void *arg)
{
	struct mc_ioc_region_revoke rv = { .size = sizeof(rv), .fd = -1, .id = *(uint64_t *)arg };
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK);
	struct mc_ioc_region_publish a = PUBLISH(.name_len = 4);

	EXPECT_EQ(unpublish(ctx, name, 0), -EPERM);
	EXPECT_EQ(unpublish(ctx, name, MC_UNPUBLISH_FORCE), -EPERM);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_REVOKE, &rv)), -EPERM);
	EXPECT_EQ(publish(r, name, 0600), -EEXIST);
	a.uid = 1001;
	EXPECT_EQ(SYS(ioctl(r, MC_IOC_REGION_PUBLISH, &a)), -EPERM);
	a.uid = -1;
	a.gid = 0;
	EXPECT_EQ(SYS(ioctl(r, MC_IOC_REGION_PUBLISH, &a)), -EPERM);
}

/* Owner 1001, group 1234 (which every child has), mode 0640. */
TEST(modes)
{
	const uint32_t rw = MC_ACCESS_R | MC_ACCESS_W;
	struct mc_ioc_region_open o;
	int ctx = ctx_open();

	ASSERT_EQ(in_child(1001, publish_0640_to_1001, NULL), 0);
	EXPECT_EQ(in_child(1001, open_as, &(struct dac){ rw, 0 }), 0);
	EXPECT_EQ(in_child(1002, open_as, &(struct dac){ MC_ACCESS_R, 0 }), 0);
	EXPECT_EQ(in_child(1002, open_as, &(struct dac){ rw, -EACCES }), 0);
	EXPECT_EQ(in_child(1002, open_as, &(struct dac){ rw | MC_ACCESS_EXCL_WRITER, -EACCES }), 0);
	EXPECT_EQ(in_child(0, open_as, &(struct dac){ rw, 0 }), 0);
	ASSERT_GE(open_name(ctx, name, MC_ACCESS_R, &o), 0);
	EXPECT_EQ(in_child(1002, stranger, &o.out_id), 0);
	EXPECT_EQ(info(o.out_fd).uid, 1001);
	EXPECT_EQ(info(o.out_fd).gid, 1234);
	clean();
}

static void cannot_see(void *arg)
{
	struct mc_ioc_region_info i = { .size = sizeof(i), .fd = -1, .id = *(uint64_t *)arg };
	struct mc_ioc_region_open o = { .size = sizeof(o), .id = i.id, .access = MC_ACCESS_R };
	struct mc_ioc_region_revoke rv = { .size = sizeof(rv), .fd = -1, .id = i.id };
	int ctx = ctx_open();

	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_INFO, &i)), -ENOENT);
	i.id = 0;
	i.flags = MC_INFO_NEXT;
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_INFO, &i)), -ENOENT);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_OPEN, &o)), -ENOENT);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_REVOKE, &rv)), -ENOENT);
	EXPECT_EQ(unpublish(ctx, name, 0), -ENOENT);
}

/* Mode 0600: nobody else learns that it exists by its id. */
TEST(invisible)
{
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK);
	uint64_t id = info(r).id;

	EXPECT_EQ(in_child(1002, cannot_see, &id), 0);
	ASSERT_EQ(publish(r, name, 0600), 0);
	EXPECT_EQ(in_child(1002, cannot_see, &id), 0);
	EXPECT_EQ(in_child(1002, open_as, &(struct dac){ MC_ACCESS_R, -EACCES }), 0);
	clean();
}

static void take_lease(void *arg)
{
	struct mc_ioc_region_open o;
	long fd = open_name(ctx_open(), name, MC_ACCESS_R | MC_ACCESS_W | MC_ACCESS_EXCL_WRITER, &o);

	ASSERT_GE(fd, 0);
	if (arg)
		EXPECT_EQ(mark(fd, MC_MARK_CLEAN, 0, 0), 0);
	else
		kill(getpid(), SIGKILL);
}

TEST(lease)
{
	const uint32_t excl = MC_ACCESS_R | MC_ACCESS_W | MC_ACCESS_EXCL_WRITER;
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK), fd;
	struct mc_ioc_region_open o;
	char *p;

	ASSERT_EQ(publish(r, name, 0600), 0);
	/* Clean: nothing happened. */
	EXPECT_EQ(in_child(0, take_lease, (void *)1), 0);
	EXPECT_EQ(info(r).epoch, 0);
	EXPECT_EQ(info(r).state, MC_STATE_PUBLISHED);
	/* Killed: the successor sees it, and sees it until somebody says clean. */
	EXPECT_EQ(in_child(0, take_lease, NULL), 128 + SIGKILL);
	EXPECT_EQ(info(r).epoch, 1);
	EXPECT_EQ(info(r).state, MC_STATE_PUBLISHED | MC_STATE_DIRTY);
	fd = open_name(ctx, name, excl, &o);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(o.out_epoch, 1);
	EXPECT_EQ(o.out_state, MC_STATE_PUBLISHED | MC_STATE_DIRTY);
	EXPECT_EQ(open_name(ctx, name, excl, &o), -EBUSY);
	EXPECT_EQ(unpublish(ctx, name, 0), -EBUSY);
	EXPECT_EQ(mark(fd, MC_MARK_CLEAN, 0, 0), 0);
	EXPECT_EQ(info(r).state, MC_STATE_PUBLISHED | MC_STATE_WRITER);
	EXPECT_EQ(mark(fd, MC_MARK_DIRTY, 0, 0), 0);

	/* A mapping is a writer too: the lease goes with the last of both. */
	p = map(fd, LEN, PROT_READ | PROT_WRITE);
	close(fd);
	EXPECT_EQ(open_name(ctx, name, excl, &o), -EBUSY);
	EXPECT_EQ(info(r).epoch, 1);
	munmap(p, LEN);
	EXPECT_EQ(info(r).epoch, 2);
	EXPECT_EQ(info(r).state, MC_STATE_PUBLISHED | MC_STATE_DIRTY);

	fd = open_name(ctx, name, excl, &o);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(unpublish(ctx, name, MC_UNPUBLISH_FORCE), 0);
	EXPECT_EQ(mark(r, MC_MARK_CLEAN, 0, 0), -EPERM);
}

/* A lease that no program ever got leaves no trace: the argument's page turns read-only in time for the copy out. */
TEST(lease_not_delivered)
{
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK);
	struct mc_ioc_region_open *o = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_EQ(publish(r, name, 0600), 0);
	*o = (struct mc_ioc_region_open){ .size = sizeof(*o), .name = UPTR(name), .name_len = strlen(name),
		.access = MC_ACCESS_R | MC_ACCESS_W | MC_ACCESS_EXCL_WRITER };
	mprotect(o, 4096, PROT_READ);
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_OPEN, o)), -EFAULT);
	EXPECT_EQ(info(r).epoch, 0);
	EXPECT_EQ(info(r).state, MC_STATE_PUBLISHED);
	EXPECT_EQ(info(r).nr_fds, 1);
	clean();
}
