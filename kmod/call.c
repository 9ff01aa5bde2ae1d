// SPDX-License-Identifier: GPL-2.0-only
/* The table of calls, and the one place where arguments cross between user and kernel. */

#include <linux/file.h>
#include <linux/nospec.h>
#include <linux/uaccess.h>

#include "kmod.h"

union mc_arg {
	struct mc_ioc_query query;
	struct mc_ioc_region_create create;
	struct mc_ioc_region_pin pin;
	struct mc_ioc_region_import import;
	struct mc_ioc_region_open open;
	struct mc_ioc_region_info info;
	struct mc_ioc_region_publish publish;
	struct mc_ioc_region_revoke revoke;
	struct mc_ioc_region_export export;
	struct mc_ioc_region_mark mark;
	struct mc_ioc_copy copy;
	struct mc_ioc_cq_create cq_create;
	struct mc_ioc_cq_wait cq_wait;
	struct mc_ioc_cq_post cq_post;
	struct mc_ioc_events events;
};

struct mc_call_def {
	int (*fn)(struct mc_call *call);
	u16 size;			/* of this kernel's structure */
	u16 min;			/* of the first version's */
	u16 on;				/* MC_ON_* */
};

#define CALL(name, type, f, where) [_IOC_NR(MC_IOC_##name)] = {					\
	.fn = (f), .size = sizeof(struct type), .on = (where),					\
	.min = MC_##name##_SIZE_VER0 + BUILD_BUG_ON_ZERO(sizeof(struct type) < MC_##name##_SIZE_VER0) }

#define MC_REGION_UNPUBLISH_SIZE_VER0 MC_REGION_PUBLISH_SIZE_VER0
#define MC_CQ_OPEN_POST_SIZE_VER0 MC_REGION_OPEN_SIZE_VER0

static const struct mc_call_def mc_calls[] = {
	CALL(QUERY, mc_ioc_query, mc_query, MC_ON_CTX),
	CALL(REGION_CREATE, mc_ioc_region_create, mc_region_create, MC_ON_CTX),
	CALL(REGION_PIN, mc_ioc_region_pin, mc_region_pin, MC_ON_CTX),
	CALL(REGION_IMPORT, mc_ioc_region_import, mc_region_import, MC_ON_CTX),
	CALL(REGION_OPEN, mc_ioc_region_open, mc_region_open, MC_ON_CTX | MC_ON_REGION),
	CALL(REGION_INFO, mc_ioc_region_info, mc_region_info, MC_ON_CTX | MC_ON_REGION),
	CALL(REGION_PUBLISH, mc_ioc_region_publish, mc_publish, MC_ON_REGION | MC_ON_CQ),
	CALL(REGION_UNPUBLISH, mc_ioc_region_publish, mc_unpublish, MC_ON_CTX | MC_ON_REGION | MC_ON_CQ),
	CALL(REGION_REVOKE, mc_ioc_region_revoke, mc_region_revoke, MC_ON_CTX | MC_ON_REGION),
	CALL(REGION_EXPORT, mc_ioc_region_export, mc_region_export, MC_ON_REGION),
	CALL(REGION_MARK, mc_ioc_region_mark, mc_region_mark, MC_ON_REGION),
	CALL(COPY, mc_ioc_copy, mc_copy, MC_ON_CTX),
	CALL(CQ_CREATE, mc_ioc_cq_create, mc_cq_create, MC_ON_CTX),
	CALL(CQ_WAIT, mc_ioc_cq_wait, mc_cq_wait, MC_ON_CQ),
	CALL(CQ_POST, mc_ioc_cq_post, mc_cq_post, MC_ON_POST),
	CALL(CQ_OPEN_POST, mc_ioc_region_open, mc_cq_open_post, MC_ON_CTX),
	CALL(EVENTS, mc_ioc_events, mc_events, MC_ON_CTX),
};

u64 mc_features(unsigned int word)
{
	if (word)
		return 0;
	return BIT_ULL(MC_FEAT_REGION) | BIT_ULL(MC_FEAT_PUBLISH) | BIT_ULL(MC_FEAT_REVOKE) | BIT_ULL(MC_FEAT_MARK) |
	       BIT_ULL(MC_FEAT_PIN) | BIT_ULL(MC_FEAT_COPY) | BIT_ULL(MC_FEAT_IMPORT_MEMFD) |
	       BIT_ULL(MC_FEAT_EXPORT) | BIT_ULL(MC_FEAT_CQ) | BIT_ULL(MC_FEAT_EVENTS) | BIT_ULL(MC_FEAT_REOPEN) |
	       BIT_ULL(MC_FEAT_CQ_NAMED) | BIT_ULL(MC_FEAT_CQ_SPSC) | BIT_ULL(MC_FEAT_EVENTS_RDMA) |
	       mc_import_features() | (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) ? BIT_ULL(MC_FEAT_HUGE) : 0);
}

bool mc_fd_flags_ok(u32 fd_flags)
{
	u32 mode = fd_flags & O_ACCMODE;

	return !(fd_flags & ~(u32)(O_CLOEXEC | O_ACCMODE)) && (mode == O_RDONLY || mode == O_RDWR);
}

int mc_call_new_file(struct mc_call *call, struct file *file, u32 fd_flags, s32 *out_fd)
{
	int fd = get_unused_fd_flags(fd_flags & O_CLOEXEC);

	if (fd < 0) {
		fput(file);
		return fd;
	}
	call->new_file[call->nr_new] = file;
	call->new_fd[call->nr_new++] = fd;
	*out_fd = fd;
	return 0;
}

static void mc_call_undo(struct mc_call *call)
{
	while (call->nr_new) {
		put_unused_fd(call->new_fd[--call->nr_new]);
		fput(call->new_file[call->nr_new]);
	}
}

long mc_call(struct file *file, unsigned int on, unsigned int cmd, unsigned long arg)
{
	union mc_arg buf;
	struct mc_call call = { .file = file, .on = on, .arg = &buf };
	const struct mc_call_def *def;
	void __user *uarg = (void __user *)arg;
	unsigned int nr = _IOC_NR(cmd);
	u32 size;
	unsigned int i;
	int ret;

	if (cmd != _IO(MC_IOC_MAGIC, nr) || nr >= ARRAY_SIZE(mc_calls))
		return -ENOTTY;
	def = &mc_calls[array_index_nospec(nr, ARRAY_SIZE(mc_calls))];
	if (!def->fn || !(def->on & on))
		return -ENOTTY;

	if (get_user(size, (u32 __user *)uarg))
		return -EFAULT;
	if (size < def->min)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(&buf, def->size, uarg, size);
	if (ret)
		return ret;

	buf.query.size = size;
	ret = def->fn(&call);
	if (!ret && copy_to_user(uarg, &buf, min_t(u32, size, def->size)))
		ret = -EFAULT;
	if (ret) {
		mc_call_undo(&call);
		return ret;
	}
	if (call.commit)
		call.commit(&call);
	for (i = 0; i < call.nr_new; i++)
		fd_install(call.new_fd[i], call.new_file[i]);
	return 0;
}
