// SPDX-License-Identifier: Apache-2.0
/* Where a thread runs and its memory comes from. Without libnuma: two system calls. */
#include <mooncake/memory.h>

#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "dev/dev.h"

#define CPUS_MAX  65536
#define NODES_MAX 1024
#define LONG_BITS (8 * sizeof(unsigned long))

static int run_on(int node)
{
	unsigned long set[CPUS_MAX / LONG_BITS];
	int ret = topo_cpus(NULL, node, set, sizeof(set));

	if (!ret && sched_setaffinity(0, sizeof(set), (const cpu_set_t *)set))
		ret = -errno;
	if (ret == -ENOENT)
		ret = -EINVAL;
	if (ret)
		log_warn("numa node %d: the thread stays where it runs: %s", node, strerror(-ret));
	return ret;
}

static int allocate_from(int node)
{
	unsigned long mask[NODES_MAX / LONG_BITS] = { 0 };
	int ret = -EINVAL;

	if (node >= 0 && node < NODES_MAX) {
		mask[(unsigned)node / LONG_BITS] = 1UL << (unsigned)node % LONG_BITS;
		ret = syscall(SYS_set_mempolicy, MPOL_PREFERRED, mask, NODES_MAX) ? -errno : 0;
	}
	if (ret)
		log_warn("numa node %d: memory comes from any node: %s", node, strerror(-ret));
	return ret;
}

int mc_numa_prefer(int node)
{
	int ran = run_on(node), got = allocate_from(node);

	return ran ? ran : got;
}
