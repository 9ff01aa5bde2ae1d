// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fake of NVIDIA's driver as kmod/nvp2p.c knows it: memory in pages of 64 KiB at addresses of its own, pins that are
 * called back when it is freed, and persistent ones that keep it. One lock does what the resource manager's does: it is
 * held while calling back, and putting pages takes it.
 */

#include <linux/delay.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "mct.h"
#include "nv-p2p.h"

#define MCT_PAGE	0x10000ull
#define MCT_ORDER	(16 - PAGE_SHIFT)

struct mct_alloc {
	struct list_head node;		/* in mct_allocs */
	struct mct *owner;		/* NULL: freed, kept by persistent pins */
	pid_t tgid;			/* whose addresses these are */
	u64 addr;
	u32 nr;
	struct page **pages;
	struct list_head pins;
	u32 persistent;
};

struct mct_pin {
	struct list_head node;		/* in alloc->pins */
	struct mct_alloc *alloc;
	struct nvidia_p2p_page_table table;
	void (*callback)(void *data);	/* NULL: persistent */
	void *data;
	struct nvidia_p2p_page entries[];
};

static DEFINE_MUTEX(mct_rm);
/* guarded by mct_rm */
static LIST_HEAD(mct_allocs);
static u64 mct_next = 0x7f0000000000ull;
static u32 mct_callbacks;

static void mct_alloc_free(struct mct_alloc *m)
{
	while (m->nr)
		__free_pages(m->pages[--m->nr], MCT_ORDER);
	list_del(&m->node);
	kvfree(m->pages);
	kfree(m);
}

static void mct_pin_free(struct mct_pin *pin)
{
	kvfree(pin->table.pages);
	kvfree(pin);
}

static struct mct_alloc *mct_alloc_at(u64 addr, u64 length)
{
	struct mct_alloc *m;

	list_for_each_entry(m, &mct_allocs, node)
		if (addr >= m->addr && length <= m->nr * MCT_PAGE && addr - m->addr <= m->nr * MCT_PAGE - length)
			return m;
	return NULL;
}

static struct mct_pin *mct_pin_new(struct mct_alloc *m, u32 first, u32 nr)
{
	struct mct_pin *pin = kvzalloc(struct_size(pin, entries, nr), GFP_KERNEL);
	u32 i;

	if (!pin)
		return NULL;
	pin->table.pages = kvcalloc(nr, sizeof(*pin->table.pages), GFP_KERNEL);
	if (!pin->table.pages) {
		kvfree(pin);
		return NULL;
	}
	for (i = 0; i < nr; i++) {
		pin->entries[i].physical_address = page_to_phys(m->pages[first + i]);
		pin->table.pages[i] = &pin->entries[i];
	}
	pin->alloc = m;
	pin->table.version = NVIDIA_P2P_PAGE_TABLE_VERSION;
	pin->table.page_size = NVIDIA_P2P_PAGE_SIZE_64KB;
	pin->table.entries = nr;
	return pin;
}

static int mct_get(u64 addr, u64 length, struct nvidia_p2p_page_table **table, void (*callback)(void *), void *data)
{
	struct mct_alloc *m;
	struct mct_pin *pin;
	int ret = mct_fault(MCT_FAIL_P2P);

	if (ret)
		return ret;
	if (!length || addr % MCT_PAGE || length % MCT_PAGE)
		return -EINVAL;
	mutex_lock(&mct_rm);
	m = mct_alloc_at(addr, length);
	pin = NULL;
	/* Addresses mean something to their process only. */
	if (!m || !m->owner || m->tgid != current->tgid)
		ret = -EINVAL;
	else
		pin = mct_pin_new(m, (addr - m->addr) / MCT_PAGE, length / MCT_PAGE);
	if (!ret && !pin)
		ret = -ENOMEM;
	if (!ret) {
		pin->callback = callback;
		pin->data = data;
		m->persistent += !callback;
		list_add(&pin->node, &m->pins);
		*table = &pin->table;
	}
	mutex_unlock(&mct_rm);
	return ret;
}

int nvidia_p2p_get_pages(uint64_t token, uint32_t va_space, uint64_t addr, uint64_t length,
			 struct nvidia_p2p_page_table **table, void (*free_callback)(void *data), void *data)
{
	return free_callback ? mct_get(addr, length, table, free_callback, data) : -EINVAL;
}
EXPORT_SYMBOL_GPL(nvidia_p2p_get_pages);

int nvidia_p2p_get_pages_persistent(uint64_t addr, uint64_t length, struct nvidia_p2p_page_table **table, uint32_t flags)
{
	return mct_get(addr, length, table, NULL, NULL);
}
EXPORT_SYMBOL_GPL(nvidia_p2p_get_pages_persistent);

static int mct_put(struct nvidia_p2p_page_table *table)
{
	struct mct_alloc *m;
	struct mct_pin *pin, *found = NULL;

	mutex_lock(&mct_rm);
	/* @table may be gone: it is looked for, not at. */
	list_for_each_entry(m, &mct_allocs, node)
		list_for_each_entry(pin, &m->pins, node)
			if (&pin->table == table)
				found = pin;
	if (found) {
		m = found->alloc;
		list_del(&found->node);
		m->persistent -= !found->callback;
		if (!m->owner && !m->persistent)
			mct_alloc_free(m);
		mct_pin_free(found);
	}
	mutex_unlock(&mct_rm);
	return found ? 0 : -ENOENT;
}

