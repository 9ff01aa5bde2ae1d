// SPDX-License-Identifier: Apache-2.0
/* Space that processes were granted by an owner that ended: it stays theirs, as far as no object lies in it. */
#include "pool/inner.h"

/* Takes what is free of [off, off+len), by halves: free and taken parts are few and long. */
static int hold_free(struct pool *p, struct pool_holder *h, uint16_t region, uint64_t off, uint64_t len)
{
	uint64_t half = align_up(len / 2, POOL_UNIT);
	int ret = range_take(p->space[region], off, len);

	if (ret == -EBUSY && len > POOL_UNIT) {
		ret = hold_free(p, h, region, off, half);
		return ret ? ret : hold_free(p, h, region, off + half, len - half);
	}
	if (ret)
		return ret == -EBUSY ? 0 : ret;
	p->free -= len;
	ret = range_set_add(&h->held[region], off, len);
	if (ret)
		space_put(p, region, off, len);
	else
		p->granted += len;
	return ret;
}

int pool_hold(struct pool *p, struct pool_holder *h, const struct grant_run *run)
{
	if (run->region >= p->view.nr_regions || !run->len || (run->off | run->len) % POOL_UNIT ||
	    !range_inside(run->off, run->len, p->view.region[run->region].size))
		return -EBADMSG;
	return hold_free(p, h, run->region, run->off, run->len);
}
