// SPDX-License-Identifier: GPL-2.0-only
/*
 * COPY: bytes between regions and the caller's memory, without mapping anything. A step stays within one page of each
 * side and runs under RCU after a look at the gates, so that REVOKE, which waits for RCU, ends every copy.
 */

#include <linux/file.h>
#include <linux/highmem.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kmod.h"
#include "trace.h"

/* One side of an element, resolved. */
struct mc_side {
	struct mc_region *r;		/* NULL: the caller's memory */
	u64 addr;
	struct page *page;		/* of a region with a memory file, referenced */
	pgoff_t index;			/* of @page */
};

struct mc_elem {
	struct mc_side src, dst;
	u64 length;
};

static void mc_side_forget_page(struct mc_side *s)
{
	if (s->page)
		put_page(s->page);
	s->page = NULL;
}

static void mc_elem_release(struct mc_elem *e)
{
	mc_side_forget_page(&e->src);
	mc_side_forget_page(&e->dst);
	if (e->dst.r) {
		mc_writer_end(e->dst.r);
		mc_region_put(e->dst.r);
	}
	if (e->src.r)
		mc_region_put(e->src.r);
}

static int mc_side_region(struct mc_side *s, const struct mc_sge *g, bool write)
{
	struct file *file = fget(g->fd);
	struct mc_region *r;
	int ret = 0;
	u64 end;

	if (!file)
		return -EBADF;
	if (file->f_op != &mc_region_fops) {
		ret = -EINVAL;
		goto out;
	}
	r = ((struct mc_handle *)file->private_data)->region;
	if (check_add_overflow(g->addr, g->length, &end) || end > r->length)
		ret = -EINVAL;
	else if (write && !(file->f_mode & FMODE_WRITE))
		ret = -EACCES;
	else if (READ_ONCE(r->state) & MC_STATE_REVOKED)
		ret = -EKEYREVOKED;
	/*
	 * An exporter's memory is not ours to map into the kernel: much of it is device memory, and the kernel takes an
	 * exporter's refusal for a bug and warns, which would be any user's to provoke.
	 */
	else if (r->import)
		ret = -EOPNOTSUPP;
	else if (write)
		ret = mc_writer_begin(r);
	if (!ret) {
		mc_region_get(r);
		s->r = r;
	}
out:
	fput(file);
	return ret;
}

static int mc_side_resolve(struct mc_side *s, const struct mc_sge *g, bool write)
{
	s->addr = g->addr;
	if (g->kind == MC_SGE_COOKIE)
		return -EOPNOTSUPP;
	if (g->cookie[0] || g->cookie[1])
		return -EINVAL;
	switch (g->kind) {
	case MC_SGE_USER:
		if (g->fd != -1)
			return -EINVAL;
		return g->addr <= ULONG_MAX && g->length <= ULONG_MAX &&
		       access_ok(u64_to_user_ptr(g->addr), g->length) ? 0 : -EFAULT;
	case MC_SGE_REGION:
		return mc_side_region(s, g, write);
	}
	return -EINVAL;
}

static int mc_elem_resolve(struct mc_elem *e, const struct mc_copy_vec *v)
{
	u64 distance;
	int ret;

	if (!v->src.length || v->src.length != v->dst.length)
		return -EINVAL;
	if (v->src.kind == MC_SGE_USER && v->dst.kind == MC_SGE_USER)
		return -EINVAL;
	e->length = v->src.length;
	ret = mc_side_resolve(&e->src, &v->src, false);
	if (!ret)
		ret = mc_side_resolve(&e->dst, &v->dst, true);
	if (ret)
		return ret;
	distance = e->src.addr > e->dst.addr ? e->src.addr - e->dst.addr : e->dst.addr - e->src.addr;
	return e->src.r && e->src.r == e->dst.r && distance < e->length ? -EINVAL : 0;
}

/* May sleep: have the page of @s at hand. */
static int mc_side_ready(struct mc_side *s)
{
	pgoff_t index;
	struct page *page;

	if (!s->r || !s->r->mem)
		return 0;
	index = (s->r->mem_offset + s->addr) >> PAGE_SHIFT;
	if (s->page && s->index == index)
		return 0;
	mc_side_forget_page(s);
	if (READ_ONCE(s->r->gate) & MC_GATE_REVOKED)
		return -EKEYREVOKED;
	page = mc_backing_page(s->r->mem, index);
	/* Shmem's word for a page that memory-failure handling took out. */
	if (IS_ERR(page))
		return page == ERR_PTR(-EIO) ? -EREMOTEIO : PTR_ERR(page);
	s->page = page;
	s->index = index;
	return 0;
}

/* Under RCU. 0, or why the region must not be touched: -EKEYREVOKED, -EAGAIN while a hole is made. */
static int mc_side_gate(const struct mc_side *s)
{
	u32 gate = s->r ? READ_ONCE(s->r->gate) : 0;

	return gate & MC_GATE_REVOKED ? -EKEYREVOKED : gate ? -EAGAIN : 0;
}

static struct page *mc_side_page(const struct mc_side *s)
{
	return s->page ? s->page : mc_pin_page(s->r->pin, s->addr >> PAGE_SHIFT);
}

