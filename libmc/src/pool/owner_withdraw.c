// SPDX-License-Identifier: Apache-2.0
/*
 * Telling the master what left the pool by itself, and which announced objects have their bytes. Eviction happens in the middle
 * of other work, so keys are copied and sent together: at the end of the loop's turn, or before a publication, whose key may be the
 * same.
 */
#include "pool/owner_private.h"

#define WITHDRAW_BYTES_MAX (4 * MiB) /* keys; well below a message's limit */

static void flush_work(struct loop_work *w)
{
	struct withdraw *wd = container_of(w, struct withdraw, work);

	wd->posted = false;
	withdraw_flush(wd->ow);
}

void withdraw_init(struct owner *ow)
{
	ow->withdraw = (struct withdraw){ .ow = ow, .type = MSG_WITHDRAW, .work.fn = flush_work };
	ow->stored = (struct withdraw){ .ow = ow, .type = MSG_STORED, .work.fn = flush_work };
}

void withdraw_fini(struct owner *ow)
{
	free(ow->withdraw.items);
	buf_fini(&ow->withdraw.keys);
	free(ow->stored.items);
	buf_fini(&ow->stored.keys);
}

static void reset(struct withdraw *wd)
{
	wd->nr = 0;
	buf_reset(&wd->keys);
}

void withdraw_reset(struct owner *ow)
{
	reset(&ow->withdraw);
	reset(&ow->stored);
}

static int grow(struct withdraw *wd)
{
	uint32_t cap = wd->cap ? wd->cap * 2 : 256;
	struct drop_item *items;

	if (wd->nr < wd->cap)
		return 0;
	items = realloc(wd->items, cap * sizeof(*items));
	if (!items)
		return -ENOMEM;
	wd->items = items;
	wd->cap = cap;
	return 0;
}

static void add(struct withdraw *wd, const struct key *key, uint64_t gen)
{
	struct owner *ow = wd->ow;
	size_t at = wd->keys.len;

	/* Nobody to tell: SYNCED makes the next master forget what is not told again. */
	if (ow->link.state != LINK_UP)
		return;
	buf_put(&wd->keys, key->data, key->len);
	if (wd->keys.err || grow(wd)) {
		/* The master keeps a location that readers will find stale, or look at twice, which is all it costs. */
		wd->forgotten++;
		wd->keys.len = at;
		wd->keys.err = 0;
		return;
	}
	wd->items[wd->nr++] = (struct drop_item){ .key = { (void *)at, key->len }, .gen = gen };
	if (wd->nr == BATCH_MAX || wd->keys.len > WITHDRAW_BYTES_MAX) {
		withdraw_flush(ow);
	} else if (!wd->posted) {
		wd->posted = true;
		loop_post(ow->loop, &wd->work);
	}
}

void withdraw_add(struct owner *ow, const struct key *key, uint64_t gen)
{
	add(&ow->withdraw, key, gen);
}

void stored_add(struct owner *ow, const struct key *key, uint64_t gen)
{
	add(&ow->stored, key, gen);
}

static void flush(struct withdraw *wd)
{
	struct msg_withdraw m = { .nr = wd->nr, .items = wd->items };
	struct buf b = BUF_INIT;

	if (!wd->nr)
		return;
	for (uint32_t i = 0; i < wd->nr; i++)
		wd->items[i].key.data = wd->keys.data + (size_t)wd->items[i].key.data;
	msg_withdraw_encode(&m, &b);
	reset(wd);
	link_send(wd->ow, wd->type, &b);
	buf_fini(&b);
}

/* Their order is nothing to the master: a generation that is gone is not pending either. */
void withdraw_flush(struct owner *ow)
{
	flush(&ow->stored);
	flush(&ow->withdraw);
}
