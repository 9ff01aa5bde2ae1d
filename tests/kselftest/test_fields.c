// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every byte of every argument: each field is one that can be wrong, with the one errno that says so; one that may hold
 * anything; or an output, which may hold anything before the call. A structure that grows fails here until its new field
 * is in the list. What else can be wrong with a field is in the test of its call.
 */

#include "cq.h"

#include <sys/eventfd.h>

#define LEN (2 * MIB)
#define NAME "test.fields"

struct field {
	const char *name;
	size_t offset, width;
	uint64_t value;
	int err;	/* 0: the call succeeds with it */
};

#define AT(f) #f, offsetof(T, f), sizeof(((T *)0)->f)
#define IN(f, v, e) { AT(f), (uint64_t)(v), e }
#define GOOD(f, v) { AT(f), v, 0 }
#define ANY(f) GOOD(f, ~0ull)
#define OUT(f) GOOD(f, 0x5a5a5a5a5a5a5a5aull)
/* test_*_wrong have it: too small, too large, a tail. */
#define SIZE { AT(size), 0, EINVAL }

struct call {
	int fd;
	unsigned long cmd;
	void *arg;			/* of the call; what is looked at may be what it points to */
	void (*after)(struct call *c);	/* undo a call that succeeded */
	int *out_fd[2];			/* closed when it did */
};

static void one(struct call *c, const struct field *f, void *at)
{
	long ret;
	size_t i;

	if (f->width <= 8)
		memcpy(at, &f->value, f->width);
	else
		memset(at, 0x5a, f->width);
	ret = SYS(ioctl(c->fd, c->cmd, c->arg));
	if (ret != -f->err)
		FAIL("%s: want %s, got %s", f->name, strerror(f->err), strerror((int)-ret));
	for (i = 0; !ret && i < ARRAY_SIZE(c->out_fd); i++)
		if (c->out_fd[i])
			close(*c->out_fd[i]);
	if (!ret && c->after)
		c->after(c);
}

/* @what: the argument, or what it points to, as long as @size; valid now. */
static void check_fields(struct call *c, void *what, size_t size, const struct field *f, size_t n)
{
	char good[256];
	size_t i, end = 0;

	memcpy(good, what, size);
	for (i = 0; i < n; i++) {
		if (f[i].offset != end)
			FAIL("%s: at %zu, what is before it ends at %zu", f[i].name, f[i].offset, end);
		end = f[i].offset + f[i].width;
		one(c, &f[i], (char *)what + f[i].offset);
		memcpy(what, good, size);
	}
	if (end != size)
		FAIL("bytes from %zu on are in no field", end);
}

#define CHECK_FIELDS(c, what, ...)							\
	do {										\
		const struct field f_[] = { __VA_ARGS__ };				\
		check_fields(c, &(what), sizeof(what), f_, ARRAY_SIZE(f_));		\
	} while (0)

TEST(query_fields)
{
	struct mc_ioc_query a = { .size = sizeof(a) };
	struct call c = { ctx_open(), MC_IOC_QUERY, &a };

#define T struct mc_ioc_query
	CHECK_FIELDS(&c, a, SIZE, IN(flags, 1, EINVAL), OUT(abi_major), OUT(abi_minor), OUT(features), OUT(instance),
		     OUT(page_sizes), OUT(max_region), OUT(quota_bytes), OUT(quota_used), OUT(max_batch), OUT(cq_max_entries),
		     OUT(name_max), OUT(nr_nodes), OUT(caps), IN(rsv, 1, EINVAL));
#undef T
}

TEST(create_fields)
{
	struct mc_ioc_region_create a = CREATE(.length = LEN);
	struct call c = { ctx_open(), MC_IOC_REGION_CREATE, &a, .out_fd = { &a.out_fd } };

#define T struct mc_ioc_region_create
	CHECK_FIELDS(&c, a, SIZE, IN(flags, ~0, EINVAL), IN(length, ~0ull, EINVAL), IN(backing, ~0, EINVAL),
		     IN(page_shift, ~0, EINVAL), IN(node, 0x7fffffff, EINVAL), IN(memfd, 0, EINVAL), IN(align, ~0ull, EINVAL),
		     IN(fd_flags, ~0, EINVAL), OUT(out_fd), OUT(out_id));
#undef T
	EXPECT_EQ(sysfs_number("regions"), 0);
}

