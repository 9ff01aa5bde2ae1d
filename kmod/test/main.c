// SPDX-License-Identifier: GPL-2.0-only
/* mooncake_test.ko: the device its parts are reached through. Never installed. */

#include <linux/dma-mapping.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "../compat.h"
#include "mct.h"

static struct platform_device *mct_pdev;

struct device *mct_device(void)
{
	return &mct_pdev->dev;
}

union mct_arg {
	struct mct_attach attach;
	struct mct_word word;
	struct mct_stat stat;
	struct mct_verify verify;
	struct mct_gpu gpu;
	struct mct_gpu_op gpu_op;
	struct mct_p2p p2p;
	struct mct_fail fail;
};

/* On the file's own importer. */
static long mct_own(struct mct *t, unsigned int cmd, union mct_arg *a)
{
	switch (cmd) {
	case MCT_ATTACH:
		return mct_attach(t, &a->attach);
	case MCT_PEEK:
		return mct_word(t, &a->word, false);
	case MCT_POKE:
		return mct_word(t, &a->word, true);
	case MCT_STAT:
		return mct_stat(t, &a->stat);
	case MCT_REMAP:
		return mct_remap(t);
	case MCT_UNMAP:
		return mct_unmap(t);
	case MCT_VERIFY:
		return mct_verify(t, &a->verify);
	}
	return -ENOTTY;
}

static long mct_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct mct *t = file->private_data;
	union mct_arg a = {};
	long ret;

	if (_IOC_SIZE(cmd) > sizeof(a))
		return -ENOTTY;
	if (_IOC_DIR(cmd) & _IOC_WRITE && copy_from_user(&a, (void __user *)arg, _IOC_SIZE(cmd)))
		return -EFAULT;
	switch (cmd) {
	case MCT_GPU:
		ret = mct_gpu(&a.gpu);
		break;
	case MCT_GPU_OP:
		ret = mct_gpu_op(&a.gpu_op);
		break;
	case MCT_P2P:
		ret = mct_p2p(t, &a.p2p);
		break;
	case MCT_FAIL:
		ret = mct_fault_set(&a.fail);
		break;
	default:
		mutex_lock(&t->lock);
		ret = mct_own(t, cmd, &a);
		mutex_unlock(&t->lock);
	}
	if (!ret && _IOC_DIR(cmd) & _IOC_READ && copy_to_user((void __user *)arg, &a, _IOC_SIZE(cmd)))
		ret = -EFAULT;
	return ret;
}

static int mct_open(struct inode *inode, struct file *file)
{
	struct mct *t = kzalloc(sizeof(*t), GFP_KERNEL);

	if (!t)
		return -ENOMEM;
	mutex_init(&t->lock);
	file->private_data = t;
	return 0;
}

static int mct_release(struct inode *inode, struct file *file)
{
	struct mct *t = file->private_data;

	mct_detach(t);
	mct_p2p_release(t);
	kfree(t);
	return 0;
}

static const struct file_operations mct_fops = {
	.owner = THIS_MODULE,
	.open = mct_open,
	.release = mct_release,
	.unlocked_ioctl = mct_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice mct_dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mooncake-test",
	.fops = &mct_fops,
	.mode = 0600,
};

static int __init mct_init(void)
{
	int ret;

	mct_pdev = platform_device_register_simple("mooncake-test", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(mct_pdev))
		return PTR_ERR(mct_pdev);
	dma_set_max_seg_size(&mct_pdev->dev, UINT_MAX);
	ret = dma_coerce_mask_and_coherent(&mct_pdev->dev, DMA_BIT_MASK(64));
	if (!ret)
		ret = misc_register(&mct_dev);
	if (ret)
		goto err_pdev;
	ret = mct_older_init();
	if (ret)
		goto err_dev;
	mct_fault_init();
	return 0;

err_dev:
	misc_deregister(&mct_dev);
err_pdev:
	platform_device_unregister(mct_pdev);
	return ret;
}

static void __exit mct_exit(void)
{
	mct_older_exit();
	misc_deregister(&mct_dev);
	mct_fault_exit();
	mct_p2p_exit();
	platform_device_unregister(mct_pdev);
}

module_init(mct_init);
module_exit(mct_exit);
MODULE_DESCRIPTION("Mooncake: fake devices for tests");
MODULE_LICENSE("GPL");
MC_IMPORT_NS_DMA_BUF;
