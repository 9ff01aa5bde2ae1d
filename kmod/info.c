// SPDX-License-Identifier: GPL-2.0-only
/* What can be learnt: QUERY, REGION_INFO, /proc/PID/fdinfo and the attributes in sysfs. */

#include <linux/device.h>
#include <linux/nodemask.h>
#include <linux/sysfs.h>
#include <linux/uaccess.h>

#include "kmod.h"

u64 mc_instance[2];

static u64 mc_page_sizes(void)
{
	return BIT_ULL(PAGE_SHIFT) | (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) ? BIT_ULL(MC_HUGE_SHIFT) : 0);
}

int mc_query(struct mc_call *call)
{
	struct mc_ioc_query *a = call->arg;
	bool unlimited = ns_capable_noaudit(&init_user_ns, CAP_IPC_LOCK);

	if (a->flags || a->rsv)
		return -EINVAL;
	*a = (struct mc_ioc_query){
		.size = a->size,
		.abi_major = MC_ABI_MAJOR,
		.abi_minor = MC_ABI_MINOR,
		.features = { mc_features(0), mc_features(1) },
		.instance = { mc_instance[0], mc_instance[1] },
		.page_sizes = mc_page_sizes(),
		.max_region = MAX_LFS_FILESIZE & PAGE_MASK,
		.quota_bytes = unlimited ? U64_MAX : mc_user_limit(),
		.quota_used = mc_user_bytes(call->file->f_cred->fsuid),
		.max_batch = MC_MAX_BATCH,
		.cq_max_entries = MC_CQ_MAX_ENTRIES,
		.name_max = MC_NAME_MAX,
		.nr_nodes = nr_node_ids,
		.caps = (ns_capable_noaudit(&init_user_ns, CAP_SYS_ADMIN) ? MC_CAP_ADMIN : 0) |
			(unlimited ? MC_CAP_NO_QUOTA : 0),
	};
	return 0;
}

/* Owner and name are read together, so they belong together. */
static void mc_info_named(struct mc_region *r, struct mc_ioc_region_info *a, char *name)
{
	mutex_lock(&mc_names_lock);
	a->uid = from_kuid_munged(current_user_ns(), r->name.uid);
	a->gid = from_kgid_munged(current_user_ns(), r->name.gid);
	a->mode = r->name.mode;
	strscpy(name, r->name.text, MC_NAME_MAX + 1);
	mutex_unlock(&mc_names_lock);
}

void mc_info_read(struct mc_region *r, struct mc_ioc_region_info *a, char *name, bool memory)
{
	struct mc_mem_stat st = {};

	mc_info_named(r, a, name);
	a->state = mc_region_state(r);
	a->id = r->id;
	a->length = r->length;
	a->backing = r->backing;
	a->page_shift = r->page_shift;
	a->node = r->node;
	a->nr_fds = atomic_read(&r->nr_fds);
	a->nr_vmas = atomic_read(&r->nr_vmas);
	a->nr_attach = atomic_read(&r->nr_exports);
	a->owner_pid = mc_name_pid(&r->name);
	if (!memory) {
		/* as it is */
	} else if (r->mem) {
		mc_backing_stat(r->mem, r->mem_offset, r->length, &st);
	} else if (r->import) {
		/* As much as its maker still has, which he would not say. */
		st.resident = mc_region_state(r) & MC_STATE_REVOKED ? 0 : r->length;
	} else {
		mutex_lock(&r->gate_lock);
		st.resident = st.pinned = r->pin ? r->length : 0;
		mutex_unlock(&r->gate_lock);
	}
	a->resident = st.resident;
	a->huge = st.huge;
	a->pinned = st.pinned + atomic64_read(&r->exported);
	mutex_lock(&r->lock);
	a->epoch = r->epoch;
	a->gen = r->gen;
	mutex_unlock(&r->lock);
}

static int mc_info_fill(struct mc_region *r, struct mc_ioc_region_info *a)
{
	char name[MC_NAME_MAX + 1];
	u32 len;

	mc_info_read(r, a, name, true);
	len = strlen(name);
	if (a->name && copy_to_user(u64_to_user_ptr(a->name), name, min(len, a->name_len)))
		return -EFAULT;
	a->name_len = len;
	return 0;
}

static bool mc_may_see(struct mc_region *r)
{
	return uid_eq(current_fsuid(), mc_name_uid(&r->name)) || mc_name_granted_unlocked(&r->name) ||
	       ns_capable_noaudit(&init_user_ns, CAP_SYS_ADMIN);
}

/* By id, or with MC_INFO_NEXT the first above it, of those the caller may see. */
static struct mc_region *mc_info_find(u64 id, bool next)
{
	struct mc_region *r = next ? mc_region_next(id) : mc_region_by_id(id);

	while (!IS_ERR(r) && !mc_may_see(r)) {
		id = r->id;
		mc_region_put(r);
		r = next ? mc_region_next(id) : ERR_PTR(-ENOENT);
	}
	return r;
}

int mc_region_info(struct mc_call *call)
{
	struct mc_ioc_region_info *a = call->arg;
	struct mc_region *r;
	int ret;

	if (a->flags & ~MC_INFO_NEXT || a->rsv || (!a->name && a->name_len))
		return -EINVAL;
	if (call->on == MC_ON_REGION || a->fd != -1) {
		if (a->flags || a->id)
			return -EINVAL;
		r = mc_region_of(call, a->fd);
	} else {
		r = mc_info_find(a->id, a->flags & MC_INFO_NEXT);
	}
	if (IS_ERR(r))
		return PTR_ERR(r);
	ret = mc_info_fill(r, a);
	mc_region_put(r);
	return ret;
}

void mc_region_fdinfo(struct seq_file *m, struct file *file)
{
	struct mc_handle *h = file->private_data;
	struct mc_region *r = h->region;

	seq_printf(m, "mc-id:\t%llu\nmc-length:\t%llu\nmc-node:\t%d\nmc-state:\t%#x\nmc-vmas:\t%d\nmc-writer:\t%d\n",
		   r->id, r->length, r->node, mc_region_state(r), atomic_read(&r->nr_vmas), h->lease);
}

static ssize_t abi_version_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u.%u\n", MC_ABI_MAJOR, MC_ABI_MINOR);
}
static DEVICE_ATTR_RO(abi_version);

static ssize_t features_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%016llx%016llx\n", mc_features(1), mc_features(0));
}
static DEVICE_ATTR_RO(features);

static ssize_t regions_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", mc_region_count());
}
static DEVICE_ATTR_RO(regions);

static ssize_t bytes_allocated_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", mc_total_bytes());
}
static DEVICE_ATTR_RO(bytes_allocated);

static ssize_t bytes_pinned_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", mc_pinned_bytes());
}
static DEVICE_ATTR_RO(bytes_pinned);

static ssize_t quota_default_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", mc_user_limit());
}

static ssize_t quota_default_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t len)
{
	u64 bytes;
	int ret = kstrtou64(buf, 0, &bytes);

	if (ret)
		return ret;
	mc_user_set_limit(bytes);
	return len;
}
static DEVICE_ATTR_RW(quota_default);

static struct attribute *mc_dev_attrs[] = {
	&dev_attr_abi_version.attr,
	&dev_attr_features.attr,
	&dev_attr_regions.attr,
	&dev_attr_bytes_allocated.attr,
	&dev_attr_bytes_pinned.attr,
	&dev_attr_quota_default.attr,
	NULL
};
static const struct attribute_group mc_dev_group = { .attrs = mc_dev_attrs };

const struct attribute_group *mc_dev_groups[] = { &mc_dev_group, NULL };
