// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mapping a region. The mapping is ordinary shmem, so anything may pin it (ibv_reg_mr, O_DIRECT); we only stand in front
 * of its page faults, to be able to stop them.
 *
 * A fault must not put a page into a page table after gate.c has emptied it. The page is locked from before the check
 * of the gate until the page table entry is set, and gate.c, having closed the gate, takes that lock once:
 *
 *	fault				gate.c
 *	  lock page			  gate = closed
 *	  gate? (barrier before)	  wait for RCU readers (map_pages) and every page lock
 *	  set entry, unlock page	  remove all entries
 *
 * A page that is not yet in the file when gate.c walks it is inserted after the gate was closed, and its fault sees that.
 */

#include <linux/pagemap.h>

#include "compat.h"
#include "provider.h"

static DEFINE_MUTEX(mc_vm_ops_lock);
static const struct vm_operations_struct *mc_shmem_vm_ops;	/* set once, before mc_vm_ops is used */
static struct vm_operations_struct mc_vm_ops;

static bool mc_vma_counts_as_writer(struct vm_area_struct *vma)
{
	return (vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE);
}

static void mc_vm_open(struct vm_area_struct *vma)
{
	struct mc_handle *h = vma->vm_private_data;

	mc_handle_get(h);
	atomic_inc(&h->region->nr_vmas);
	/* Never from 0 here: the mapping this one is copied from is counted. */
	if (mc_vma_counts_as_writer(vma))
		mc_writer_again(h->region);
}

static void mc_vm_close(struct vm_area_struct *vma)
{
	struct mc_handle *h = vma->vm_private_data;

	if (mc_vma_counts_as_writer(vma))
		mc_writer_end(h->region);
	atomic_dec(&h->region->nr_vmas);
	mc_handle_put(h);
}

static vm_fault_t mc_vm_fault(struct vm_fault *vmf)
{
	struct mc_handle *h = vmf->vma->vm_private_data;
	struct mc_region *r = h->region;
	vm_fault_t ret;

	for (;;) {
		if (READ_ONCE(r->gate) & MC_GATE_REVOKED)
			return VM_FAULT_SIGBUS;
		ret = mc_shmem_vm_ops->fault(vmf);
		if (!(ret & VM_FAULT_LOCKED))
			return ret;
		if (mc_gate_open(r))
			return ret;
		unlock_page(vmf->page);
		put_page(vmf->page);
		vmf->page = NULL;
		if (mc_gate_wait(r))
			return VM_FAULT_SIGBUS;
	}
}

static vm_fault_t mc_vm_map_pages(struct vm_fault *vmf, pgoff_t start, pgoff_t end)
{
	struct mc_handle *h = vmf->vma->vm_private_data;
	vm_fault_t ret = 0;

	rcu_read_lock();
	if (!READ_ONCE(h->region->gate))
		ret = mc_shmem_vm_ops->map_pages(vmf, start, end);
	rcu_read_unlock();
	return ret;
}

/* Shmem's own operations with ours in front. Placement is the region's, so nobody sets a policy through a mapping. */
static void mc_vm_ops_learn(const struct vm_operations_struct *shmem)
{
	mutex_lock(&mc_vm_ops_lock);
	if (!mc_shmem_vm_ops) {
		mc_vm_ops = *shmem;
		mc_vm_ops.open = mc_vm_open;
		mc_vm_ops.close = mc_vm_close;
		mc_vm_ops.fault = mc_vm_fault;
		mc_vm_ops.map_pages = mc_vm_map_pages;
#ifdef CONFIG_NUMA
		mc_vm_ops.set_policy = NULL;
#endif
#if defined(MC_HAVE_VM_UFFD_OPS) && defined(CONFIG_USERFAULTFD)
		/* It would put pages in past the gate. */
		mc_vm_ops.uffd_ops = NULL;
#endif
		mc_shmem_vm_ops = shmem;
	}
	mutex_unlock(&mc_vm_ops_lock);
}

/* May the mapping be made, now and as what? Counted from here on, so that sealing sees it. */
static int mc_map_admit(struct mc_region *r, struct vm_area_struct *vma)
{
	int ret;

	if (READ_ONCE(r->state) & MC_STATE_REVOKED)
		return -EKEYREVOKED;
	if (!mc_vma_counts_as_writer(vma))
		return 0;
	ret = mc_writer_begin(r);
	/* Not for a sealed memfd: before 6.7 any shared mapping would count as a writer there and undo the seal. */
	if (ret == -EACCES && !(vma->vm_flags & VM_WRITE) && !r->adopted) {
		vm_flags_clear(vma, VM_MAYWRITE);
		ret = 0;
	}
	return ret;
}

static void mc_map_flags(struct vm_area_struct *vma)
{
	vm_flags_clear(vma, VM_MAYEXEC);
	/* Not into core dumps: they would be as large as the cache. */
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
}

int mc_map(struct mc_handle *h, struct vm_area_struct *vma, u64 offset, u64 length)
{
	struct mc_region *r = h->region;
	u64 pages = length >> PAGE_SHIFT;
	bool counted;
	int ret;

	/* VM_SHARED is gone from shared mappings of read-only files; VM_MAYSHARE stays. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_pgoff > pages || vma_pages(vma) > pages - vma->vm_pgoff)
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC)
		return -EACCES;
	if (!r->mem && !r->import)
		return -ENODEV;

	ret = mc_map_admit(r, vma);
	if (ret)
		return ret;
	counted = mc_vma_counts_as_writer(vma);
	if (r->import) {
		ret = mc_foreign_mmap(h, vma, offset, counted);
		if (ret && counted)
			mc_writer_end(r);
		if (!ret)
			mc_map_flags(vma);
		return ret;
	}
	ret = mc_backing_mmap(r->mem, vma);
	/* A memfd sealed since may be mapped for reading, and then for good. */
	if (counted && (ret || !mc_vma_counts_as_writer(vma)))
		mc_writer_end(r);
	if (ret)
		return ret;
	mc_vm_ops_learn(vma->vm_ops);
	vma->vm_pgoff += (r->mem_offset + offset) >> PAGE_SHIFT;
	vma_set_file(vma, r->mem);
	vma->vm_ops = &mc_vm_ops;
	mc_map_flags(vma);
	mc_handle_get(h);
	vma->vm_private_data = h;
	atomic_inc(&r->nr_vmas);
	return 0;
}

int mc_region_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct mc_handle *h = file->private_data;

	return mc_map(h, vma, 0, h->region->length);
}
