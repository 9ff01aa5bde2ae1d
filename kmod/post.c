// SPDX-License-Identifier: GPL-2.0-only
/* Post files: the right to put entries into somebody else's queue, passed on like any descriptor. */

#include <linux/anon_inodes.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "kmod.h"

static int mc_post_release(struct inode *inode, struct file *file)
{
	mc_cq_poster_del(file->private_data);
	return 0;
}

static __poll_t mc_post_poll(struct file *file, poll_table *wait)
{
	return mc_cq_poll_post(file->private_data, file, wait);
}

static long mc_post_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return mc_call(file, MC_ON_POST, cmd, arg);
}

static const struct file_operations mc_post_fops = {
	.owner = THIS_MODULE,
	.release = mc_post_release,
	.unlocked_ioctl = mc_post_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.poll = mc_post_poll,
	.llseek = noop_llseek,
};

struct file *mc_post_file(struct mc_cq *cq)
{
	struct file *file;

	mc_cq_poster_add(cq);
	file = anon_inode_getfile("[mooncake:post]", &mc_post_fops, cq, O_RDWR);
	if (IS_ERR(file))
		mc_cq_poster_del(cq);
	return file;
}

int mc_cq_post(struct mc_call *call)
{
	struct mc_ioc_cq_post *a = call->arg;
	struct mc_cqe *cqe;
	int ret = 0;
	u32 i;

	if (a->flags || a->post_fd != -1 || a->rsv || !a->nr)
		return -EINVAL;
	if (a->nr > MC_MAX_BATCH)
		return -E2BIG;
	cqe = vmemdup_user(u64_to_user_ptr(a->vec), a->nr * sizeof(*cqe));
	if (IS_ERR(cqe))
		return PTR_ERR(cqe);
	/* Only the module says anything but NOTIFY, so that the rest can be believed. */
	for (i = 0; i < a->nr; i++)
		if (cqe[i].type != MC_CQE_NOTIFY || cqe[i].flags & ~MC_CQE_F_MORE)
			ret = -EINVAL;
	if (!ret)
		ret = mc_cq_push(call->file->private_data, cqe, a->nr);
	kvfree(cqe);
	if (ret < 0)
		return ret;
	a->out_posted = ret;
	return 0;
}
