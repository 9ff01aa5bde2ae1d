// SPDX-License-Identifier: GPL-2.0-only
/* What the dma-bufs of a region have in common: counting, and being taken away. See outlet.h. */

#include <linux/dma-buf.h>
#include <linux/dma-resv.h>

#include "compat.h"
#include "outlet.h"

int mc_outlet_init(struct mc_outlet *o, struct mc_region *r, u64 offset, u64 length, bool rdonly)
{
	int ret = 0;

	o->offset = offset;
	o->length = length;
	o->rdonly = rdonly;
	INIT_LIST_HEAD(&o->node);
	o->h = mc_handle_new(r);
	if (IS_ERR(o->h))
		return PTR_ERR(o->h);
	if (!rdonly) {
		ret = mc_writer_begin(r);
		if (ret)
			goto err_put;
	}
	mutex_lock(&r->lock);
	if (r->state & MC_STATE_REVOKED) {
		ret = -EKEYREVOKED;
	} else {
		atomic_inc(&r->nr_exports);
		atomic64_add(length, &r->exported);
	}
	mutex_unlock(&r->lock);
	if (ret)
		goto err_writer;
	/* Either a PUNCH sees the count, or it is waited for: what it frees must not be taken meanwhile. */
	if (!mc_gate_open(r))
		ret = mc_gate_wait(r);
	if (ret)
		goto err_count;
	mutex_init(&o->lock);
	return 0;

err_count:
	atomic64_sub(length, &r->exported);
	if (atomic_dec_and_test(&r->nr_exports))
		mc_export_gone(r);
err_writer:
	if (!rdonly)
		mc_writer_end(r);
err_put:
	mc_handle_put(o->h);
	return ret;
}

void mc_outlet_fini(struct mc_outlet *o)
{
	struct mc_region *r = o->h->region;

	mutex_lock(&r->lock);
	list_del(&o->node);
	mutex_unlock(&r->lock);
	if (!o->dropped) {
		if (o->drop)
			o->drop(o);
		atomic64_sub(o->length, &r->exported);
	}
	if (!o->rdonly)
		mc_writer_end(r);
	if (atomic_dec_and_test(&r->nr_exports))
		mc_export_gone(r);
	mutex_destroy(&o->lock);
	mc_handle_put(o->h);
}

int mc_outlet_show(struct mc_outlet *o, struct dma_buf *buf)
{
	struct mc_region *r = o->h->region;
	int ret = 0;

	mutex_lock(&r->lock);
	if (r->state & MC_STATE_REVOKED) {
		ret = -EKEYREVOKED;
	} else {
		o->buf = buf;
		list_add(&o->node, &r->outlets);
	}
	mutex_unlock(&r->lock);
	return ret;
}

static void mc_outlet_try_drop(struct mc_outlet *o)
{
	lockdep_assert_held(&o->lock);
	if (!o->revoked || o->maps || o->dropped)
		return;
	o->dropped = true;
	if (o->drop)
		o->drop(o);
	atomic64_sub(o->length, &o->h->region->exported);
}

int mc_outlet_map(struct mc_outlet *o, enum dma_data_direction dir)
{
	int ret = 0;

	if (o->rdonly && dir != DMA_TO_DEVICE)
		return -EACCES;
	mutex_lock(&o->lock);
	/* Either this look sees the closed gate, or mc_outlets_revoke() sees this mapping. */
	if (o->revoked || READ_ONCE(o->h->region->gate) & MC_GATE_REVOKED)
		ret = -EKEYREVOKED;
	else
		o->maps++;
	mutex_unlock(&o->lock);
	return ret;
}

void mc_outlet_unmap(struct mc_outlet *o)
{
	mutex_lock(&o->lock);
	o->maps--;
	mc_outlet_try_drop(o);
	mutex_unlock(&o->lock);
}

void mc_outlets_revoke(struct mc_region *r)
{
	struct mc_outlet *o;

	/*
	 * What is in the list has not been freed, nor its reservation lock: mc_outlet_fini() waits for r->lock. A dma-buf
	 * on its way out has no importers any more.
	 */
	mutex_lock(&r->lock);
	list_for_each_entry(o, &r->outlets, node) {
		dma_resv_lock(o->buf->resv, NULL);
		mutex_lock(&o->lock);
		o->revoked = true;
		mutex_unlock(&o->lock);
		if (dma_buf_is_dynamic(o->buf))
			mc_dma_buf_gone(o->buf);
		mutex_lock(&o->lock);
		mc_outlet_try_drop(o);
		mutex_unlock(&o->lock);
		dma_resv_unlock(o->buf->resv);
	}
	mutex_unlock(&r->lock);
}
