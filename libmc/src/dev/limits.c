// SPDX-License-Identifier: Apache-2.0
/* How much memory this process may have, lock, and take in huge pages. */
#include "dev/dev.h"

#include <limits.h>
#include <stdio.h>
#include <sys/resource.h>

#include "dev/text.h"

uint64_t limit_memlock_bytes(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_MEMLOCK, &rl))
		return 0;
	return rl.rlim_cur == RLIM_INFINITY ? UINT64_MAX : (uint64_t)rl.rlim_cur;
}

/* What one control group (version 2) still lets its members have: page cache it could drop counts as free. */
static uint64_t group_room(const char *dir)
{
	char path[PATH_MAX], stat[8192];
	uint64_t max, current, cache = 0;
	const char *p;

	if (snprintf(path, sizeof(path), "%s/memory.max", dir) >= (int)sizeof(path) ||
	    file_u64(path, &max))
		return UINT64_MAX; /* "max", or no such controller */
	snprintf(path, sizeof(path), "%s/memory.current", dir);
	if (file_u64(path, &current))
		return UINT64_MAX;
	snprintf(path, sizeof(path), "%s/memory.stat", dir);
	if (file_text(path, stat, sizeof(stat)) > 0 && (p = strstr(stat, "\ninactive_file ")))
		cache = strtoull(p + 15, NULL, 10);
	current -= MIN(cache, current);
	return max - MIN(current, max);
}

/* Of all groups this process is in, from its own up to the root. */
static uint64_t cgroup_room(void)
{
	char text[4096], dir[PATH_MAX], *p, *end;
	uint64_t room = UINT64_MAX;

	if (file_text("/proc/self/cgroup", text, sizeof(text)) <= 0)
		return room;
	p = strstr(text, "0::/");
	if (!p)
		return room;
	p += 3;
	p[strcspn(p, "\n")] = 0;
	snprintf(dir, sizeof(dir), "/sys/fs/cgroup%s", p);
	while ((end = strrchr(dir, '/')) && end >= dir + strlen("/sys/fs/cgroup")) {
		uint64_t r;

		if (!end[1])
			*end = 0;
		r = group_room(dir);
		room = MIN(room, r);
		*end = 0;
	}
	return MIN(room, group_room("/sys/fs/cgroup"));
}

uint64_t mem_available_bytes(void)
{
	uint64_t room = cgroup_room(), mem = meminfo_bytes("MemAvailable:");

	return MIN(room, mem);
}

uint64_t huge_pages_free_bytes(void)
{
	uint64_t page = meminfo_bytes("Hugepagesize:"), nr_free, reserved, bytes;

	/* These two are counts: no unit behind them. */
	nr_free = meminfo_bytes("HugePages_Free:") / 1024;
	reserved = meminfo_bytes("HugePages_Rsvd:") / 1024;
	if (reserved >= nr_free || check_mul(nr_free - reserved, page, &bytes))
		return 0;
	return bytes;
}

uint64_t giant_pages_free_bytes(void)
{
	static const char dir[] = "/sys/kernel/mm/hugepages/hugepages-1048576kB";
	uint64_t nr_free, reserved = 0, bytes;
	char path[128];

	snprintf(path, sizeof(path), "%s/free_hugepages", dir);
	if (file_u64(path, &nr_free))
		return 0;
	snprintf(path, sizeof(path), "%s/resv_hugepages", dir);
	file_u64(path, &reserved);
	return reserved >= nr_free || check_mul(nr_free - reserved, GiB, &bytes) ? 0 : bytes;
}

uint64_t node_free_bytes(int node)
{
	char path[64], text[4096];
	int64_t unused, cache;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", node);
	if (file_text(path, text, sizeof(text)) <= 0)
		return UINT64_MAX;
	unused = text_kb_bytes(text, " MemFree:");
	cache = text_kb_bytes(text, " Inactive(file):");
	return unused < 0 ? UINT64_MAX : (uint64_t)(unused + MAX(cache, (int64_t)0));
}
