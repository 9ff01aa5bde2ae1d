// SPDX-License-Identifier: GPL-2.0-only
/* REGION_IMPORT: memory that somebody else made, for now memfds. It stays theirs too; we see to names, copies, access. */

#include <linux/file.h>

#include "kmod.h"

static int mc_import_check(const struct mc_ioc_region_import *a)
{
	u64 end;

	if (a->flags & ~MC_REGION_PERSIST_OK || a->rsv || !mc_fd_flags_ok(a->fd_flags))
		return -EINVAL;
	if (!a->length || !PAGE_ALIGNED(a->offset) || !PAGE_ALIGNED(a->length) ||
	    check_add_overflow(a->offset, a->length, &end) || end > MAX_LFS_FILESIZE)
		return -EINVAL;
	if (a->kind == MC_IMPORT_DMABUF)
		return -EOPNOTSUPP;
	if (a->kind != MC_IMPORT_MEMFD || a->cq_fd != -1 || a->user_data)
		return -EINVAL;
	return 0;
}

static int mc_import_memfd(struct mc_call *call, struct mc_ioc_region_import *a, struct file *file)
{
	bool writable = (a->fd_flags & O_ACCMODE) == O_RDWR;
	struct mc_region *r;
	struct file *mem;
	int ret;

	mem = mc_backing_adopt(file, a->offset + a->length, writable);
	if (IS_ERR(mem))
		return PTR_ERR(mem);
	r = mc_region_new(call->file->f_cred, a->length, a->flags, a->length);
	if (IS_ERR(r)) {
		fput(mem);
		return PTR_ERR(r);
	}
	r->backing = MC_BACKING_MEMFD;
	r->mem = mem;
	r->mem_offset = a->offset;
	r->adopted = true;
	ret = mc_region_show(call, r, a->fd_flags, &a->out_fd, &a->out_id);
	mc_region_put(r);
	return ret;
}

int mc_region_import(struct mc_call *call)
{
	struct mc_ioc_region_import *a = call->arg;
	struct file *file;
	int ret;

	ret = mc_import_check(a);
	if (ret)
		return ret;
	file = fget(a->fd);
	if (!file)
		return -EBADF;
	ret = mc_import_memfd(call, a, file);
	fput(file);
	return ret;
}
