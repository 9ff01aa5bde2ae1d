// SPDX-License-Identifier: Apache-2.0
/* Memory of this process that /dev/mooncake lets another copy to and from, where the kernel lets nobody look into processes. */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "dev/region.h"

#define SHARE_VECS 512 /* of one call, below every module's max_batch: bounds the stack this takes */

int share_device(void)
{
	const uint64_t want = (uint64_t)1 << MC_FEAT_PIN | (uint64_t)1 << MC_FEAT_COPY;
	struct mc_ioc_query q = { .size = sizeof(q) };
	int fd = region_source_is_off() ? -1 : module_fd();

	return fd >= 0 && !ioctl(fd, MC_IOC_QUERY, &q) && (q.features[0] & want) == want && q.max_batch >= SHARE_VECS ? fd : -1;
}

int share_memory(uint64_t addr, uint64_t len, int *fd)
{
	struct mc_ioc_region_pin a = {
		.size = sizeof(a), .addr = addr, .length = len, .fd_flags = O_RDWR | O_CLOEXEC
	};

	if (ioctl(module_fd(), MC_IOC_REGION_PIN, &a))
		return -errno;
	*fd = a.out_fd;
	return 0;
}

void share_end(int fd)
{
	struct mc_ioc_region_revoke a = { .size = sizeof(a), .fd = -1 };

	/* It is ours and cannot fail but for a region that was revoked before. */
	ioctl(fd, MC_IOC_REGION_REVOKE, &a);
	close(fd);
}

static struct mc_copy_vec copy_vec(int fd, bool write, const struct process_vec *v, uint64_t skip)
{
	const struct mc_sge mine = { MC_SGE_USER, -1, (uintptr_t)v->local + skip, v->len - skip, { 0 } };
	const struct mc_sge theirs = { MC_SGE_REGION, fd, v->remote + skip, v->len - skip, { 0 } };

	return write ? (struct mc_copy_vec){ mine, theirs } : (struct mc_copy_vec){ theirs, mine };
}

/* Goes on where the call stopped: at a signal, or for good, and then the next call moves nothing and says why. */
int share_copy(int fd, bool write, const struct process_vec *v, unsigned nr)
{
	struct mc_copy_vec vec[SHARE_VECS];
	uint64_t done = 0; /* of v[at] */
	unsigned at = 0;

	while (at < nr) {
		struct mc_ioc_copy a = { .size = sizeof(a), .vec = (uintptr_t)vec, .cq_fd = -1 };

		for (unsigned i = at; i < nr && a.nr < SHARE_VECS; i++)
			vec[a.nr++] = copy_vec(fd, write, &v[i], i == at ? done : 0);
		if (ioctl(module_fd(), MC_IOC_COPY, &a)) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		for (done += a.out_bytes; at < nr && done >= v[at].len; at++)
			done -= v[at].len;
	}
	return 0;
}
