// SPDX-License-Identifier: Apache-2.0
/* Limits of memory: plausible, and following what the process is given. */
#include "mctest.h"
#include "dev/dev.h"

#include <sys/resource.h>
#include <unistd.h>

TEST(memlock)
{
	struct rlimit was, now;

	ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &was), 0);
	now = was;
	now.rlim_cur = 64 * KiB;
	ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &now), 0);
	EXPECT_EQ(limit_memlock_bytes(), 64 * KiB);
	setrlimit(RLIMIT_MEMLOCK, &was);
	if (was.rlim_cur == RLIM_INFINITY)
		EXPECT_EQ(limit_memlock_bytes(), UINT64_MAX);
}

TEST(memory)
{
	uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	EXPECT_GT(mem_available_bytes(), 0u);
	EXPECT_LE(mem_available_bytes(), all);
	EXPECT_LE(huge_pages_free_bytes(), all);
}
