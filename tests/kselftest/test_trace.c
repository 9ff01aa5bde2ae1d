// SPDX-License-Identifier: GPL-2.0-only
/* The tracepoints tell what happened. */

#include "cq.h"

#define TRACE "/sys/kernel/tracing/"

static bool put(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_TRUNC);
	bool ok = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);

	close(fd);
	return ok;
}

TEST(tracepoints)
{
	static const char *const want[] = { "mc_region_create: id ", "length 65536 backing 2 node -1", "mc_region_punch: id ",
		"offset 0 length 4096 ret 0", "mc_copy: nr 1 bytes 8 index -1 error 0", "mc_region_revoke: id ",
		"mc_cq_lost: cq ", "mc_region_free: id " };
	char word[8] = "", *text = calloc(1, MIB);
	struct mc_copy_vec v = { { .kind = MC_SGE_USER, .fd = -1, .addr = UPTR(word), .length = 8 },
				 { .kind = MC_SGE_REGION, .length = 8 } };
	struct mc_ioc_copy c = { .size = sizeof(c), .vec = UPTR(&v), .nr = 1, .cq_fd = -1 };
	struct cq q = cq_simple(1, MC_CQ_DROP_COUNT);
	int ctx = ctx_open(), r, fd;
	size_t i, n = 0;
	ssize_t got;

	if (!put(TRACE "events/mooncake/enable", "1"))
		skip("no tracefs");
	put(TRACE "trace", "");
	r = region(ctx, 65536, 0);
	v.dst.fd = r;
	EXPECT_EQ(SYS(ioctl(ctx, MC_IOC_COPY, &c)), 0);
	EXPECT_EQ(mark(r, MC_MARK_PUNCH, 0, 4096), 0);
	EXPECT_EQ(revoke_region(r), 0);
	close(r);
	post_data(q.post, 1);
	post_data(q.post, 2);
	put(TRACE "events/mooncake/enable", "0");
	fd = open(TRACE "trace", O_RDONLY);
	while ((got = read(fd, text + n, MIB - n - 1)) > 0)
		n += got;
	for (i = 0; i < ARRAY_SIZE(want); i++)
		if (!strstr(text, want[i]))
			FAIL("no \"%s\" in the trace", want[i]);
}
