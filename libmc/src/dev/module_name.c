// SPDX-License-Identifier: Apache-2.0
/* Regions with names, which outlive every process, and the lease of the one that writes to them. */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "dev/region.h"

static uint64_t pointer(const char *name)
{
	return (uint64_t)(uintptr_t)name;
}

int region_publish(const struct region *r, const char *name, unsigned mode, gid_t group)
{
	struct mc_ioc_region_publish a = {
		.size = sizeof(a),
		.fd = -1,
		.mode = mode,
		.uid = UINT32_MAX,
		.gid = group ? group : UINT32_MAX,
		.name = pointer(name),
		.name_len = (uint32_t)strlen(name),
	};

	if (r->ops != &region_module)
		return -EOPNOTSUPP;
	return ioctl(r->fd, MC_IOC_REGION_PUBLISH, &a) ? -errno : 0;
}

int region_open(const char *name, bool lease, struct region *out, struct region_lease *st)
{
	struct mc_ioc_region_open a = {
		.size = sizeof(a),
		.name = pointer(name),
		.name_len = (uint32_t)strlen(name),
		.access = MC_ACCESS_R | MC_ACCESS_W | (lease ? MC_ACCESS_EXCL_WRITER : 0),
		.fd_flags = O_CLOEXEC,
	};
	int ret;

	if (strcmp(region_backend(), region_module.name) != 0)
		return -EOPNOTSUPP;
	if (ioctl(module_fd(), MC_IOC_REGION_OPEN, &a))
		return -errno;
	ret = region_map(a.out_fd, a.out_length, true, out);
	if (ret)
		return ret;
	*st = (struct region_lease){ .epoch = a.out_epoch, .dirty = a.out_state & MC_STATE_DIRTY };
	return 0;
}

int region_clean(const struct region *r)
{
	struct mc_ioc_region_mark a = { .size = sizeof(a), .fd = -1, .op = MC_MARK_CLEAN };

	if (r->ops != &region_module)
		return -EOPNOTSUPP;
	return ioctl(r->fd, MC_IOC_REGION_MARK, &a) ? -errno : 0;
}

int region_unpublish(const char *name)
{
	struct mc_ioc_region_publish a = { .size = sizeof(a), .fd = -1, .name = pointer(name), .name_len = (uint32_t)strlen(name) };

	if (strcmp(region_backend(), region_module.name) != 0)
		return -EOPNOTSUPP;
	return ioctl(module_fd(), MC_IOC_REGION_UNPUBLISH, &a) ? -errno : 0;
}
