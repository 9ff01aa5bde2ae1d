// SPDX-License-Identifier: GPL-2.0-only
/*
 * REGION_PIN: pages of the calling process, pinned for as long as the region lives and charged as locked memory. And
 * memfds of hugetlb, which are nothing else to us: pages to copy from and to export.
 */

#include <linux/file.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>

#include "compat.h"
#include "kmod.h"

#define MC_PIN_CHUNK 512ul		/* pages pinned between two looks at signals and the scheduler */

static atomic64_t mc_nr_pinned = ATOMIC64_INIT(0);	/* pages, of all */

u64 mc_pinned_bytes(void)
{
	return (u64)atomic64_read(&mc_nr_pinned) << PAGE_SHIFT;
}

struct mc_pin {
	struct page **pages;
	struct folio **folios;		/* of a memfd; then these are pinned, and nothing is charged */
	unsigned long nr_folios;
	struct file *memfd;		/* kept from being sealed */
	bool writable;
	unsigned long nr;		/* pinned so far */
	unsigned long charged;
	bool dirty;
	struct user_struct *user;	/* charged in locked_vm */
	struct mm_struct *mm;		/* shown in VmPin */
};

/* Locked memory is limited per user, as io_uring and AF_XDP have it; -ENOMEM, as they say it. */
static int mc_pin_charge(struct user_struct *user, unsigned long nr)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	long now = atomic_long_read(&user->locked_vm), sum;

	do {
		if (check_add_overflow(now, (long)nr, &sum))
			return -ENOMEM;
		if ((unsigned long)sum > limit && !capable(CAP_IPC_LOCK))
			return -ENOMEM;
	} while (!atomic_long_try_cmpxchg(&user->locked_vm, &now, sum));
	return 0;
}

#ifdef MC_HAVE_MEMFD_PIN_FOLIOS
static void mc_pin_hugetlb_free(struct mc_pin *pin)
{
	unsigned long i, n;

	for (i = 0; i < pin->nr_folios; i += n) {
		n = min(pin->nr_folios - i, MC_PIN_CHUNK);
		unpin_folios(pin->folios + i, n);
		cond_resched();
	}
	atomic64_sub(pin->nr, &mc_nr_pinned);
	if (pin->writable)
		mc_backing_writer_end(pin->memfd);
	fput(pin->memfd);
	kvfree(pin->folios);
	kvfree(pin->pages);
	kfree(pin);
}

/* Pin the folios from byte @pos on, note their pages. */
static int mc_pin_hugetlb_chunk(struct mc_pin *pin, loff_t pos, loff_t end)
{
	unsigned long before = pin->nr;
	pgoff_t first;
	long i, n;

	n = memfd_pin_folios(pin->memfd, pos, end - 1, pin->folios + pin->nr_folios, MC_PIN_CHUNK, &first);
	if (n <= 0)
		return n ? n : -EFAULT;
	first >>= PAGE_SHIFT;
	for (i = 0; i < n && pos < end; i++) {
		struct folio *folio = pin->folios[pin->nr_folios + i];

		for (; first < folio_nr_pages(folio) && pos < end; first++, pos += PAGE_SIZE)
			pin->pages[pin->nr++] = folio_page(folio, first);
		first = 0;
	}
	pin->nr_folios += n;
	atomic64_add(pin->nr - before, &mc_nr_pinned);
	return 0;
}

struct mc_pin *mc_pin_hugetlb(struct file *memfd, u64 offset, u64 length, bool writable)
{
	unsigned long per_folio = 1ul << (mc_backing_hugetlb_shift(memfd) - PAGE_SHIFT);
	unsigned long nr = length >> PAGE_SHIFT;
	struct mc_pin *pin;
	int ret;

	ret = mc_backing_check_hugetlb(memfd, offset + length, writable);
	if (ret)
		return ERR_PTR(ret);
	pin = kzalloc(sizeof(*pin), GFP_KERNEL_ACCOUNT);
	if (!pin)
		return ERR_PTR(-ENOMEM);
	if (writable && mc_backing_writer_begin(memfd)) {
		kfree(pin);
		return ERR_PTR(-EACCES);
	}
	pin->writable = writable;
	pin->memfd = get_file(memfd);
	pin->pages = kvcalloc(nr, sizeof(*pin->pages), MC_GFP_LARGE);
	/* A chunk may be asked for beyond what the range has. */
	pin->folios = kvcalloc(nr / per_folio + 2 + MC_PIN_CHUNK, sizeof(*pin->folios), MC_GFP_LARGE);
	ret = pin->pages && pin->folios ? 0 : -ENOMEM;
	while (!ret && pin->nr < nr) {
		ret = fatal_signal_pending(current) ? -EINTR :
		      mc_pin_hugetlb_chunk(pin, offset + ((u64)pin->nr << PAGE_SHIFT), offset + length);
		cond_resched();
	}
	if (ret) {
		mc_pin_hugetlb_free(pin);
		return ERR_PTR(ret);
	}
	return pin;
}
#else
static void mc_pin_hugetlb_free(struct mc_pin *pin)
{
}

