// SPDX-License-Identifier: GPL-2.0-only
/* Regions, the files that stand for them, and the writer's lease. */

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/log2.h>
#include <linux/nodemask.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "kmod.h"
#include "trace.h"

/* Every region that lives, by id. A region leaves before it is freed, so under xa_lock what is found is there. */
static DEFINE_XARRAY(mc_regions);
static atomic_t mc_nr_regions = ATOMIC_INIT(0);

void mc_region_get(struct mc_region *r)
{
	kref_get(&r->ref);
}

static void mc_region_free(struct kref *ref)
{
	struct mc_region *r = container_of(ref, struct mc_region, ref);

	xa_erase(&mc_regions, r->id);
	trace_mc_region_free(r->id, r->length);
	mc_import_free(r->import);
	if (r->mem) {
		if (r->flags & MC_REGION_ZERO_ON_FREE)
			mc_backing_wipe(r->mem);
		fput(r->mem);
	}
	mc_pin_free(r->pin);
	mc_user_uncharge(r->user, r->charged);
	mc_name_fini(&r->name);
	mutex_destroy(&r->lock);
	mutex_destroy(&r->gate_lock);
	kfree(r);
	atomic_dec(&mc_nr_regions);
}

void mc_region_put(struct mc_region *r)
{
	kref_put(&r->ref, mc_region_free);
}

struct mc_region *mc_region_by_id(u64 id)
{
	struct mc_region *r;

	xa_lock(&mc_regions);
	r = id <= ULONG_MAX ? xa_load(&mc_regions, id) : NULL;
	if (r && !kref_get_unless_zero(&r->ref))
		r = NULL;
	xa_unlock(&mc_regions);
	return r ? r : ERR_PTR(-ENOENT);
}

/* The region with the smallest id above @id that is not about to go. */
struct mc_region *mc_region_next(u64 id)
{
	unsigned long index = id;
	struct mc_region *r;

	if (id >= ULONG_MAX)
		return ERR_PTR(-ENOENT);
	xa_lock(&mc_regions);
	do {
		r = xa_find_after(&mc_regions, &index, ULONG_MAX, XA_PRESENT);
	} while (r && !kref_get_unless_zero(&r->ref));
	xa_unlock(&mc_regions);
	return r ? r : ERR_PTR(-ENOENT);
}

struct mc_region *mc_region_of(struct mc_call *call, s32 fd)
{
	struct mc_region *r = ERR_PTR(-EINVAL);
	struct mc_handle *h;
	struct file *file;

	if (call->on == MC_ON_REGION) {
		if (fd != -1)
			return r;
		h = call->file->private_data;
		mc_region_get(h->region);
		return h->region;
	}
	file = fget(fd);
	if (!file)
		return ERR_PTR(-EBADF);
	if (file->f_op == &mc_region_fops) {
		h = file->private_data;
		r = h->region;
		mc_region_get(r);
	}
	fput(file);
	return r;
}

u32 mc_region_state(struct mc_region *r)
{
	u32 state;

	mutex_lock(&r->lock);
	state = r->state | (r->writer ? MC_STATE_WRITER : 0);
	mutex_unlock(&r->lock);
	mutex_lock(&mc_names_lock);
	if (r->name.text[0])
		state |= MC_STATE_PUBLISHED;
	mutex_unlock(&mc_names_lock);
	return state;
}

int mc_writer_begin(struct mc_region *r)
{
	int ret = 0;

	mutex_lock(&r->lock);
	if (r->state & MC_STATE_REVOKED)
		ret = -EKEYREVOKED;
	else if (r->state & MC_STATE_SEALED)
		ret = -EACCES;
	else if (r->adopted && mc_backing_writer_begin(r->mem))
		ret = -EACCES;
	else
		atomic_inc(&r->nr_writers);
	mutex_unlock(&r->lock);
	return ret;
}

void mc_writer_again(struct mc_region *r)
{
	atomic_inc(&r->nr_writers);
	if (r->adopted)
		WARN_ON_ONCE(mc_backing_writer_begin(r->mem));
}

void mc_writer_end(struct mc_region *r)
{
	if (r->adopted)
		mc_backing_writer_end(r->mem);
	atomic_dec(&r->nr_writers);
}

