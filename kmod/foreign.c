// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPU mappings of an exporter's memory, made through a region.
 *
 * The exporter fills them, so they are his: his file, by which he finds them when the memory moves, and his operations.
 * Two things we need of them: to count them and to end them. So his operations get ours in front, as map.c does it with
 * shmem's, and a page that he hands out is entered here, while we still hold off mc_foreign_zap(). To end a mapping the
 * range is taken out of his file; others who had mapped it there fault it in again.
 *
 * That needs a page fault handler. An exporter who has none, and never moves anything, has his mapping put under a file
 * of our own instead, where emptying it meets nobody else. One who moves memory without page faults cannot be mapped.
 */

#include <linux/dma-buf.h>
#include <linux/file.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "compat.h"
#include "provider.h"

static const struct vm_operations_struct mc_no_ops;

/* One mmap() and the mappings it is split and copied into. */
struct mc_view {
	struct vm_operations_struct ops;	/* of these mappings, by which they lead here */
	const struct vm_operations_struct *theirs;
	struct mc_handle *h;
	struct file *space;			/* holds the module until the last mapping is gone */
	refcount_t vmas;
	struct list_head node;			/* in import->views */
	struct address_space *mapping;
	pgoff_t first;
	u64 length;
	bool writes;
	struct mm_struct *mm;			/* filled by mmap() itself: until the mapping can be found, else NULL */
	struct rcu_head rcu;
};

static struct mc_view *mc_view_of(struct vm_area_struct *vma)
{
	return container_of(vma->vm_ops, struct mc_view, ops);
}

static void mc_view_open(struct vm_area_struct *vma)
{
	struct mc_view *v = mc_view_of(vma);

	refcount_inc(&v->vmas);
	atomic_inc(&v->h->region->nr_vmas);
	if (v->writes)
		mc_writer_again(v->h->region);
	if (v->theirs && v->theirs->open)
		v->theirs->open(vma);
}

static void mc_view_put(struct mc_view *v)
{
	struct mc_import *imp = v->h->region->import;

	if (!refcount_dec_and_test(&v->vmas))
		return;
	mutex_lock(&imp->views_lock);
	list_del(&v->node);
	mutex_unlock(&imp->views_lock);
	if (v->mm)
		mmdrop(v->mm);
	mc_handle_put(v->h);
	fput(v->space);
	kfree_rcu(v, rcu);
}

static void mc_view_close(struct vm_area_struct *vma)
{
	struct mc_view *v = mc_view_of(vma);

	if (v->theirs && v->theirs->close)
		v->theirs->close(vma);
	if (v->writes)
		mc_writer_end(v->h->region);
	atomic_dec(&v->h->region->nr_vmas);
	mc_view_put(v);
}

/* The kernel would enter @vmf's page after we return, too late to be stopped; so we do. */
static vm_fault_t mc_view_enter(struct vm_fault *vmf, vm_fault_t ret)
{
	int err = -EFAULT;

	if (vmf->vma->vm_flags & VM_MIXEDMAP)
		err = vm_insert_page(vmf->vma, vmf->address & PAGE_MASK, vmf->page);
	if (ret & VM_FAULT_LOCKED)
		unlock_page(vmf->page);
	put_page(vmf->page);
	vmf->page = NULL;
	/* Busy: another thread was faster. */
	return err && err != -EBUSY ? vmf_error(err) : (ret & VM_FAULT_MAJOR) | VM_FAULT_NOPAGE;
}

static vm_fault_t mc_view_fault(struct vm_fault *vmf)
{
	struct mc_view *v = mc_view_of(vmf->vma);
	struct mc_region *r = v->h->region;
	vm_fault_t ret = VM_FAULT_SIGBUS;

	/* A handler that says RETRY has let go of the mapping, which was what held the region. */
	mc_region_get(r);
	down_read(&r->import->faults);
	if (v->theirs && !(READ_ONCE(r->gate) & MC_GATE_REVOKED)) {
		ret = v->theirs->fault(vmf);
		if (!(ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY)))
			ret = mc_view_enter(vmf, ret);
	}
	up_read(&r->import->faults);
	mc_region_put(r);
	return ret;
}

/*
 * A mapping that mmap() itself fills can be found by its address space only once mmap() is through, which whoever gets
 * that process's mmap_lock knows. Never in the way of a provider's own work: those with such mappings have none.
 */