struct mc_pin *mc_pin_hugetlb(struct file *memfd, u64 offset, u64 length, bool writable)
{
	return ERR_PTR(-EOPNOTSUPP);
}
#endif

void mc_pin_free(struct mc_pin *pin)
{
	unsigned long i, n;

	if (!pin)
		return;
	if (pin->memfd) {
		mc_pin_hugetlb_free(pin);
		return;
	}
	for (i = 0; i < pin->nr; i += n) {
		n = min(pin->nr - i, MC_PIN_CHUNK);
		unpin_user_pages_dirty_lock(pin->pages + i, n, pin->dirty);
		cond_resched();
	}
	atomic64_sub(pin->nr, &mc_nr_pinned);
	atomic64_sub(pin->nr, &pin->mm->pinned_vm);
	atomic_long_sub(pin->charged, &pin->user->locked_vm);
	mmdrop(pin->mm);
	free_uid(pin->user);
	kvfree(pin->pages);
	kfree(pin);
}

struct page *mc_pin_page(struct mc_pin *pin, pgoff_t index)
{
	return pin->pages[index];
}

static int mc_pin_pages(struct mc_pin *pin, unsigned long addr, unsigned long nr, unsigned int gup_flags)
{
	unsigned long n;
	int ret;

	while (pin->nr < nr) {
		if (fatal_signal_pending(current))
			return -EINTR;
		n = min(nr - pin->nr, MC_PIN_CHUNK);
		ret = pin_user_pages_fast(addr + (pin->nr << PAGE_SHIFT), n, gup_flags, pin->pages + pin->nr);
		if (ret <= 0)
			return ret ? ret : -EFAULT;
		pin->nr += ret;
		atomic64_add(ret, &mc_nr_pinned);
		atomic64_add(ret, &pin->mm->pinned_vm);
		cond_resched();
	}
	return 0;
}

static struct mc_pin *mc_pin_new(unsigned long addr, unsigned long nr, bool rdonly)
{
	unsigned int gup_flags = FOLL_LONGTERM | (rdonly ? MC_PIN_FOR_READ : FOLL_WRITE);
	struct mc_pin *pin;
	int ret;

	pin = kzalloc(sizeof(*pin), GFP_KERNEL_ACCOUNT);
	if (!pin)
		return ERR_PTR(-ENOMEM);
	pin->dirty = !rdonly;
	pin->user = get_uid(current_user());
	pin->mm = current->mm;
	mmgrab(pin->mm);

	/* The whole charge first: the limit keeps pages from being pinned and memory from being spent on counting them. */
	ret = mc_pin_charge(pin->user, nr);
	if (!ret) {
		pin->charged = nr;
		pin->pages = kvcalloc(nr, sizeof(*pin->pages), MC_GFP_LARGE);
		ret = pin->pages ? mc_pin_pages(pin, addr, nr, gup_flags) : -ENOMEM;
	}
	if (ret) {
		mc_pin_free(pin);
		return ERR_PTR(ret);
	}
	return pin;
}

int mc_region_pin(struct mc_call *call)
{
	struct mc_ioc_region_pin *a = call->arg;
	bool rdonly = a->flags & MC_PIN_RDONLY;
	struct mc_region *r;
	u64 end;
	int ret;

	if (a->flags & ~MC_PIN_RDONLY || !mc_fd_flags_ok(a->fd_flags))
		return -EINVAL;
	if (!a->length || !PAGE_ALIGNED(a->addr) || !PAGE_ALIGNED(a->length) ||
	    check_add_overflow(a->addr, a->length, &end))
		return -EINVAL;
	if (rdonly && (a->fd_flags & O_ACCMODE) != O_RDONLY)
		return -EINVAL;
	if (end > TASK_SIZE_MAX)
		return -EFAULT;

	r = mc_region_new(call->file->f_cred, a->length, 0, 0);
	if (IS_ERR(r))
		return PTR_ERR(r);
	r->backing = MC_BACKING_PINNED;
	r->pin = mc_pin_new(a->addr, a->length >> PAGE_SHIFT, rdonly);
	if (IS_ERR(r->pin)) {
		ret = PTR_ERR(r->pin);
		r->pin = NULL;
	} else {
		ret = mc_region_show(call, r, a->fd_flags, &a->out_fd, &a->out_id);
	}
	mc_region_put(r);
	return ret;
}
