/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches. The thread that asks for a status moves its batch on; messages that follow a batch go when one of these looks finds that
 * all of it has succeeded.
 */
#include <stdlib.h>
#include <string.h>

#include "capi/capi.h"

#define BATCH_MAX (1u << 20)

struct note { /* a message that goes when all is done */
	struct note *next;
	struct seg *to;
	notify_msg_t msg;
};

struct batch {
	struct object object;
	struct te *te;
	struct mc_batch *batch;

	pthread_mutex_t lock; /* guards what follows; not held while a message is sent */
	unsigned max, nr;
	struct seg **seg; /* of each request */
	struct mc_request *req;
	struct mc_vec *vec;
	struct note *notes, **last;
	_Atomic bool has_notes;
};

/* ---- life ---------------------------------------------------------------------------------------------------------------- */

static void note_free(struct note *n)
{
	if (!n)
		return;
	seg_put(n->to);
	free(n->msg.name);
	free(n->msg.msg);
	free(n);
}

static void batch_fini(struct object *o)
{
	struct batch *b = (struct batch *)o;
	struct note *n;

	mc_batch_close(b->batch); /* first: it uses the segments */
	while ((n = b->notes)) {
		b->notes = n->next;
		note_free(n);
	}
	for (unsigned i = 0; i < b->nr; i++)
		seg_put(b->seg[i]);
	free(b->seg);
	free(b->req);
	free(b->vec);
	pthread_mutex_destroy(&b->lock);
	te_put(b->te);
	free(b);
}

static void batch_put(struct batch *b)
{
	object_put(b ? &b->object : NULL);
}

static struct batch *batch_new(struct te *te, unsigned max)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	object_init(&b->object, batch_fini);
	pthread_mutex_init(&b->lock, NULL);
	b->last = &b->notes;
	b->max = max;
	b->seg = calloc(max, sizeof(*b->seg));
	b->req = calloc(max, sizeof(*b->req));
	b->vec = calloc(max, sizeof(*b->vec));
	if (b->seg && b->req && b->vec && !mc_batch_open(te->engine, max, NULL, NULL, &b->batch)) {
		atomic_fetch_add_explicit(&te->object.refs, 1, memory_order_relaxed);
		b->te = te;
		return b;
	}
	batch_put(b);
	return NULL;
}

batch_id_t allocateBatchID(transfer_engine_t engine, size_t batch_size)
{
	struct te *te = te_get(engine);
	batch_id_t id = INVALID_BATCH;
	struct batch *b = NULL;

	if (te && batch_size && batch_size <= BATCH_MAX)
		b = batch_new(te, (unsigned)batch_size);
	if (b && !table_add(&te->batches, &b->object))
		id = b->object.id;
	else
		batch_put(b);
	te_put(te);
	return id;
}

/* A batch of that engine: a reference, or NULL. */
static struct batch *batch_get(transfer_engine_t engine, batch_id_t id)
{
	struct te *te = te_get(engine);
	struct batch *b = te ? (struct batch *)table_get(&te->batches, id) : NULL;

	te_put(te);
	return b;
}

int freeBatchID(transfer_engine_t engine, batch_id_t batch_id)
{
	struct batch *b = batch_get(engine, batch_id);
	struct object *gone = NULL;
	int left;

	if (!b)
		return INVALID_ARGUMENT;
	left = mc_batch_poll(b->batch);
	if (!left)
		gone = table_take(&b->te->batches, batch_id);
	batch_put(b);
	object_put(gone);
	return left > 0 ? mc_engine_code(-EBUSY) : left ? mc_engine_code(left) : gone ? 0 : INVALID_ARGUMENT;
}

/* ---- submission ---------------------------------------------------------------------------------------------------------- */

/* The @i-th request from @from. With the batch's lock; on failure nothing is held. */
static int fill(struct batch *b, unsigned i, const struct transfer_request *from)
{
	struct seg *s;
	int ret;

	if (from->opcode != OPCODE_READ && from->opcode != OPCODE_WRITE)
		return -EINVAL;
	if (from->target_id < 0)
		return -EINVAL;
	ret = seg_get(b->te, (uint64_t)from->target_id, &s);
	if (ret)
		return ret;
	b->seg[i] = s;
	b->vec[i] = (struct mc_vec){ from->source, from->target_offset, from->length };
	b->req[i] = (struct mc_request){
		.op = from->opcode == OPCODE_READ ? MC_READ : MC_WRITE,
		.segment = s->segment,
		.vec = &b->vec[i],
		.nr_vec = 1,
	};
	return 0;
}

