// SPDX-License-Identifier: GPL-2.0-only
/* QUERY, and what every call has in common: numbers, sizes, files it is issued on. */

#include "harness.h"

static const struct mc_ioc_query good = { .size = sizeof(struct mc_ioc_query) };

TEST(query_valid)
{
	struct mc_ioc_query a = good, b = good;
	int ctx = ctx_open();

	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_QUERY, &a)), 0);
	EXPECT_EQ(a.size, sizeof(a));
	EXPECT_EQ(a.abi_major, MC_ABI_MAJOR);
	EXPECT_NE(a.features[0] & 1u << MC_FEAT_REGION, 0);
	EXPECT_EQ(a.features[1], 0);
	EXPECT_NE(a.instance[0] | a.instance[1], 0);
	EXPECT_NE(a.page_sizes & 1u << 12, 0);
	EXPECT_NE(a.max_region, 0);
	EXPECT_EQ(a.name_max, MC_NAME_MAX);
	EXPECT_GE(a.nr_nodes, 1);
	EXPECT_EQ(a.caps, MC_CAP_ADMIN | MC_CAP_NO_QUOTA);
	EXPECT_EQ(a.quota_bytes, ~0ull);
	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_QUERY, &b)), 0);
	EXPECT_EQ(memcmp(&a, &b, sizeof(a)), 0);
}

TEST(query_wrong)
{
	int ctx = ctx_open(), r = region(ctx, 4096, 0);

	CHECK_WRONG(ctx, MC_IOC_QUERY, good,
		    WRONG(mc_ioc_query, flags, 1, EINVAL), WRONG(mc_ioc_query, flags, 0x80000000, EINVAL),
		    WRONG(mc_ioc_query, rsv, 1, EINVAL));
	check_sizes(ctx, MC_IOC_QUERY, &good, sizeof(good), r);
}

/* A newer program: a longer structure with a zero tail is served, and the tail stays as it was. */
TEST(query_longer)
{
	struct { struct mc_ioc_query q; uint64_t tail[2]; } a = { .q.size = sizeof(a) };

	ASSERT_EQ(SYS(ioctl(ctx_open(), MC_IOC_QUERY, &a)), 0);
	EXPECT_EQ(a.q.size, sizeof(a));
	EXPECT_EQ(a.tail[0] | a.tail[1], 0);
	EXPECT_NE(a.q.max_region, 0);
}

TEST(query_read_only_page)
{
	struct mc_ioc_query *a = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*a = good;
	mprotect(a, 4096, PROT_READ);
	EXPECT_EQ(SYS(ioctl(ctx_open(), MC_IOC_QUERY, a)), -EFAULT);
}

/* Numbers nobody has; also the right number under another encoding. */
TEST(unknown_numbers)
{
	const unsigned int later[] = { 0x0b, 0x0f, 0x10, 0x11, 0x13, 0x1c, 0x21, 0x28, 0x3f, 0xff };
	struct mc_ioc_query a = good;
	char arg[128] = { sizeof(arg) };
	int ctx = ctx_open(), r = region(ctx, 4096, 0);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(later); i++) {
		EXPECT_EQ(SYS(ioctl(ctx, MC_IOC(later[i]), arg)), -ENOTTY);
		EXPECT_EQ(SYS(ioctl(r, MC_IOC(later[i]), arg)), -ENOTTY);
	}
	EXPECT_EQ(SYS(ioctl(ctx, _IOWR(MC_IOC_MAGIC, 0, struct mc_ioc_query), &a)), -ENOTTY);
	EXPECT_EQ(SYS(ioctl(ctx, _IO(0xC5, 0), &a)), -ENOTTY);
}

/* A feature bit that is set names calls that are there, one that is not set names calls that are ENOTTY. */
TEST(features_match_calls)
{
	static const struct { int bit; unsigned int nr; int on_region; } calls[] = {
		{ MC_FEAT_REGION, 0x01, 0 }, { MC_FEAT_REGION, 0x05, 0 }, { MC_FEAT_REGION, 0x05, 1 },
		{ MC_FEAT_PUBLISH, 0x04, 0 }, { MC_FEAT_REOPEN, 0x04, 1 }, { MC_FEAT_PUBLISH, 0x06, 1 }, { MC_FEAT_PUBLISH, 0x07, 0 },
		{ MC_FEAT_REVOKE, 0x08, 0 }, { MC_FEAT_REVOKE, 0x08, 1 }, { MC_FEAT_MARK, 0x0a, 1 },
		{ MC_FEAT_PIN, 0x02, 0 }, { MC_FEAT_EXPORT, 0x09, 1 }, { MC_FEAT_COPY, 0x12, 0 },
		{ MC_FEAT_CQ, 0x18, 0 }, { MC_FEAT_CQ_NAMED, 0x1b, 0 }, { MC_FEAT_EVENTS, 0x20, 0 },
		{ MC_FEAT_GRANT, 0x10, 1 },
	};
	struct mc_ioc_query a = good;
	int ctx = ctx_open(), r = region(ctx, 4096, 0);
	uint32_t size = 4;
	size_t i;

	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_QUERY, &a)), 0);
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		if (SYS(ioctl(calls[i].on_region ? r : ctx, MC_IOC(calls[i].nr), &size)) !=
		    (a.features[0] >> calls[i].bit & 1 ? -EINVAL : -ENOTTY))
			FAIL("call %#x: feature %d and the call disagree", calls[i].nr, calls[i].bit);
}
