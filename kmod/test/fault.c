// SPDX-License-Identifier: GPL-2.0-only
/*
 * Failures on demand, at the points that mooncake_test.h names: a counter, and where the kernel has fault injection also
 * its attributes, in debugfs under mooncake_test and by the parameter `fault`.
 */

#include <linux/debugfs.h>
#include <linux/fault-inject.h>
#include <linux/module.h>
#include <linux/spinlock.h>

#include "mct.h"

static const char *const mct_names[MCT_NR_FAIL] = { "attach", "pin", "map", "mmap", "p2p" };

static DEFINE_SPINLOCK(mct_fail_lock);
static struct mct_fail mct_fails[MCT_NR_FAIL];	/* guarded by mct_fail_lock */

long mct_fault_set(const struct mct_fail *f)
{
	if (f->point >= MCT_NR_FAIL || f->err >= 0 || f->err < -MAX_ERRNO)
		return -EINVAL;
	spin_lock(&mct_fail_lock);
	mct_fails[f->point] = *f;
	spin_unlock(&mct_fail_lock);
	return 0;
}

static int mct_counted(unsigned int point)
{
	struct mct_fail *f = &mct_fails[point];
	int err = 0;

	spin_lock(&mct_fail_lock);
	if (f->times && f->skip) {
		f->skip--;
	} else if (f->times) {
		f->times--;
		err = f->err;
	}
	spin_unlock(&mct_fail_lock);
	return err;
}

#ifdef CONFIG_FAULT_INJECTION
static char *fault;
module_param(fault, charp, 0444);
MODULE_PARM_DESC(fault, "interval,probability,space,times for every point");

static struct fault_attr mct_attrs[MCT_NR_FAIL];
static struct dentry *mct_dir;

void mct_fault_init(void)
{
	unsigned int i;

	mct_dir = debugfs_create_dir("mooncake_test", NULL);
	for (i = 0; i < MCT_NR_FAIL; i++) {
		mct_attrs[i] = (struct fault_attr)FAULT_ATTR_INITIALIZER;
		if (fault)
			setup_fault_attr(&mct_attrs[i], fault);
#ifdef CONFIG_FAULT_INJECTION_DEBUG_FS
		fault_create_debugfs_attr(mct_names[i], mct_dir, &mct_attrs[i]);
#endif
	}
}

void mct_fault_exit(void)
{
	debugfs_remove_recursive(mct_dir);
}

int mct_fault(unsigned int point)
{
	int err = mct_counted(point);

	return !err && should_fail(&mct_attrs[point], 1) ? -ENOMEM : err;
}
#else
void mct_fault_init(void)
{
	BUILD_BUG_ON(ARRAY_SIZE(mct_names) != MCT_NR_FAIL);
}

void mct_fault_exit(void)
{
}

int mct_fault(unsigned int point)
{
	return mct_counted(point);
}
#endif