TEST(pin_fields)
{
	char *p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct mc_ioc_region_pin a = { .size = sizeof(a), .addr = UPTR(p), .length = 8192, .fd_flags = O_RDWR };
	struct call c = { ctx_open(), MC_IOC_REGION_PIN, &a, .out_fd = { &a.out_fd } };

#define T struct mc_ioc_region_pin
	CHECK_FIELDS(&c, a, SIZE, IN(flags, ~0, EINVAL), IN(addr, ~0ull, EINVAL), IN(length, ~0ull, EINVAL),
		     IN(fd_flags, ~0, EINVAL), OUT(out_fd), OUT(out_id));
#undef T
	EXPECT_EQ(sysfs_number("bytes_pinned"), 0);
}

TEST(import_fields)
{
	int fd = memfd_create("fields", MFD_ALLOW_SEALING);
	struct mc_ioc_region_import a = { .size = sizeof(a), .fd = fd, .kind = MC_IMPORT_MEMFD, .length = LEN, .cq_fd = -1,
		.fd_flags = O_RDWR };
	struct call c = { ctx_open(), MC_IOC_REGION_IMPORT, &a, .out_fd = { &a.out_fd } };

	ASSERT_EQ(SYS(ftruncate(fd, LEN)), 0);
	ASSERT_EQ(SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)), 0);
#define T struct mc_ioc_region_import
	CHECK_FIELDS(&c, a, SIZE, IN(flags, ~0, EINVAL), IN(fd, -1, EBADF), IN(kind, ~0, EINVAL), IN(offset, ~0ull, EINVAL),
		     IN(length, ~0ull, EINVAL), IN(user_data, ~0ull, EINVAL), IN(cq_fd, 999, EINVAL), IN(fd_flags, ~0, EINVAL),
		     OUT(out_fd), IN(rsv, ~0, EINVAL), OUT(out_id));
#undef T
	EXPECT_EQ(sysfs_number("regions"), 0);
}

static int published(int ctx)
{
	int r = region(ctx, LEN, MC_REGION_PERSIST_OK);

	ASSERT_EQ(publish(r, NAME, 0600), 0);
	return r;
}

TEST(open_fields)
{
	int ctx = ctx_open(), r = published(ctx);
	struct mc_ioc_region_open a = { .size = sizeof(a), .name = UPTR(NAME), .name_len = strlen(NAME), .access = MC_ACCESS_R };
	struct call c = { ctx, MC_IOC_REGION_OPEN, &a, .out_fd = { &a.out_fd } };

#define T struct mc_ioc_region_open
	CHECK_FIELDS(&c, a, SIZE, IN(flags, ~0, EINVAL), IN(name, 0, EFAULT), IN(name_len, ~0, E2BIG), IN(access, ~0, EINVAL),
		     IN(id, ~0ull, EINVAL), IN(fd_flags, ~0, EINVAL), OUT(out_fd), OUT(out_id), OUT(out_length), OUT(out_epoch),
		     OUT(out_state), IN(rsv, ~0, EINVAL));
	a.name = a.name_len = 0;
	c.fd = r;
	CHECK_FIELDS(&c, a, SIZE, IN(flags, ~0, EINVAL), IN(name, UPTR(NAME), EINVAL), IN(name_len, 1, EINVAL),
		     IN(access, ~0, EINVAL), IN(id, ~0ull, EINVAL), IN(fd_flags, ~0, EINVAL), OUT(out_fd), OUT(out_id),
		     OUT(out_length), OUT(out_epoch), OUT(out_state), IN(rsv, ~0, EINVAL));
#undef T
	EXPECT_EQ(unpublish(ctx, NAME, 0), 0);
	EXPECT_EQ(info(r).nr_fds, 1);
}

