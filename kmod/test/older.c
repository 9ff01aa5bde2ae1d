// SPDX-License-Identifier: GPL-2.0-only
/*
 * A /dev/mooncake of an older release, in place of the real one, by the parameters older_abi and older_features: it says who it is
 * and knows no other call.
 */

#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mooncake.h>
#include <linux/uaccess.h>

#include "mct.h"

static int older_abi = -1;
module_param(older_abi, int, 0444);
MODULE_PARM_DESC(older_abi, "major ABI version of an older /dev/mooncake, which must not be there; -1: none");
static ulong older_features;
module_param(older_features, ulong, 0444);
MODULE_PARM_DESC(older_features, "bits of the features it has");

static long mct_older_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct mc_ioc_query q = { .abi_major = older_abi, .features = { older_features }, .max_batch = 1024 };
	u32 size;

	if (cmd != MC_IOC_QUERY)
		return -ENOTTY;
	if (get_user(size, (u32 __user *)arg))
		return -EFAULT;
	if (size < MC_QUERY_SIZE_VER0)
		return -EINVAL;
	q.size = size;
	return copy_to_user((void __user *)arg, &q, MC_QUERY_SIZE_VER0) ? -EFAULT : 0;
}

static const struct file_operations mct_older_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = mct_older_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice mct_older_dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mooncake",
	.fops = &mct_older_fops,
	.mode = 0600,
};

int mct_older_init(void)
{
	return older_abi < 0 ? 0 : misc_register(&mct_older_dev);
}

void mct_older_exit(void)
{
	if (older_abi >= 0)
		misc_deregister(&mct_older_dev);
}