static void mc_foreign_settle(struct mc_import *imp)
{
	struct mm_struct *mm;
	struct mc_view *v;

	do {
		mm = NULL;
		mutex_lock(&imp->views_lock);
		list_for_each_entry(v, &imp->views, node) {
			if (v->mm) {
				mm = v->mm;
				v->mm = NULL;
				break;
			}
		}
		mutex_unlock(&imp->views_lock);
		if (mm) {
			mmap_read_lock(mm);
			mmap_read_unlock(mm);
			mmdrop(mm);
		}
	} while (mm);
}

void mc_foreign_zap(struct mc_import *imp)
{
	struct mc_view *v;

	/* Who looked at the gate before it closed is done when this is ours. */
	down_write(&imp->faults);
	up_write(&imp->faults);
	mc_foreign_settle(imp);
	mutex_lock(&imp->views_lock);
	list_for_each_entry(v, &imp->views, node)
		unmap_mapping_range(v->mapping, (loff_t)v->first << PAGE_SHIFT, v->length, 1);
	mutex_unlock(&imp->views_lock);
}

int mc_foreign_init(struct mc_import *imp)
{
	init_rwsem(&imp->faults);
	mutex_init(&imp->views_lock);
	INIT_LIST_HEAD(&imp->views);
	imp->space = mc_backing_create(PAGE_SIZE, NUMA_NO_NODE, false);
	return PTR_ERR_OR_ZERO(imp->space);
}

void mc_foreign_fini(struct mc_import *imp)
{
	WARN_ON(!list_empty(&imp->views));
	fput(imp->space);
	mutex_destroy(&imp->views_lock);
}

/* The exporter has set @vma up; take our place. -EOPNOTSUPP. */
static int mc_view_install(struct mc_view *v, struct vm_area_struct *vma, bool dynamic)
{
	const struct vm_operations_struct *theirs = vma->vm_ops;

	if (theirs && theirs->fault) {
		v->ops = *theirs;
		v->theirs = theirs;
	} else if (dynamic || (theirs && (theirs->open || theirs->close))) {
		if (theirs && theirs->close)
			theirs->close(vma);
		return -EOPNOTSUPP;
	}
	if (!v->theirs) {
		vma_set_file(vma, v->space);
		mmgrab(vma->vm_mm);
		v->mm = vma->vm_mm;
	}
	v->ops.open = mc_view_open;
	v->ops.close = mc_view_close;
	v->ops.fault = mc_view_fault;
	/* Shortcuts around fault(). */
	v->ops.map_pages = NULL;
	v->ops.huge_fault = NULL;
	v->ops.access = NULL;
#if defined(MC_HAVE_VM_UFFD_OPS) && defined(CONFIG_USERFAULTFD)
	v->ops.uffd_ops = NULL;
#endif
	v->ops.mremap = NULL;
	if (!(vma->vm_flags & VM_PFNMAP))
		vm_flags_set(vma, VM_MIXEDMAP);
	v->mapping = vma->vm_file->f_mapping;
	v->first = vma->vm_pgoff;
	v->length = vma->vm_end - vma->vm_start;
	vma->vm_ops = &v->ops;
	return 0;
}

int mc_foreign_mmap(struct mc_handle *h, struct vm_area_struct *vma, u64 offset, bool writes)
{
	struct mc_import *imp = h->region->import;
	struct mc_view *v;
	int ret;

	v = kzalloc(sizeof(*v), GFP_KERNEL_ACCOUNT);
	if (!v)
		return -ENOMEM;
	mc_handle_get(h);
	v->h = h;
	v->writes = writes;
	v->space = get_file(imp->space);
	refcount_set(&v->vmas, 1);
	vma->vm_pgoff += (imp->offset + offset) >> PAGE_SHIFT;
	ret = imp->ops->mmap(imp, vma);
	if (ret < 0)
		goto err_free;
	ret = mc_view_install(v, vma, ret > 0);
	if (ret)
		goto err_free;
	mutex_lock(&imp->views_lock);
	list_add(&v->node, &imp->views);
	mutex_unlock(&imp->views_lock);
	/* Either we see the closed gate here, or who closed it sees the mapping in the list. */
	smp_mb();
	if (v->mm && READ_ONCE(h->region->gate) & MC_GATE_REVOKED) {
		mutex_lock(&imp->views_lock);
		list_del(&v->node);
		mutex_unlock(&imp->views_lock);
		vma->vm_ops = &mc_no_ops;
		ret = -EKEYREVOKED;
		goto err_free;
	}
	atomic_inc(&h->region->nr_vmas);
	return 0;

err_free:
	if (v->mm)
		mmdrop(v->mm);
	mc_handle_put(v->h);
	fput(v->space);
	kfree(v);
	return ret;
}