TEST(info_fields)
{
	int r = region(ctx_open(), LEN, 0);
	struct mc_ioc_region_info a = { .size = sizeof(a), .fd = -1 };
	struct call c = { r, MC_IOC_REGION_INFO, &a };

#define T struct mc_ioc_region_info
	CHECK_FIELDS(&c, a, SIZE, IN(flags, ~0, EINVAL), IN(fd, 0, EINVAL), OUT(state), IN(id, ~0ull, EINVAL), OUT(length),
		     OUT(backing), OUT(page_shift), OUT(node), OUT(nr_fds), OUT(resident), OUT(huge), OUT(pinned), OUT(epoch),
		     OUT(gen), OUT(nr_vmas), OUT(nr_attach), OUT(uid), OUT(gid), OUT(mode), OUT(owner_pid),
		     ANY(name) /* of an unpublished region nothing is written there */, IN(name_len, 1, EINVAL),
		     IN(rsv, ~0, EINVAL));
#undef T
}

static void take_name_away(struct call *c)
{
	struct mc_ioc_region_publish a = { .size = sizeof(a), .fd = -1 };

	EXPECT_EQ(SYS(ioctl(c->fd, MC_IOC_REGION_UNPUBLISH, &a)), 0);
}

static void give_name_again(struct call *c)
{
	EXPECT_EQ(publish(c->fd, NAME, 0200), 0);
}

TEST(publish_fields)
{
	int ctx = ctx_open();
	struct cq q = cq_make(create_arg(0, 8, MC_CQ_DROP_COUNT));
	struct mc_ioc_region_publish a = { .size = sizeof(a), .fd = -1, .mode = 0200, .uid = -1, .gid = -1, .name = UPTR(NAME),
		.name_len = strlen(NAME) };
	struct call c = { region(ctx, LEN, MC_REGION_PERSIST_OK), MC_IOC_REGION_PUBLISH, &a, take_name_away };
	int i;

#define T struct mc_ioc_region_publish
	for (i = 0; i < 2; i++) {
		CHECK_FIELDS(&c, a, SIZE, IN(flags, ~0, EINVAL), IN(fd, 0, EINVAL), IN(mode, ~0, EINVAL), GOOD(uid, 7), GOOD(gid, 7),
			     IN(name, 0, EFAULT), IN(name_len, ~0, E2BIG), IN(rsv, ~0, EINVAL));
		c.fd = q.fd;
	}
	a = (struct mc_ioc_region_publish){ .size = sizeof(a), .fd = -1 };
	c = (struct call){ region(ctx, LEN, MC_REGION_PERSIST_OK), MC_IOC_REGION_UNPUBLISH, &a, give_name_again };
	for (i = 0; i < 2; i++) {
		give_name_again(&c);
		CHECK_FIELDS(&c, a, SIZE, IN(flags, ~0, EINVAL), IN(fd, 0, EINVAL), IN(mode, ~0, EINVAL), IN(uid, ~0, EINVAL),
			     IN(gid, ~0, EINVAL), IN(name, UPTR(NAME), EINVAL), IN(name_len, 1, EINVAL), IN(rsv, ~0, EINVAL));
		take_name_away(&c);
		c.fd = q.fd;
	}
#undef T
}

static void publish_as(void *arg)
{
	struct mc_ioc_region_publish a = { .size = sizeof(a), .fd = -1, .uid = -1, .gid = -1, .name = UPTR(NAME),
		.name_len = strlen(NAME) };
	int r = region(ctx_open(), LEN, MC_REGION_PERSIST_OK);

	(void)arg;
	a.uid = 1;
	EXPECT_EQ(SYS(ioctl(r, MC_IOC_REGION_PUBLISH, &a)), -EPERM);
	a.uid = -1;
	a.gid = 1;
	EXPECT_EQ(SYS(ioctl(r, MC_IOC_REGION_PUBLISH, &a)), -EPERM);
	a.uid = 1001;
	a.gid = 1234;	/* a group of his */
	EXPECT_EQ(SYS(ioctl(r, MC_IOC_REGION_PUBLISH, &a)), 0);
	EXPECT_EQ(info(r).gid, 1234);
	EXPECT_EQ(unpublish(ctx_open(), NAME, 0), 0);
}

