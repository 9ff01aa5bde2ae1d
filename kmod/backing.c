// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of regions: a shmem file on a tmpfs mount of our own, because only shmem pages are huge, fast to pin and
 * mappable as ordinary memory on every kernel. One mount per node and page size: its options place the pages, and the
 * system's setting for shared memory (off, on most distributions) does not apply to it.
 */

#include <linux/cred.h>
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <linux/mount.h>
#include <linux/nodemask.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/fcntl.h>

#include "compat.h"
#include "kmod.h"

static DEFINE_MUTEX(mc_mounts_lock);
/* guarded by mc_mounts_lock: [huge][node + 1], made when first needed */
static struct vfsmount **mc_mounts;
static const struct file_operations *mc_shmem_fops;	/* what memory files had before mc_mem_fops */

/*
 * Nobody can do anything with the memory file itself. Mappings refer to it rather than to a region's file, so whatever
 * works on a mapping's file (MADV_REMOVE, remap_file_pages, /proc/PID/map_files) must find nothing here: holes under a
 * live memory registration and writable views of read-only mappings would be the result. As owner the module stays
 * loaded while a mapping lives.
 */
static const struct file_operations mc_mem_fops = {
	.owner = THIS_MODULE,
	.fsync = noop_fsync,
#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	.get_unmapped_area = thp_get_unmapped_area,
#endif
};

static struct vfsmount *mc_mount(int node, bool huge)
{
	struct vfsmount **slot, *mnt;
	struct file_system_type *type;
	char opts[64];

	/* within_size: a region's tail of less than a huge page does not take a whole one. */
	if (node == NUMA_NO_NODE)
		snprintf(opts, sizeof(opts), "huge=%s", huge ? "within_size" : "never");
	else
		snprintf(opts, sizeof(opts), "huge=%s,mpol=bind:%d", huge ? "within_size" : "never", node);
	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) && node == NUMA_NO_NODE)
		opts[0] = '\0';

	mutex_lock(&mc_mounts_lock);
	slot = &mc_mounts[(huge ? nr_node_ids + 1 : 0) + node + 1];
	mnt = *slot;
	if (!mnt) {
		type = get_fs_type("tmpfs");
		mnt = type ? vfs_kern_mount(type, SB_KERNMOUNT, "mooncake", opts) : ERR_PTR(-ENODEV);
		if (!IS_ERR(mnt))
			*slot = mnt;
	}
	mutex_unlock(&mc_mounts_lock);
	return mnt;
}

int mc_backing_init(void)
{
	mc_mounts = kcalloc(2 * (nr_node_ids + 1), sizeof(*mc_mounts), GFP_KERNEL);
	return mc_mounts ? 0 : -ENOMEM;
}

void mc_backing_exit(void)
{
	unsigned int i;

	for (i = 0; i < 2 * (nr_node_ids + 1); i++)
		if (mc_mounts[i])
			kern_unmount(mc_mounts[i]);
	kfree(mc_mounts);
}

struct file *mc_backing_create(u64 length, int node, bool huge)
{
	struct vfsmount *mnt;
	struct inode *inode;
	struct file *mem;

	mnt = mc_mount(node, huge);
	if (IS_ERR(mnt))
		return ERR_CAST(mnt);
	mem = shmem_file_setup_with_mnt(mnt, "mooncake", length, MC_NO_VMA_FLAGS);
	/* Some kernels say that there is no space for the inode when there is no memory for it. */
	if (IS_ERR(mem))
		return mem == ERR_PTR(-ENOSPC) ? ERR_PTR(-ENOMEM) : mem;

	/* Not movable, so that a long-term pin need not migrate them; not on the swap lists, as nobody could say when. */
	mapping_set_gfp_mask(mem->f_mapping, GFP_HIGHUSER);
	mapping_set_unevictable(mem->f_mapping);
	inode = file_inode(mem);
	SHMEM_I(inode)->seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW;

	WRITE_ONCE(mc_shmem_fops, mem->f_op);
	__module_get(THIS_MODULE);
	mem->f_op = &mc_mem_fops;
	inode->i_fop = &mc_mem_fops;
	return mem;
}