unsigned int mc_region_count(void)
{
	return atomic_read(&mc_nr_regions);
}

/* Before unloading: every region holds the module through a file or its name, so none can be left. */
void mc_regions_check_empty(void)
{
	WARN_ON(!xa_empty(&mc_regions));
	xa_destroy(&mc_regions);
}

void mc_handle_get(struct mc_handle *h)
{
	kref_get(&h->ref);
}

static void mc_handle_free(struct kref *ref)
{
	struct mc_handle *h = container_of(ref, struct mc_handle, ref);
	struct mc_region *r = h->region;
	bool dirty = h->armed && !h->clean;

	if (h->lease) {
		mutex_lock(&r->lock);
		r->writer = NULL;
		if (dirty) {
			r->state |= MC_STATE_DIRTY;
			r->epoch++;
		}
		trace_mc_lease_end(r->id, r->epoch, dirty);
		mutex_unlock(&r->lock);
		if (h->armed)
			mc_event(r, MC_EVENT_PEER, MC_CQE_PEER, dirty ? MC_EV_LEASE_DIRTY : MC_EV_LEASE_CLEAN);
	}
	mc_region_put(r);
	kfree(h);
}

void mc_handle_put(struct mc_handle *h)
{
	kref_put(&h->ref, mc_handle_free);
}

static int mc_region_release(struct inode *inode, struct file *file)
{
	struct mc_handle *h = file->private_data;

	atomic_dec(&h->region->nr_fds);
	mc_handle_put(h);
	return 0;
}

static long mc_region_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return mc_call(file, MC_ON_REGION, cmd, arg);
}

const struct file_operations mc_region_fops = {
	.owner = THIS_MODULE,
	.release = mc_region_release,
	.unlocked_ioctl = mc_region_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = mc_region_mmap,
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	/* A 2 MiB aligned address, or the mapping cannot use the huge pages it is made of. */
	.get_unmapped_area = thp_get_unmapped_area,
#endif
#ifdef CONFIG_PROC_FS
	.show_fdinfo = mc_region_fdinfo,
#endif
	.llseek = noop_llseek,
};

struct mc_handle *mc_handle_new(struct mc_region *r)
{
	struct mc_handle *h = kzalloc(sizeof(*h), GFP_KERNEL_ACCOUNT);

	if (!h)
		return ERR_PTR(-ENOMEM);
	kref_init(&h->ref);
	mc_region_get(r);
	h->region = r;
	return h;
}

struct file *mc_handle_file(struct mc_region *r, u32 fd_flags, bool lease)
{
	struct mc_handle *h;
	struct file *file;

	h = mc_handle_new(r);
	if (IS_ERR(h))
		return ERR_CAST(h);
	if (lease) {
		mutex_lock(&r->lock);
		if (!r->writer) {
			r->writer = h;
			h->lease = true;
		}
		mutex_unlock(&r->lock);
		if (!h->lease) {
			mc_handle_put(h);
			return ERR_PTR(-EBUSY);
		}
	}
	file = anon_inode_getfile("[mooncake:region]", &mc_region_fops, h, fd_flags & O_ACCMODE);
	if (IS_ERR(file))
		mc_handle_put(h);
	else
		atomic_inc(&r->nr_fds);
	return file;
}