/* Any owner may be named, but not by anybody. */
TEST(publish_owner_wrong)
{
	EXPECT_EQ(in_child(1001, publish_as, NULL), 0);
}

TEST(revoke_fields)
{
	struct mc_ioc_region_revoke a = { .size = sizeof(a), .fd = -1 };
	struct call c = { region(ctx_open(), LEN, 0), MC_IOC_REGION_REVOKE, &a };

#define T struct mc_ioc_region_revoke
	CHECK_FIELDS(&c, a, SIZE, IN(flags, ~0, EINVAL), IN(fd, 0, EINVAL), IN(rsv, ~0, EINVAL), IN(id, ~0ull, EINVAL),
		     OUT(out_pinned));
#undef T
}

TEST(export_fields)
{
	struct mc_ioc_region_export a = { .size = sizeof(a), .fd = -1, .fd_flags = O_RDWR, .length = LEN };
	struct call c = { region(ctx_open(), LEN, 0), MC_IOC_REGION_EXPORT, &a, .out_fd = { &a.out_fd } };

#define T struct mc_ioc_region_export
	CHECK_FIELDS(&c, a, SIZE, IN(flags, ~0, EINVAL), IN(fd, 0, EINVAL), IN(fd_flags, ~0, EINVAL), IN(offset, ~0ull, EINVAL),
		     IN(length, ~0ull, EINVAL), OUT(out_fd), IN(rsv, ~0, EINVAL));
#undef T
	EXPECT_EQ(info(c.fd).nr_attach, 0);
}

TEST(mark_fields)
{
	struct mc_ioc_region_mark a = { .size = sizeof(a), .fd = -1, .op = MC_MARK_PUNCH, .length = 4096 };
	struct call c = { region(ctx_open(), LEN, 0), MC_IOC_REGION_MARK, &a };

#define T struct mc_ioc_region_mark
	CHECK_FIELDS(&c, a, SIZE, IN(flags, ~0, EINVAL), IN(fd, 0, EINVAL), IN(op, ~0, EINVAL), IN(offset, ~0ull, EINVAL),
		     IN(length, ~0ull, EINVAL), OUT(out_gen), OUT(out_purged));
#undef T
}

TEST(copy_fields)
{
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	struct mc_copy_vec v = {
		.src = { .kind = MC_SGE_REGION, .fd = r, .length = 64 },
		.dst = { .kind = MC_SGE_REGION, .fd = r, .addr = 4096, .length = 64 },
	};
	struct mc_ioc_copy a = { .size = sizeof(a), .vec = UPTR(&v), .nr = 1, .cq_fd = -1 };
	struct call c = { ctx, MC_IOC_COPY, &a };

#define T struct mc_ioc_copy
	CHECK_FIELDS(&c, a, SIZE, IN(flags, ~0, EINVAL), IN(vec, 0, EFAULT), IN(nr, ~0, E2BIG), IN(cq_fd, 0, EINVAL),
		     IN(user_data, ~0ull, EINVAL), OUT(out_bytes), OUT(out_index), OUT(out_error));
#undef T
#define T struct mc_copy_vec
#define SGE(side) IN(side.kind, ~0, EINVAL), IN(side.fd, -1, EBADF), IN(side.addr, ~0ull, EINVAL), IN(side.length, ~0ull, EINVAL), \
		  { AT(side.cookie), ~0ull, EINVAL }
	CHECK_FIELDS(&c, v, SGE(src), SGE(dst));
#undef T
}

TEST(cq_create_fields)
{
	struct mc_ioc_cq_create a = create_arg(MC_CQ_POST_FD, 8, MC_CQ_DROP_COUNT);
	struct call c = { ctx_open(), MC_IOC_CQ_CREATE, &a, .out_fd = { &a.out_fd, &a.out_post_fd } };

#define T struct mc_ioc_cq_create
	CHECK_FIELDS(&c, a, SIZE, IN(flags, ~0, EINVAL), IN(entries, ~0, EINVAL), IN(overflow, ~0, EINVAL),
		     IN(eventfd, eventfd(0, 0), EINVAL), IN(fd_flags, ~0, EINVAL), OUT(out_fd), OUT(out_post_fd),
		     OUT(out_ring_size), OUT(out_entries), OUT(out_cqe_off));
#undef T
	EXPECT_EQ(sysfs_number("bytes_allocated"), 0);
}

