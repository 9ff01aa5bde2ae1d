// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fake device, for tests: imports a dma-buf and reads and writes it by DMA address, as a NIC would. Works where DMA
 * addresses are physical ones, which is so in the guests it is made for.
 */

#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "mooncake_test.h"

struct mct {
	struct mutex lock;
	struct dma_buf *buf;
	struct dma_buf_attachment *at;
	struct sg_table *sgt;
	enum dma_data_direction dir;
};

static struct platform_device *mct_pdev;

static long mct_attach(struct mct *t, struct mct_attach *a)
{
	long ret;

	if (t->buf)
		return -EBUSY;
	if (a->dir > DMA_FROM_DEVICE)
		return -EINVAL;
	t->buf = dma_buf_get(a->fd);
	if (IS_ERR(t->buf)) {
		ret = PTR_ERR(t->buf);
		goto err_clear;
	}
	t->at = dma_buf_attach(t->buf, &mct_pdev->dev);
	if (IS_ERR(t->at)) {
		ret = PTR_ERR(t->at);
		goto err_put;
	}
	t->dir = a->dir;
	t->sgt = dma_buf_map_attachment_unlocked(t->at, t->dir);
	if (IS_ERR(t->sgt)) {
		ret = PTR_ERR(t->sgt);
		goto err_detach;
	}
	a->out_entries = t->sgt->nents;
	a->out_bytes = t->buf->size;
	return 0;

err_detach:
	dma_buf_detach(t->buf, t->at);
err_put:
	dma_buf_put(t->buf);
err_clear:
	t->buf = NULL;
	return ret;
}

static u64 *mct_at(struct mct *t, u64 offset)
{
	struct scatterlist *sg;
	int i;

	if (!t->buf || offset % 8 || offset >= t->buf->size)
		return NULL;
	for_each_sgtable_dma_sg(t->sgt, sg, i) {
		if (offset < sg_dma_len(sg))
			return phys_to_virt(sg_dma_address(sg) + offset);
		offset -= sg_dma_len(sg);
	}
	return NULL;
}

static long mct_word(struct mct *t, struct mct_word *w, bool write)
{
	u64 *p = mct_at(t, w->offset);

	if (!p)
		return -EINVAL;
	if (write)
		*p = w->value;
	else
		w->value = *p;
	return 0;
}

static long mct_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct mct *t = file->private_data;
	union {
		struct mct_attach attach;
		struct mct_word word;
	} a;
	long ret = -ENOTTY;

	if (_IOC_SIZE(cmd) > sizeof(a) || copy_from_user(&a, (void __user *)arg, _IOC_SIZE(cmd)))
		return -EFAULT;
	mutex_lock(&t->lock);
	if (cmd == MCT_ATTACH)
		ret = mct_attach(t, &a.attach);
	else if (cmd == MCT_PEEK || cmd == MCT_POKE)
		ret = mct_word(t, &a.word, cmd == MCT_POKE);
	mutex_unlock(&t->lock);
	if (!ret && copy_to_user((void __user *)arg, &a, _IOC_SIZE(cmd)))
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

	if (t->buf) {
		dma_buf_unmap_attachment_unlocked(t->at, t->sgt, t->dir);
		dma_buf_detach(t->buf, t->at);
		dma_buf_put(t->buf);
	}
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
		platform_device_unregister(mct_pdev);
	return ret;
}

static void __exit mct_exit(void)
{
	misc_deregister(&mct_dev);
	platform_device_unregister(mct_pdev);
}

module_init(mct_init);
module_exit(mct_exit);
MODULE_DESCRIPTION("Mooncake: a fake device for tests");
MODULE_LICENSE("GPL");
MC_IMPORT_NS_DMA_BUF;
