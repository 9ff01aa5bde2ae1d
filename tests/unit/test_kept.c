// SPDX-License-Identifier: Apache-2.0
/*
 * Pools with a name: what the next owner finds, in order, after a death, and when what is there is no pool. Most of it needs
 * /dev/mooncake and runs in a guest (tests/vm/test_lib).
 */
#include "mctest.h"
#include "pool_rig.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES (4 * MiB)

static char name[32];

static struct pool_opts opts(void)
{
	if (!name[0]) /* the children are owners of the same pool */
		snprintf(name, sizeof(name), "kept-%d", getpid());
	return (struct pool_opts){ .name = "test", .bytes = BYTES, .region_max = BYTES / 2, .entries = 1024, .keep = name };
}

static bool by_module(void)
{
	return !strcmp(region_backend(), "/dev/mooncake");
}

#define NEED_MODULE()                                    \
	do {                                             \
		if (!by_module())                        \
			SKIP("no /dev/mooncake");        \
	} while (0)

static int open_it(struct pool **p, int *ledger, struct pool_found *f)
{
	struct pool_opts o = opts();

	*ledger = -1;
	return pool_open_kept(&o, p, ledger, f);
}

static void fill(struct pool *p, unsigned nr)
{
	static uint8_t data[5000];
	struct rig_key k;

	for (unsigned i = 0; i < nr; i++) {
		int ret;

		rig_fill(data, sizeof(data), i);
		ret = rig_put(p, rig_key(&k, i), data, sizeof(data), 0);
		EXPECT_TRUE(!ret || ret == -EEXIST);
	}
}

static unsigned right(struct pool *p, unsigned nr)
{
	static uint8_t data[5000];
	unsigned ok = 0;
	struct rig_key k;
	uint64_t size;

	for (unsigned i = 0; i < nr; i++)
		ok += !rig_get(pool_view(p), rig_key(&k, i), data, sizeof(data), &size) && rig_check(data, sizeof(data), i);
	return ok;
}

/* Another process is the owner, fills it, and ends: in order, or as if it had been killed. */
static void owner(unsigned nr, bool in_order)
{
	int status = -1;
	pid_t pid;

	opts(); /* the name */
	fflush(stdout);
	pid = fork();
	if (!pid) {
		struct pool_found f;
		struct pool *p;
		int ledger;

		if (open_it(&p, &ledger, &f))
			_exit(1);
		fill(p, nr);
		if (in_order)
			pool_close(p);
		_exit(mctest_failed);
	}
	waitpid(pid, &status, 0);
	EXPECT_EQ(status, 0);
}

static void forget(void)
{
	opts();
	EXPECT_EQ(pool_forget_kept(name), 0);
	EXPECT_EQ(pool_forget_kept(name), -ENOENT);
}

TEST(names)
{
	struct pool_opts o = opts();
	struct pool_found f;
	struct pool *p = NULL;
	int fd = -1;

	for (int i = 0; i < 4; i++) {
		static const char *const bad[] = { "", "a b", "a/b", "012345678901234567890123456789012345678901234567x" };

		o.keep = bad[i];
		EXPECT_EQ(pool_open_kept(&o, &p, &fd, &f), -EINVAL);
	}
	o = opts();
	EXPECT_EQ(pool_create(&o, &p), -EINVAL); /* the other call is for these */
	if (!by_module()) {
		EXPECT_EQ(pool_open_kept(&o, &p, &fd, &f), -EOPNOTSUPP);
		EXPECT_EQ(pool_forget_kept(name), -EOPNOTSUPP);
	}
	EXPECT_TRUE(!p && fd == -1);
}

TEST(in_order_and_not)
{
	struct pool_found f;
	struct pool *p, *q;
	int ledger, other;

	NEED_MODULE();
	owner(100, true);
	ASSERT_EQ(open_it(&p, &ledger, &f), 0);
	EXPECT_TRUE(f.found && f.clean && f.kept == 100 && !f.lost);
	EXPECT_EQ(right(p, 100), 100);
	EXPECT_EQ(open_it(&q, &other, &f), -EBUSY);
	EXPECT_EQ(pool_forget_kept(name), -EBUSY);
	close(ledger);
	pool_close(p);

	owner(120, false);
	ASSERT_EQ(open_it(&p, &ledger, &f), 0);
	EXPECT_TRUE(f.found && !f.clean && f.kept == 120 && !f.lost);
	EXPECT_EQ(right(p, 120), 120);
	close(ledger);
	pool_close(p);

	ASSERT_EQ(open_it(&p, &ledger, &f), 0);
	EXPECT_TRUE(f.found && f.clean && f.kept == 120);
	EXPECT_EQ(right(p, 120), 120);
	close(ledger);
	pool_close(p);
	forget();
}

/* In the directory a key's header is overwritten: only who checks sees it. */
TEST(dirty_means_checked)
{
	const struct dir_entry *first;
	struct region_lease unused;
	struct region dir, data;
	struct pool_found f;
	struct pool *p;
	char part[64];
	int ledger;

	NEED_MODULE();
	owner(100, false);
	snprintf(part, sizeof(part), "mc-%s-dir", name);
	ASSERT_EQ(region_open(part, false, &dir, &unused), 0);
	first = (void *)((uint8_t *)dir.base + ((struct dir_header *)dir.base)->entries_off);
	snprintf(part, sizeof(part), "mc-%s-%u", name, place_region(first->first));
	ASSERT_EQ(region_open(part, false, &data, &unused), 0);
	/* Its key, behind header and payload. */
	memset((uint8_t *)data.base + place_off(first->first) + sizeof(struct extent_hdr) + first->size, 'x', 4);
	region_close(&data);
	region_close(&dir);
	ASSERT_EQ(open_it(&p, &ledger, &f), 0);
	EXPECT_TRUE(f.found && !f.clean);
	EXPECT_EQ(f.kept, 99u);
	EXPECT_EQ(f.lost, 1u);
	close(ledger);
	pool_close(p);
	forget();
}