TEST(cq_wait_fields)
{
	struct cq q = cq_simple(8, MC_CQ_DROP_COUNT);
	struct mc_ioc_cq_wait a = { .size = sizeof(a), .fd = -1, .min = 1 };
	struct call c = { q.fd, MC_IOC_CQ_WAIT, &a };

	ASSERT_EQ(post_data(q.post, 1), 1);
#define T struct mc_ioc_cq_wait
	CHECK_FIELDS(&c, a, SIZE, IN(flags, ~0, EINVAL), IN(fd, 0, EINVAL), IN(min, ~0, EINVAL), ANY(timeout_ns),
		     IN(spin_us, ~0, EINVAL), OUT(out_ready), IN(sigmask, ~0ull, EOPNOTSUPP), IN(sigsetsize, ~0, EINVAL),
		     IN(rsv, ~0, EINVAL));
#undef T
}

TEST(cq_post_fields)
{
	struct cq q = cq_simple(8, MC_CQ_DROP_COUNT);
	struct mc_cqe e = { .type = MC_CQE_NOTIFY };
	struct mc_ioc_cq_post a = { .size = sizeof(a), .post_fd = -1, .nr = 1, .vec = UPTR(&e) };
	struct call c = { q.post, MC_IOC_CQ_POST, &a };

#define T struct mc_ioc_cq_post
	CHECK_FIELDS(&c, a, SIZE, IN(flags, ~0, EINVAL), IN(post_fd, 0, EINVAL), IN(nr, ~0, E2BIG), IN(vec, 0, EFAULT),
		     OUT(out_posted), IN(rsv, ~0, EINVAL));
#undef T
#define T struct mc_cqe
	CHECK_FIELDS(&c, e, ANY(user_data), ANY(res), IN(type, MC_CQE_PEER, EINVAL), IN(flags, MC_CQE_F_OVERFLOW_BEFORE, EINVAL),
		     ANY(data), ANY(ts_ns));
#undef T
}

TEST(open_post_fields)
{
	struct cq q = cq_make(create_arg(0, 8, MC_CQ_DROP_COUNT));
	struct mc_ioc_region_open a = { .size = sizeof(a), .name = UPTR(NAME), .name_len = strlen(NAME), .access = MC_ACCESS_POST };
	struct call c = { ctx_open(), MC_IOC_CQ_OPEN_POST, &a, .out_fd = { &a.out_fd } };

	ASSERT_EQ(publish(q.fd, NAME, 0200), 0);
#define T struct mc_ioc_region_open
	CHECK_FIELDS(&c, a, SIZE, IN(flags, ~0, EINVAL), IN(name, 0, EFAULT), IN(name_len, ~0, E2BIG), IN(access, ~0, EINVAL),
		     IN(id, ~0ull, EINVAL), IN(fd_flags, ~0, EINVAL), OUT(out_fd), OUT(out_id), OUT(out_length), OUT(out_epoch),
		     OUT(out_state), IN(rsv, ~0, EINVAL));
#undef T
}

TEST(events_fields)
{
	struct cq q = cq_simple(8, MC_CQ_DROP_COUNT);
	struct mc_ioc_events a = { .size = sizeof(a), .cq_fd = q.fd, .mask = MC_EVENT_REGION };
	struct call c = { ctx_open(), MC_IOC_EVENTS, &a };

#define T struct mc_ioc_events
	CHECK_FIELDS(&c, a, SIZE, IN(flags, ~0, EINVAL), IN(cq_fd, -1, EBADF), IN(rsv, ~0, EINVAL), IN(mask, ~0ull, EINVAL),
		     ANY(user_data));
#undef T
}
