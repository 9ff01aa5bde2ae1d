/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Background batches: a few slices are under way, the rest waits, so that whatever else goes the
 * same way has its turn soon. Slices of one request follow each other, as its vectors must.
 */
#include "engine/engine.h"

#include "base/hash.h"

#define SLICE_BYTES	 (1 * MiB)
#define BACKGROUND_BYTES (2 * MiB) /* under way, of one batch */

static uint64_t bytes_of(const struct xvec *v, unsigned nr)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < nr; i++)
		sum += v[i].len;
	return sum;
}

/* The transfer becomes the next slice. False: nothing is left. */
static bool cut(struct item *it)
{
	struct bulk *k = it->bulk;
	uint64_t room = SLICE_BYTES;
	unsigned nr = 0;

	while (k->at < k->nr && nr < SLICE_VECS && room) {
		const struct xvec *v = &k->vec[k->at];
		uint64_t len = MIN(v->len - k->skip, room);

		k->part[nr++] = (struct xvec){ (char *)v->local + k->skip, v->remote + k->skip, len };
		room -= len;
		k->skip += len;
		if (k->skip == v->len) {
			k->at++;
			k->skip = 0;
		}
	}
	it->x.vec = k->part;
	it->x.nr = nr;
	return nr;
}

int slice_prepare(struct item *it)
{
	const struct xfer *x = &it->x;

	if (bytes_of(x->vec, x->nr) <= SLICE_BYTES)
		return 0;
	it->bulk = calloc(1, sizeof(*it->bulk));
	if (!it->bulk)
		return -ENOMEM;
	it->bulk->vec = x->vec;
	it->bulk->nr = x->nr;
	cut(it);
	return 0;
}

static void account(struct mc_batch *b, struct item *it, uint64_t bytes)
{
	b->under_way += bytes - it->under_way;
	it->under_way = bytes;
}

unsigned slices_start(struct mc_batch *b)
{
	unsigned started = 0;

	while (b->next < b->nr && b->under_way < BACKGROUND_BYTES) {
		unsigned first = b->next, nr = 0;

		/* Small ones together. Those that ended waiting stay behind. */
		while (b->next < b->nr && b->under_way < BACKGROUND_BYTES &&
		       b->item[b->next].state == MC_WAITING) {
			struct item *it = &b->item[b->next++];

			account(b, it, bytes_of(it->x.vec, it->x.nr));
			nr++;
		}
		if (nr)
			item_start(b, &b->item[first], nr);
		else
			b->next++;
		started += nr;
	}
	return started;
}

/* The slice that was just moved, as part of the whole. */
static void add_up(struct item *it)
{
	struct bulk *k = it->bulk;
	uint32_t crc = it->x.crc;

	if (it->x.sum && !it->x.summed) {
		crc = 0;
		for (unsigned i = 0; i < it->x.nr; i++)
			crc = crc32c(crc, it->x.vec[i].local, it->x.vec[i].len);
	}
	if (it->x.sum)
		k->crc = crc32c_join(k->crc, crc, it->x.bytes);
	k->moved += it->x.bytes;
}

bool slice_next(struct mc_batch *b, struct item *it)
{
	struct xfer *x = &it->x;

	if (!it->bulk)
		return false;
	add_up(it);
	if (cut(it)) {
		account(b, it, bytes_of(x->vec, x->nr));
		x->summed = false;
		way_ops(it->way)->submit(it->way->peer, &x, 1);
		return true;
	}
	x->bytes = it->bulk->moved;
	x->crc = it->bulk->crc;
	x->summed = true;
	return false;
}

void slice_rewind(struct mc_batch *b, struct item *it)
{
	struct bulk *k = it->bulk;

	if (!k)
		return;
	k->at = 0;
	k->skip = k->moved = 0;
	k->crc = 0;
	cut(it);
	account(b, it, bytes_of(it->x.vec, it->x.nr));
}

void slice_end(struct mc_batch *b, struct item *it)
{
	account(b, it, 0);
	free(it->bulk);
	it->bulk = NULL;
}
