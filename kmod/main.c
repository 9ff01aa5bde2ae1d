// SPDX-License-Identifier: GPL-2.0-only
/* Loading and unloading, and the device itself. */

#include <linux/dma-mapping.h>
#include <linux/kobject.h>
#include <linux/miscdevice.h>
#include <linux/random.h>

#include "kmod.h"
#include "netlink.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

static long mc_dev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return mc_call(file, MC_ON_CTX, cmd, arg);
}

static int mc_dev_open(struct inode *inode, struct file *file)
{
	struct mc_ctx *ctx = mc_ctx_new(file);

	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	file->private_data = ctx;
	return 0;
}

static int mc_dev_release(struct inode *inode, struct file *file)
{
	mc_ctx_free(file->private_data);
	return 0;
}

static const struct file_operations mc_dev_fops = {
	.owner = THIS_MODULE,
	.open = mc_dev_open,
	.release = mc_dev_release,
	.unlocked_ioctl = mc_dev_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
#ifdef CONFIG_PROC_FS
	.show_fdinfo = mc_ctx_fdinfo,
#endif
	.llseek = noop_llseek,
};

static struct miscdevice mc_dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mooncake",
	.fops = &mc_dev_fops,
	.groups = mc_dev_groups,
	.mode = 0600,			/* udev gives it to the group */
};

void mc_dev_uevent(char **env)
{
	kobject_uevent_env(&mc_dev.this_device->kobj, KOBJ_CHANGE, env);
}

/* To be an importer that exporters can map for, in pieces of any length: it reads none of them. */
static int mc_dma_init(struct device *dev)
{
	static struct device_dma_parameters parms;

	dev->dma_parms = &parms;
	dma_set_max_seg_size(dev, UINT_MAX);
	return dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(64));
}

struct device *mc_dma_device(void)
{
	return mc_dev.this_device;
}

static int __init mc_init(void)
{
	int ret;

	get_random_bytes(mc_instance, sizeof(mc_instance));
	ret = mc_backing_init();
	if (ret)
		return ret;
	ret = mc_import_init();
	if (ret)
		goto err_backing;
	/* Before anything can happen that it would tell. */
	ret = mc_nl_init();
	if (ret)
		goto err_import;
	ret = misc_register(&mc_dev);
	if (ret)
		goto err_nl;
	ret = mc_dma_init(mc_dev.this_device);
	if (ret)
		goto err_misc;
	return 0;

err_misc:
	misc_deregister(&mc_dev);
err_nl:
	mc_nl_exit();
err_import:
	mc_import_exit();
err_backing:
	mc_backing_exit();
	return ret;
}

static void __exit mc_exit(void)
{
	misc_deregister(&mc_dev);
	mc_nl_exit();
	mc_regions_check_empty();
	mc_import_exit();
	mc_backing_exit();
}

module_init(mc_init);
module_exit(mc_exit);
MODULE_DESCRIPTION("Mooncake: memory regions that outlive processes");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
