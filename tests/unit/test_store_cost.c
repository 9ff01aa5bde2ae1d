// SPDX-License-Identifier: Apache-2.0
/* What an open store costs the process that opens it, its buffers aside: memory, threads, processor time while nobody calls. */
#include "mctest.h"

#include <dirent.h>
#include <poll.h>

#include "unit/store_rig.h"

static unsigned threads(void)
{
	DIR *d = opendir("/proc/self/task");
	unsigned nr = 0;

	while (d && readdir(d))
		nr++;
	if (d)
		closedir(d);
	return nr;
}

/* The process's own memory and mapped files, without the pool, which is shared memory. */
static size_t resident_kib(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	size_t kib, sum = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %zu kB", &kib) == 1 || sscanf(line, "RssFile: %zu kB", &kib) == 1)
			sum += kib;
	if (f)
		fclose(f);
	return sum;
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
}

TEST(an_open_store)
{
	char value[4096] = { 1 };
	struct mc_store *s;
	unsigned before;
	uint64_t cpu;
	size_t kib;

	NEED_MASTER();
	before = threads();
	kib = resident_kib();
	s = st_open(master.port, 64 * MIB, NULL);
	ASSERT_TRUE(s);
	EXPECT_EQ(st_put(s, "k", value, sizeof(value)), 0);
	EXPECT_EQ(st_get(s, "k", value, sizeof(value)), sizeof(value));
	cpu = cpu_ns();
	poll(NULL, 0, 2000); /* nobody calls */
	cpu = cpu_ns() - cpu;
	printf("# %u threads, %zu KiB, %.2f ms of processor time in 2 s of rest\n", threads() - before, resident_kib() - kib, cpu / 1e6);
	EXPECT_LE(threads() - before, 4);
#ifndef __SANITIZE_ADDRESS__
#ifndef __SANITIZE_THREAD__
	EXPECT_LE(resident_kib() - kib, 30 * 1024);
	EXPECT_LE(cpu, 10 * NSEC_PER_MSEC); /* 0.5 % */
#endif
#endif
	mc_store_close(s);
	EXPECT_EQ(rig_stop(&master, SIGTERM), 0);
}