static void *mc_side_kmap(const struct mc_side *s)
{
	return kmap_local_page(mc_side_page(s)) + offset_in_page(s->addr);
}

/* Under RCU. Bytes copied, or -EREMOTEIO; 0 when the caller's page is not there. */
static long mc_copy_mapped(const struct mc_elem *e, size_t n)
{
	void *src = e->src.r ? mc_side_kmap(&e->src) : NULL;
	void *dst = e->dst.r ? mc_side_kmap(&e->dst) : NULL;
	unsigned long left;

	pagefault_disable();
	if (!src)
		left = __copy_from_user_inatomic(dst, u64_to_user_ptr(e->src.addr), n);
	else if (!dst)
		left = __copy_to_user_inatomic(u64_to_user_ptr(e->dst.addr), src, n);
	else
		left = copy_mc_to_kernel(dst, src, n);
	pagefault_enable();
	if (dst) {
		flush_dcache_page(mc_side_page(&e->dst));
		kunmap_local(dst);
	}
	if (src)
		kunmap_local(src);
	if (src && dst && left == n)
		return -EREMOTEIO;
	return n - left;
}

static void mc_side_wait(const struct mc_side *s)
{
	if (s->r)
		mc_gate_wait(s->r);	/* killed: the next step sees the signal */
}

/* One step of at most a page; bytes copied or a negative errno. */
static long mc_copy_step(struct mc_elem *e)
{
	size_t n = min_t(u64, e->length, PAGE_SIZE - max(offset_in_page(e->src.addr), offset_in_page(e->dst.addr)));
	long ret;

	ret = mc_side_ready(&e->src);
	if (!ret)
		ret = mc_side_ready(&e->dst);
	if (ret)
		return ret;

	rcu_read_lock();
	ret = mc_side_gate(&e->src);
	if (!ret)
		ret = mc_side_gate(&e->dst);
	if (!ret)
		ret = mc_copy_mapped(e, n);
	rcu_read_unlock();

	if (ret > 0) {
		if (e->dst.page)
			set_page_dirty(e->dst.page);
		return ret;
	}
	if (ret == -EAGAIN) {
		/* After the hole is made the page at hand is no longer the region's. */
		mc_side_forget_page(&e->src);
		mc_side_forget_page(&e->dst);
		mc_side_wait(&e->src);
		mc_side_wait(&e->dst);
		return 0;
	}
	if (ret)
		return ret;
	/* The caller's page was not there: let it come, or find out that there is none. */
	if (!e->src.r && fault_in_readable(u64_to_user_ptr(e->src.addr), n) == n)
		return -EFAULT;
	if (!e->dst.r && fault_in_safe_writeable(u64_to_user_ptr(e->dst.addr), n) == n)
		return -EFAULT;
	return 0;
}

static int mc_copy_elem(struct mc_elem *e, u64 *done)
{
	long n;

	while (e->length) {
		if (signal_pending(current))
			return -EINTR;
		n = mc_copy_step(e);
		if (n < 0)
			return n;
		e->src.addr += n;
		e->dst.addr += n;
		e->length -= n;
		*done += n;
		cond_resched();
	}
	return 0;
}

static int mc_copy_all(struct mc_ioc_copy *a, struct mc_elem *elems)
{
	int ret = 0;
	u32 i;

	a->out_bytes = 0;
	a->out_index = -1;
	a->out_error = 0;
	for (i = 0; i < a->nr && !ret; i++) {
		ret = mc_copy_elem(&elems[i], &a->out_bytes);
		if (ret) {
			a->out_index = i;
			a->out_error = ret;
		}
	}
	trace_mc_copy(a->nr, a->out_bytes, a->out_index, a->out_error);
	return a->out_bytes ? 0 : ret;
}

int mc_copy(struct mc_call *call)
{
	const u32 known = MC_COPY_ASYNC | MC_COPY_PER_ELEMENT_CQE | MC_COPY_DMA_HINT | MC_COPY_NOCACHE;
	struct mc_ioc_copy *a = call->arg;
	struct mc_copy_vec *vec;
	struct mc_elem *elems;
	u32 i, resolved = 0;
	int ret = 0;

	if (a->flags & ~known || a->cq_fd != -1 || a->user_data || !a->nr)
		return -EINVAL;
	if (a->flags & (MC_COPY_ASYNC | MC_COPY_PER_ELEMENT_CQE))
		return -EOPNOTSUPP;
	if (a->nr > MC_MAX_BATCH)
		return -E2BIG;
	vec = vmemdup_user(u64_to_user_ptr(a->vec), a->nr * sizeof(*vec));
	if (IS_ERR(vec))
		return PTR_ERR(vec);
	elems = kvcalloc(a->nr, sizeof(*elems), MC_GFP_LARGE);
	if (!elems) {
		kvfree(vec);
		return -ENOMEM;
	}
	for (i = 0; i < a->nr && !ret; i++) {
		ret = mc_elem_resolve(&elems[i], &vec[i]);
		resolved = i + 1;
	}
	kvfree(vec);
	if (!ret)
		ret = mc_copy_all(a, elems);
	for (i = 0; i < resolved; i++)
		mc_elem_release(&elems[i]);
	kvfree(elems);
	return ret;
}