struct file *mc_backing_adopt(struct file *file, u64 end, bool writable)
{
	struct inode *inode = file_inode(file);
	struct file *mem;

	if (!shmem_mapping(file->f_mapping) || !S_ISREG(inode->i_mode) || file->f_op == &mc_mem_fops)
		return ERR_PTR(-EINVAL);
	if (!(READ_ONCE(SHMEM_I(inode)->seals) & F_SEAL_SHRINK) || end > i_size_read(inode))
		return ERR_PTR(-EINVAL);
	if (!(file->f_mode & FMODE_READ) || (writable && !(file->f_mode & FMODE_WRITE)))
		return ERR_PTR(-EACCES);
	if (writable && READ_ONCE(SHMEM_I(inode)->seals) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return ERR_PTR(-EACCES);

	mem = dentry_open(&file->f_path, (writable ? O_RDWR : O_RDONLY) | O_LARGEFILE, current_cred());
	if (IS_ERR(mem))
		return mem;
	WRITE_ONCE(mc_shmem_fops, mem->f_op);
	__module_get(THIS_MODULE);
	mem->f_op = &mc_mem_fops;
	return mem;
}

bool mc_backing_is_hugetlb(struct file *file)
{
	return file_inode(file)->i_sb->s_magic == HUGETLBFS_MAGIC;
}

#ifdef CONFIG_HUGETLBFS
int mc_backing_check_hugetlb(struct file *file, u64 end, bool writable)
{
	struct inode *inode = file_inode(file);
	unsigned int seals = READ_ONCE(HUGETLBFS_I(inode)->seals);

	if (!S_ISREG(inode->i_mode) || !(seals & F_SEAL_SHRINK) || end > i_size_read(inode))
		return -EINVAL;
	if (!(file->f_mode & FMODE_READ) || (writable && !(file->f_mode & FMODE_WRITE)))
		return -EACCES;
	return writable && seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) ? -EACCES : 0;
}

unsigned int mc_backing_hugetlb_shift(struct file *file)
{
	return huge_page_shift(hstate_file(file));
}
#else
int mc_backing_check_hugetlb(struct file *file, u64 end, bool writable)
{
	return -EOPNOTSUPP;
}

unsigned int mc_backing_hugetlb_shift(struct file *file)
{
	return 0;
}
#endif

int mc_backing_writer_begin(struct file *mem)
{
	return mapping_map_writable(mem->f_mapping);
}

void mc_backing_writer_end(struct file *mem)
{
	mapping_unmap_writable(mem->f_mapping);
}

int mc_backing_populate(struct file *mem, u64 offset, u64 length, bool must_be_huge, const bool *stop)
{
	struct address_space *mapping = mem->f_mapping;
	pgoff_t index = offset >> PAGE_SHIFT, end = (offset + length) >> PAGE_SHIFT;
	/* A full node is the caller's error to handle, not a reason to kill somebody. */
	gfp_t gfp = mapping_gfp_mask(mapping) | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
	struct folio *folio;
	struct page *page;
	bool huge;

	while (index < end) {
		if (fatal_signal_pending(current) || READ_ONCE(*stop))
			return -EINTR;
		page = shmem_read_mapping_page_gfp(mapping, index, gfp);
		if (IS_ERR(page))
			return PTR_ERR(page);
		folio = page_folio(page);
		huge = folio_size(folio) >= MC_HUGE_SIZE;
		index = folio->index + folio_nr_pages(folio);
		put_page(page);
		if (must_be_huge && !huge)
			return -ENOSPC;
		cond_resched();
	}
	return 0;
}

struct page *mc_backing_page(struct file *mem, pgoff_t index)
{
	struct address_space *mapping = mem->f_mapping;

