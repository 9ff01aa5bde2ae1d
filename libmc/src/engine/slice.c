/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Background batches: a few slices are under way, the rest waits, so that whatever else goes the
 * same way has its turn soon. Slices of one request follow each other, as its vectors must.
 *
 * All batches of an engine share what may be under way, and none waits for another to end, which a
 * slow peer might not do for long: when there are many, slices are smaller.
 */
#include "engine/engine.h"

#include "base/hash.h"

#define SLICE_MAX	 (1 * MiB)
#define SLICE_MIN	 (64 * KiB)
#define BACKGROUND_BYTES (2 * MiB) /* under way, of one engine */

/* ---- what may be under way ------------------------------------------------------------------- */

/* With the background's lock. */
static void set_bytes(struct mc_batch *b, struct item *it, uint64_t bytes)
{
	struct background *bg = &b->eng->background;
	bool had = b->under_way;

	bg->bytes += bytes - it->under_way;
	b->under_way += bytes - it->under_way;
	it->under_way = bytes;
	if (had != !!b->under_way)
		bg->batches += had ? -1u : 1u;
}

static void account(struct mc_batch *b, struct item *it, uint64_t bytes)
{
	struct background *bg = &b->eng->background;

	if (bytes == it->under_way)
		return;
	pthread_mutex_lock(&bg->lock);
	set_bytes(b, it, bytes);
	pthread_mutex_unlock(&bg->lock);
}

/* For another slice of @b: 0, or SLICE_MIN at least; always so for the only one. With the lock. */
static uint64_t room_for(const struct mc_batch *b)
{
	const struct background *bg = &b->eng->background;
	uint64_t left = BACKGROUND_BYTES - MIN(bg->bytes, BACKGROUND_BYTES);
	uint64_t share = BACKGROUND_BYTES / (bg->batches + !b->under_way);

	share -= MIN(share, b->under_way);
	left = MIN(left, share);
	if (!b->under_way)
		return MAX(left, SLICE_MIN);
	return left < SLICE_MIN ? 0 : left;
}

/* What the next slice of @it may have, instead of the one it had; @goes_on: at least SLICE_MIN. 0: it waits. */
static uint64_t reserve(struct mc_batch *b, struct item *it, bool goes_on)
{
	struct background *bg = &b->eng->background;
	uint64_t room;

	pthread_mutex_lock(&bg->lock);
	set_bytes(b, it, 0);
	room = MIN(room_for(b), SLICE_MAX);
	if (goes_on)
		room = MAX(room, SLICE_MIN);
	set_bytes(b, it, room);
	pthread_mutex_unlock(&bg->lock);
	return room;
}

/* ---- slices ---------------------------------------------------------------------------------- */

/* The transfer becomes the next slice. False: nothing is left. */
static bool cut(struct item *it, uint64_t room)
{
	struct bulk *k = it->bulk;
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

	if (xfer_bytes(x) <= SLICE_MIN)
		return 0;
	it->bulk = calloc(1, sizeof(*it->bulk));
	if (!it->bulk)
		return -ENOMEM;
	it->bulk->vec = x->vec;
	it->bulk->nr = x->nr;
	return 0;
}

/* Return: may it start? */
static bool slice_first(struct mc_batch *b, struct item *it)
{
	uint64_t room = reserve(b, it, false);

	if (room && it->bulk)
		cut(it, room);
	if (room)
		account(b, it, xfer_bytes(&it->x));
	return room;
}

unsigned slices_start(struct mc_batch *b)
{
	unsigned started = 0, first, nr;

	do {
		/* Those that ended waiting stay behind. */
		while (b->next < b->nr && b->item[b->next].state != MC_WAITING)
			b->next++;
		first = b->next;
		/* Small ones together. */
		for (nr = 0; b->next < b->nr && b->item[b->next].state == MC_WAITING && slice_first(b, &b->item[b->next]); nr++)
			b->next++;
		if (nr)
			item_start(b, &b->item[first], nr);
		started += nr;
	} while (nr);
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
	if (it->bulk->at < it->bulk->nr && cut(it, reserve(b, it, true))) {
		account(b, it, xfer_bytes(x));
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
	cut(it, reserve(b, it, true));
	account(b, it, xfer_bytes(&it->x));
}

void slice_end(struct mc_batch *b, struct item *it)
{
	account(b, it, 0);
	free(it->bulk);
	it->bulk = NULL;
}
