// SPDX-License-Identifier: GPL-2.0-only
/* Quotas: what counts, against whom, and until when. */

#include "cq.h"

#include <pthread.h>
#include <sys/fsuid.h>

#define LIMIT (6 * MIB)

static bool set_quota(const char *value)
{
	int fd = open("/sys/module/mooncake/parameters/max_region_bytes", O_WRONLY);
	bool ok = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);

	close(fd);
	return ok;
}

/* @fn in each of these users, and nothing is charged to anybody afterwards. */
static void with_quota(void (*fn)(void *), void *arg)
{
	if (!set_quota("6291456"))
		skip("cannot set the quota");
	EXPECT_EQ(in_child(1001, fn, arg), 0);
	/* Another user has a quota of his own; what the first held went with him. */
	EXPECT_EQ(in_child(1002, fn, arg), 0);
	EXPECT_EQ(in_child(1001, fn, arg), 0);
	EXPECT_EQ(sysfs_number("bytes_allocated"), 0);
	set_quota("0");
}

static uint64_t used(int ctx)
{
	struct mc_ioc_query q = { .size = sizeof(q) };

	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_QUERY, &q)), 0);
	return q.quota_used;
}

static long create(int ctx, uint64_t length)
{
	struct mc_ioc_region_create a = CREATE(.length = length);
	long ret = SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &a));

	return ret ? ret : a.out_fd;
}

static long import(int ctx, uint64_t length)
{
	int fd = memfd_create("quota", MFD_ALLOW_SEALING);
	struct mc_ioc_region_import a = { .size = sizeof(a), .fd = fd, .kind = MC_IMPORT_MEMFD, .length = length, .cq_fd = -1,
		.fd_flags = O_RDWR };
	long ret;

	ASSERT_EQ(SYS(ftruncate(fd, length)), 0);
	ASSERT_EQ(SYS(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)), 0);
	ret = SYS(ioctl(ctx, MC_IOC_REGION_IMPORT, &a));
	close(fd);
	return ret ? ret : a.out_fd;
}

static long queue(int ctx, uint32_t entries)
{
	struct mc_ioc_cq_create a = create_arg(0, entries, MC_CQ_DROP_COUNT);
	long ret = SYS(ioctl(ctx, MC_IOC_CQ_CREATE, &a));

	return ret ? ret : a.out_fd;
}

static void regions(void *arg)
{
	struct mc_ioc_query q = { .size = sizeof(q) };
	int ctx = ctx_open();
	long fd;

	(void)arg;
	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_QUERY, &q)), 0);
	EXPECT_EQ(q.caps, 0);
	EXPECT_EQ(q.quota_bytes, LIMIT);
	EXPECT_EQ(q.quota_used, 0);
	fd = create(ctx, 4 * MIB);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(used(ctx), 4 * MIB);
	EXPECT_EQ(create(ctx, 4 * MIB), -EDQUOT);
	EXPECT_GE(create(ctx, 2 * MIB), 0);
	EXPECT_EQ(create(ctx, 4096), -EDQUOT);
	close(fd);
	EXPECT_GE(create(ctx, 4 * MIB), 0);
}

TEST(quota)
{
	with_quota(regions, NULL);
}

static void kinds(void *arg)
{
	const uint64_t ring = 65536 * sizeof(struct mc_cqe) + 4096;
	int ctx = ctx_open();
	long fd;

	(void)arg;
	/* A memfd: his who imports it, as long as he does. */
	fd = import(ctx, 4 * MIB);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(used(ctx), 4 * MIB);
	EXPECT_EQ(import(ctx, 4 * MIB), -EDQUOT);
	/* A ring, with its header's page. */
	EXPECT_EQ(queue(ctx, 65536), -EDQUOT);
	EXPECT_EQ(used(ctx), 4 * MIB);
	close(fd);
	fd = queue(ctx, 65536);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(used(ctx), ring);
	EXPECT_EQ(create(ctx, 4 * MIB), -EDQUOT);
	close(fd);
	EXPECT_EQ(used(ctx), 0);
	/* A mapping keeps what it maps. */
	fd = create(ctx, LIMIT);
	ASSERT_GE(fd, 0);
	map(fd, 4096, PROT_READ);
	close(fd);
	EXPECT_EQ(create(ctx, 4096), -EDQUOT);
}

TEST(quota_of_each_kind)
{
	with_quota(kinds, NULL);
}

static void *grab(void *arg)
{
	int ctx = ctx_open(), *got = arg, i;

	for (i = 0; i < 8; i++)
		*got += create(ctx, MIB) >= 0;
	return NULL;
}

static void race(void *arg)
{
	int got[4] = { 0 }, i;
	pthread_t t[4];

	(void)arg;
	for (i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, grab, &got[i]);
	for (i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	EXPECT_EQ(got[0] + got[1] + got[2] + got[3], LIMIT / MIB);
	EXPECT_EQ(used(ctx_open()), LIMIT);
}

/* Threads that all ask at once get together what one would. */
TEST(quota_races)
{
	with_quota(race, NULL);
}

static void publish_and_die(void *arg)
{
	(void)arg;
	EXPECT_EQ(publish(region(ctx_open(), 4 * MIB, MC_REGION_PERSIST_OK), "quota", 0600), 0);
}

static void full(void *arg)
{
	int ctx = ctx_open();

	(void)arg;
	EXPECT_EQ(used(ctx), 4 * MIB);
	EXPECT_EQ(create(ctx, 4 * MIB), -EDQUOT);
	EXPECT_EQ(unpublish(ctx, "quota", 0), 0);
	EXPECT_GE(create(ctx, 4 * MIB), 0);
}

/* What outlives its maker stays his to account for. */
TEST(quota_of_the_dead)
{
	if (!set_quota("6291456"))
		skip("cannot set the quota");
	EXPECT_EQ(in_child(1001, publish_and_die, NULL), 0);
	EXPECT_EQ(in_child(1001, full, NULL), 0);
	set_quota("0");
	EXPECT_EQ(sysfs_number("bytes_allocated"), 0);
}

static void use_other(void *arg)
{
	int theirs = *(int *)arg, own = ctx_open();

	EXPECT_EQ(used(theirs), 0);
	EXPECT_GE(create(theirs, 4 * MIB), 0);
	EXPECT_EQ(used(theirs), 4 * MIB);
	EXPECT_EQ(used(own), 0);
	EXPECT_EQ(create(theirs, 4 * MIB), -EDQUOT);
	EXPECT_GE(create(own, 4 * MIB), 0);
}

/* He pays who opened the device, whoever he lets use it. */
TEST(quota_of_the_opener)
{
	const gid_t device_group = 1234;
	int ctx;

	if (!set_quota("6291456"))
		skip("cannot set the quota");
	ASSERT_EQ(setgroups(1, &device_group), 0);
	setfsuid(1001);
	ctx = ctx_open();
	setfsuid(0);
	EXPECT_EQ(in_child(1002, use_other, &ctx), 0);
	EXPECT_EQ(used(ctx), 0);
	set_quota("0");
}