/* With the batch's lock. */
static int submit(struct batch *b, const struct transfer_request *entries, size_t count)
{
	unsigned filled = 0;
	int ret = 0;

	if (count > b->max - b->nr)
		return -ENOSPC;
	for (; filled < count && !ret; filled++)
		ret = fill(b, b->nr + filled, &entries[filled]);
	if (ret)
		filled--;
	else
		ret = mc_batch_submit(b->batch, &b->req[b->nr], (unsigned)count, te_deadline(b->te));
	if (!ret)
		b->nr += (unsigned)count;
	for (unsigned i = 0; ret && i < filled; i++)
		seg_put(b->seg[b->nr + i]);
	return ret;
}

int submitTransfer(transfer_engine_t engine, batch_id_t batch_id, struct transfer_request *entries, size_t count)
{
	struct batch *b = batch_get(engine, batch_id);
	int ret = -EINVAL;

	if (b && (entries || !count)) {
		pthread_mutex_lock(&b->lock);
		ret = submit(b, entries, count);
		pthread_mutex_unlock(&b->lock);
	}
	batch_put(b);
	return mc_engine_code(ret);
}

static struct note *note_new(struct batch *b, const struct transfer_request *first, const notify_msg_t *msg)
{
	struct note *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->msg = (notify_msg_t){ strdup(msg->name), strdup(msg->msg) };
	if (n->msg.name && n->msg.msg && first->target_id >= 0 && !seg_get(b->te, (uint64_t)first->target_id, &n->to))
		return n;
	note_free(n);
	return NULL;
}

static int submit_with_note(struct batch *b, const struct transfer_request *entries, size_t count, const notify_msg_t *msg)
{
	struct note *n = note_new(b, entries, msg);
	int ret;

	if (!n)
		return -EINVAL;
	pthread_mutex_lock(&b->lock);
	ret = submit(b, entries, count);
	if (!ret) {
		*b->last = n;
		b->last = &n->next;
		b->has_notes = true;
	}
	pthread_mutex_unlock(&b->lock);
	if (ret)
		note_free(n);
	return ret;
}

int submitTransferWithNotify(transfer_engine_t engine, batch_id_t batch_id, struct transfer_request *entries, size_t count,
			     notify_msg_t notify_msg)
{
	struct batch *b = batch_get(engine, batch_id);
	int ret = -EINVAL;

	if (b && entries && count && notify_msg.name && notify_msg.msg)
		ret = submit_with_note(b, entries, count, &notify_msg);
	batch_put(b);
	return mc_engine_code(ret);
}

/* ---- status -------------------------------------------------------------------------------------------------------------- */

/* With the batch's lock, when nothing of it runs. */
static bool all_succeeded(struct batch *b)
{
	struct mc_status s;

	for (unsigned i = 0; i < b->nr; i++)
		if (mc_batch_status(b->batch, i, &s) || s.state != MC_DONE || s.error)
			return false;
	return true;
}

static void send_notes(struct batch *b)
{
	struct note *n, *next;

	pthread_mutex_lock(&b->lock);
	n = all_succeeded(b) ? b->notes : NULL;
	if (n) {
		b->notes = NULL;
		b->last = &b->notes;
		b->has_notes = false;
	}
	pthread_mutex_unlock(&b->lock);
	for (; n; n = next) {
		next = n->next;
		notify_send(n->to, &n->msg);
		note_free(n);
	}
}

static int code_of(const struct mc_status *s)
{
	switch (s->state == MC_DONE ? s->error : 1) {
	case 0:
		return STATUS_COMPLETED;
	case 1:
		return s->state == MC_PENDING ? STATUS_PENDING : STATUS_WAITING;
	case -ECANCELED:
		return STATUS_CANCELED;
	case -ETIMEDOUT:
		return STATUS_TIMEOUT;
	case -EINVAL:
		return STATUS_INVALID;
	default:
		return STATUS_FAILED;
	}
}

static int look(struct batch *b, size_t task, struct transfer_status *out)
{
	struct mc_status s;
	int ret = task <= UINT32_MAX ? mc_batch_status(b->batch, (unsigned)task, &s) : -EINVAL;

	if (ret)
		return -EINVAL;
	if (s.state != MC_DONE || b->has_notes) {
		ret = mc_batch_poll(b->batch);
		if (ret < 0)
			return ret;
		if (!ret && b->has_notes)
			send_notes(b);
		mc_batch_status(b->batch, (unsigned)task, &s);
	}
	*out = (struct transfer_status){ code_of(&s), s.bytes };
	return 0;
}

int getTransferStatus(transfer_engine_t engine, batch_id_t batch_id, size_t task_id, struct transfer_status *status)
{
	struct batch *b = batch_get(engine, batch_id);
	int ret = b && status ? look(b, task_id, status) : -EINVAL;

	batch_put(b);
	return mc_engine_code(ret);
}