	return shmem_read_mapping_page_gfp(mapping, index,
					   mapping_gfp_mask(mapping) | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
}

int mc_backing_mmap(struct file *mem, struct vm_area_struct *vma)
{
	/* Newer kernels look at seals before they ask the file, and the file they then look at is not this one. */
	if (READ_ONCE(SHMEM_I(file_inode(mem))->seals) & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) {
		if (vma->vm_flags & VM_WRITE)
			return -EPERM;
		vm_flags_clear(vma, VM_MAYWRITE);
	}
	return mc_mmap_as(READ_ONCE(mc_shmem_fops), mem, vma);
}

/* Call @fn on every page that is there in [offset, offset + length), holding a reference but no lock. */
static void mc_each_folio(struct file *mem, u64 offset, u64 length,
			  void (*fn)(struct file *mem, struct folio *folio, void *arg), void *arg)
{
	pgoff_t index = offset >> PAGE_SHIFT, last = (offset + length - 1) >> PAGE_SHIFT;
	struct folio_batch batch;
	unsigned int i;

	folio_batch_init(&batch);
	while (filemap_get_folios(mem->f_mapping, &index, last, &batch)) {
		for (i = 0; i < folio_batch_count(&batch); i++)
			fn(mem, batch.folios[i], arg);
		folio_batch_release(&batch);
		cond_resched();
	}
}

u64 mc_backing_next(struct file *mem, u64 offset, u64 end)
{
	pgoff_t index = offset >> PAGE_SHIFT;
	struct folio_batch batch;

	if (offset >= end)
		return end;
	folio_batch_init(&batch);
	if (!filemap_get_folios(mem->f_mapping, &index, (end - 1) >> PAGE_SHIFT, &batch))
		return end;
	offset = max_t(u64, offset, folio_pos(batch.folios[0]));
	folio_batch_release(&batch);
	return offset;
}

static void mc_stat_one(struct file *mem, struct folio *folio, void *arg)
{
	struct mc_mem_stat *st = arg;

	st->resident += folio_size(folio);
	if (folio_size(folio) >= MC_HUGE_SIZE)
		st->huge += folio_size(folio);
	if (folio_maybe_dma_pinned(folio))
		st->pinned += folio_size(folio);
}

void mc_backing_stat(struct file *mem, u64 offset, u64 length, struct mc_mem_stat *st)
{
	*st = (struct mc_mem_stat){};
	mc_each_folio(mem, offset, length, mc_stat_one, st);
}

u64 mc_backing_pinned(struct file *mem, u64 offset, u64 length)
{
	struct mc_mem_stat st = {};

	mc_each_folio(mem, offset, length, mc_stat_one, &st);
	return st.pinned;
}

static void mc_wait_one(struct file *mem, struct folio *folio, void *arg)
{
	folio_lock(folio);
	folio_unlock(folio);
}

void mc_backing_zap(struct file *mem, u64 offset, u64 length)
{
	mc_each_folio(mem, offset, length, mc_wait_one, NULL);
	unmap_mapping_range(mem->f_mapping, offset, length, 1);
}

static void mc_punch_one(struct file *mem, struct folio *folio, void *arg)
{
	loff_t pos = folio_pos(folio);

	if (!folio_maybe_dma_pinned(folio))
		shmem_truncate_range(file_inode(mem), pos, pos + folio_size(folio) - 1);
}

u64 mc_backing_punch(struct file *mem, u64 offset, u64 length, bool keep_pinned)
{
	unsigned long before = READ_ONCE(mem->f_mapping->nrpages), after;

	if (keep_pinned)
		mc_each_folio(mem, offset, length, mc_punch_one, NULL);
	else
		shmem_truncate_range(file_inode(mem), offset, offset + length - 1);
	after = READ_ONCE(mem->f_mapping->nrpages);
	return before > after ? (u64)(before - after) << PAGE_SHIFT : 0;
}

static void mc_wipe_one(struct file *mem, struct folio *folio, void *arg)
{
	long i;

	for (i = 0; i < folio_nr_pages(folio); i++) {
		clear_highpage(folio_page(folio, i));
		cond_resched();
	}
}

void mc_backing_wipe(struct file *mem)
{
	mc_each_folio(mem, 0, i_size_read(file_inode(mem)), mc_wipe_one, NULL);
}