static int revoke_region(const char *part)
{
	struct mc_ioc_region_revoke a = { .size = sizeof(a), .fd = -1 };
	struct region_lease unused;
	struct region r;
	char full[64];
	int ret;

	snprintf(full, sizeof(full), "mc-%s-%s", name, part);
	ret = region_open(full, false, &r, &unused);
	if (ret)
		return ret;
	ret = ioctl(r.fd, MC_IOC_REGION_REVOKE, &a) ? -errno : 0;
	region_close(&r);
	return ret;
}

/* What cannot be used makes way for an empty pool; nothing of it is believed. */
static void starts_empty(const char *what)
{
	struct pool_found f;
	struct pool *p;
	int ledger, ret = open_it(&p, &ledger, &f);

	EXPECT_EQ(ret, 0);
	if (ret) {
		printf("# %s\n", what);
		return;
	}
	EXPECT_TRUE(!f.found && !f.kept);
	EXPECT_EQ(right(p, 100), 0);
	fill(p, 100);
	EXPECT_EQ(right(p, 100), 100);
	close(ledger);
	pool_close(p);
}

TEST(ruins)
{
	static const char *const parts[] = { "dir", "0", "1", "ledger" };
	struct region_lease l;
	struct region r;
	char full[64];

	NEED_MODULE();
	opts();
	for (int i = 0; i < 4; i++) {
		owner(100, i & 1);
		EXPECT_EQ(revoke_region(parts[i]), 0);
		starts_empty(parts[i]);
	}
	for (int i = 1; i < 4; i++) {
		snprintf(full, sizeof(full), "mc-%s-%s", name, parts[i]);
		EXPECT_EQ(region_unpublish(full), 0);
		starts_empty(parts[i]);
	}
	/* A region that somebody else made takes the place of ours. */
	snprintf(full, sizeof(full), "mc-%s-1", name);
	EXPECT_EQ(region_unpublish(full), 0);
	ASSERT_EQ(region_create("other", BYTES / 2, REGION_KEEP, -1, &r), 0);
	EXPECT_EQ(region_publish(&r, full, 0600, 0), 0);
	region_close(&r);
	starts_empty("another region");
	/* The owner was killed before the directory said anything. */
	snprintf(full, sizeof(full), "mc-%s-dir", name);
	ASSERT_EQ(region_open(full, true, &r, &l), 0);
	memset(r.base, 0, 8);
	region_close(&r);
	starts_empty("no header");
	forget();
}

/* Order was said in another epoch than the directory's: it does not count. */
TEST(another_epoch)
{
	struct region_lease l;
	struct pool_found f;
	struct region dir;
	struct pool *p;
	char full[64];
	int ledger;

	NEED_MODULE();
	owner(50, true);
	snprintf(full, sizeof(full), "mc-%s-dir", name);
	ASSERT_EQ(region_open(full, true, &dir, &l), 0);
	region_close(&dir); /* a lease that ended without a word */
	ASSERT_EQ(region_open(full, true, &dir, &l), 0);
	EXPECT_TRUE(l.dirty);
	EXPECT_EQ(region_clean(&dir), 0);
	region_close(&dir);
	ASSERT_EQ(open_it(&p, &ledger, &f), 0);
	EXPECT_TRUE(f.found && !f.clean && f.kept == 50);
	close(ledger);
	pool_close(p);
	forget();
}

/* Taken away while it is open: nothing crashes, nothing is found, and it is not called clean. */
TEST(revoked_while_open)
{
	static const char *const parts[] = { "0", "dir" };
	struct pool_found f;
	struct pool *p;
	int ledger;

	NEED_MODULE();
	for (int i = 0; i < 2; i++) {
		static uint8_t data[5000];
		struct rig_key k;

		ASSERT_EQ(open_it(&p, &ledger, &f), 0);
		fill(p, 300);
		EXPECT_TRUE(!pool_revoked(p));
		if (i) { /* the lease's own descriptor does not go to others */
			struct mc_ioc_region_revoke a = { .size = sizeof(a), .fd = -1 };

			EXPECT_EQ(ioctl(pool_view(p)->dir_region.fd, MC_IOC_REGION_REVOKE, &a), 0);
		} else {
			EXPECT_EQ(revoke_region(parts[i]), 0);
		}
		EXPECT_LT(right(p, 300), 300);
		EXPECT_TRUE(pool_revoked(p));
		for (unsigned n = 0; n < 2000; n++) /* evicts, drops, replaces: on zeroes */
			rig_put(p, rig_key(&k, n % 400), data, sizeof(data), n & 1 ? OBJ_REPLACE : 0);
		for (unsigned n = 0; n < 400; n++)
			pool_drop(p, rig_key(&k, n), 0, true, 0, 0);
		close(ledger);
		pool_close(p);
		starts_empty(parts[i]);
	}
	forget();
}