/* Of pages that were taken back meanwhile it says nothing, as the real one. */
int nvidia_p2p_put_pages(uint64_t token, uint32_t va_space, uint64_t addr, struct nvidia_p2p_page_table *table)
{
	mct_put(table);
	return 0;
}
EXPORT_SYMBOL_GPL(nvidia_p2p_put_pages);

int nvidia_p2p_put_pages_persistent(uint64_t addr, struct nvidia_p2p_page_table *table, uint32_t flags)
{
	WARN_ON(mct_put(table));
	return 0;
}
EXPORT_SYMBOL_GPL(nvidia_p2p_put_pages_persistent);

static long mct_p2p_alloc(struct mct *t, struct mct_p2p *a)
{
	u32 nr = a->length / MCT_PAGE;
	struct mct_alloc *m;

	if (!nr || a->length % MCT_PAGE || nr > 1024)
		return -EINVAL;
	m = kzalloc(sizeof(*m), GFP_KERNEL);
	if (!m)
		return -ENOMEM;
	INIT_LIST_HEAD(&m->node);
	INIT_LIST_HEAD(&m->pins);
	m->owner = t;
	m->tgid = current->tgid;
	m->pages = kvcalloc(nr, sizeof(*m->pages), GFP_KERNEL);
	while (m->pages && m->nr < nr) {
		m->pages[m->nr] = alloc_pages(GFP_KERNEL | __GFP_ZERO | __GFP_COMP, MCT_ORDER);
		if (!m->pages[m->nr])
			break;
		m->nr++;
	}
	if (m->nr < nr) {
		mct_alloc_free(m);
		return -ENOMEM;
	}
	mutex_lock(&mct_rm);
	m->addr = mct_next;
	mct_next += a->length + MCT_PAGE;
	list_add(&m->node, &mct_allocs);
	mutex_unlock(&mct_rm);
	a->addr = m->addr;
	return 0;
}

static void mct_p2p_free(struct mct_alloc *m, u32 delay_us)
{
	struct mct_pin *pin, *next;
	LIST_HEAD(gone);

	lockdep_assert_held(&mct_rm);
	m->owner = NULL;
	list_for_each_entry_safe(pin, next, &m->pins, node)
		if (pin->callback)
			list_move(&pin->node, &gone);
	list_for_each_entry_safe(pin, next, &gone, node) {
		if (delay_us)
			usleep_range(delay_us, delay_us + 100);
		pin->callback(pin->data);
		mct_callbacks++;
		mct_pin_free(pin);
	}
	if (!m->persistent)
		mct_alloc_free(m);
}

static long mct_p2p_word(struct mct_alloc *m, struct mct_p2p *a)
{
	u64 offset = a->addr - m->addr, *p;

	if (offset % 8)
		return -EINVAL;
	p = page_address(m->pages[offset / MCT_PAGE]) + offset % MCT_PAGE;
	if (a->op == MCT_P2P_POKE)
		*p = a->value;
	else
		a->value = *p;
	return 0;
}

static long mct_p2p_do(struct mct *t, struct mct_p2p *a)
{
	struct mct_alloc *m = mct_alloc_at(a->addr, 8);
	struct mct_pin *pin;

	switch (a->op) {
	case MCT_P2P_FREE:
		if (!m || m->owner != t || m->addr != a->addr)
			return -EINVAL;
		mct_p2p_free(m, min(a->delay_us, 100000u));
		return 0;
	case MCT_P2P_PEEK:
	case MCT_P2P_POKE:
		return m ? mct_p2p_word(m, a) : -EINVAL;
	case MCT_P2P_STAT:
		a->out_pins = 0;
		a->out_persistent = m ? m->persistent : 0;
		a->out_callbacks = mct_callbacks;
		a->out_allocs = 0;
		if (m)
			list_for_each_entry(pin, &m->pins, node)
				a->out_pins += !!pin->callback;
		list_for_each_entry(m, &mct_allocs, node)
			a->out_allocs++;
		return 0;
	}
	return -EINVAL;
}

long mct_p2p(struct mct *t, struct mct_p2p *a)
{
	long ret;

	if (a->op == MCT_P2P_ALLOC)
		return mct_p2p_alloc(t, a);
	mutex_lock(&mct_rm);
	ret = mct_p2p_do(t, a);
	mutex_unlock(&mct_rm);
	return ret;
}

void mct_p2p_release(struct mct *t)
{
	struct mct_alloc *m, *next;

	mutex_lock(&mct_rm);
	list_for_each_entry_safe(m, next, &mct_allocs, node)
		if (m->owner == t)
			mct_p2p_free(m, 0);
	mutex_unlock(&mct_rm);
}

/* Who still had pages would hold the module. */
void mct_p2p_exit(void)
{
	WARN_ON(!list_empty(&mct_allocs));
}