static int mc_create_check(const struct mc_ioc_region_create *a)
{
	const u32 known = MC_REGION_POPULATE | MC_REGION_PERSIST_OK | MC_REGION_PURGEABLE |
			  MC_REGION_NOHUGE_FALLBACK | MC_REGION_ZERO_ON_FREE;

	if (a->flags & ~known || a->backing > MC_BACKING_POOL || a->memfd != -1 || !mc_fd_flags_ok(a->fd_flags))
		return -EINVAL;
	if (a->page_shift && a->page_shift != PAGE_SHIFT && a->page_shift != MC_HUGE_SHIFT && a->page_shift != 30)
		return -EINVAL;
	if (!a->length || !PAGE_ALIGNED(a->length) || a->length > MAX_LFS_FILESIZE)
		return -EINVAL;
	if (a->align && (!is_power_of_2(a->align) || a->align > MC_HUGE_SIZE || a->length & (a->align - 1)))
		return -EINVAL;
	if (a->node != NUMA_NO_NODE && (a->node < 0 || a->node >= nr_node_ids || !node_state(a->node, N_MEMORY)))
		return -EINVAL;
	if (a->flags & MC_REGION_NOHUGE_FALLBACK &&
	    (!(a->flags & MC_REGION_POPULATE) || a->backing == MC_BACKING_SHMEM || a->page_shift == PAGE_SHIFT))
		return -EINVAL;
	if (a->page_shift == MC_HUGE_SHIFT && (a->backing == MC_BACKING_SHMEM || a->length & (MC_HUGE_SIZE - 1)))
		return -EINVAL;
	if (a->page_shift == PAGE_SHIFT && a->backing == MC_BACKING_SHMEM_HUGE)
		return -EINVAL;
	if (a->flags & MC_REGION_PURGEABLE || a->backing == MC_BACKING_POOL || a->page_shift == 30)
		return -EOPNOTSUPP;
	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) &&
	    (a->page_shift == MC_HUGE_SHIFT || a->backing == MC_BACKING_SHMEM_HUGE))
		return -EOPNOTSUPP;
	return 0;
}

static bool mc_create_huge(const struct mc_ioc_region_create *a)
{
	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) || a->backing == MC_BACKING_SHMEM || a->page_shift == PAGE_SHIFT)
		return false;
	return a->backing == MC_BACKING_SHMEM_HUGE || a->page_shift == MC_HUGE_SHIFT || a->length >= MC_HUGE_SIZE;
}

struct mc_region *mc_region_new(const struct cred *opener, u64 length, u32 flags, u64 charge)
{
	struct mc_region *r;
	struct mc_user *user;

	user = mc_user_charge(opener->fsuid, charge, mc_may_exceed_quota());
	if (IS_ERR(user))
		return ERR_CAST(user);
	r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);
	if (!r) {
		mc_user_uncharge(user, charge);
		return ERR_PTR(-ENOMEM);
	}
	atomic_inc(&mc_nr_regions);
	kref_init(&r->ref);
	mc_name_init(&r->name, opener, false);
	r->id = r->name.id;
	r->length = length;
	r->flags = flags;
	r->node = NUMA_NO_NODE;
	r->user = user;
	r->charged = charge;
	INIT_LIST_HEAD(&r->outlets);
	mutex_init(&r->lock);
	mutex_init(&r->gate_lock);
	return r;
}

int mc_region_show(struct mc_call *call, struct mc_region *r, u32 fd_flags, s32 *out_fd, u64 *out_id)
{
	struct file *file;
	int ret;

	ret = xa_err(xa_store(&mc_regions, r->id, r, GFP_KERNEL_ACCOUNT));
	if (ret)
		return ret;
	file = mc_handle_file(r, fd_flags, false);
	if (IS_ERR(file))
		return PTR_ERR(file);
	ret = mc_call_new_file(call, file, fd_flags, out_fd);
	if (ret)
		return ret;
	*out_id = r->id;
	trace_mc_region_create(r->id, r->length, r->backing, r->node);
	return 0;
}

int mc_region_create(struct mc_call *call)
{
	struct mc_ioc_region_create *a = call->arg;
	struct mc_region *r;
	bool huge;
	int ret;

	ret = mc_create_check(a);
	if (ret)
		return ret;
	r = mc_region_new(call->file->f_cred, a->length, a->flags, a->length);
	if (IS_ERR(r))
		return PTR_ERR(r);

	huge = mc_create_huge(a);
	r->backing = huge ? MC_BACKING_SHMEM_HUGE : MC_BACKING_SHMEM;
	r->page_shift = huge ? a->page_shift : PAGE_SHIFT;
	r->node = a->node;
	r->mem = mc_backing_create(a->length, a->node, huge);
	if (IS_ERR(r->mem)) {
		ret = PTR_ERR(r->mem);
		r->mem = NULL;
		goto out_put;
	}
	if (a->flags & MC_REGION_POPULATE) {
		ret = mc_populate(r->mem, a->length, a->node, a->flags & MC_REGION_NOHUGE_FALLBACK);
		if (ret)
			goto out_put;
	}
	ret = mc_region_show(call, r, a->fd_flags, &a->out_fd, &a->out_id);
out_put:
	/* On success the file holds the region. */
	mc_region_put(r);
	return ret;
}
