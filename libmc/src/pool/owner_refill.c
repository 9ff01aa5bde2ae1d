// SPDX-License-Identifier: Apache-2.0
/*
 * Telling a master all objects of the pool, in small steps between other work. Changes meanwhile are told as they happen; the
 * stream keeps their order, so whatever is told twice ends right.
 */
#include <sys/uio.h>

#include "pool/owner_private.h"

/* One PUBLISH of a refill; its body is kept to know what a refusal was about. */
struct refill_msg {
	struct owner *ow;
	uint64_t round;
	uint32_t nr;
	struct buf body;
};

static void refill_step(struct loop_work *w);

#define REFILL_AGAIN_NS (20 * NSEC_PER_MSEC)

/* Everything once more: it is rare, and what is known already costs little. */
static void refill_again(struct loop_timer *t)
{
	refill_start(container_of(t, struct owner, link.refill.timer));
}

static void refill_post(struct owner *ow)
{
	struct refill *f = &ow->link.refill;

	if (f->posted)
		return;
	f->posted = true;
	f->work.fn = refill_step;
	loop_post(ow->loop, &f->work);
}

static void refill_finish(struct owner *ow)
{
	struct refill *f = &ow->link.refill;
	struct buf none = BUF_INIT;

	f->walking = false;
	free(f->batch);
	f->batch = NULL;
	if (f->again) {
		if (loop_timer_set(ow->loop, &f->timer, clock_now_ns() + REFILL_AGAIN_NS, refill_again))
			link_lose(ow, "no memory for a timer");
		return;
	}
	link_send(ow, MSG_POOL_SYNCED, &none);
	if (ow->link.state != LINK_UP)
		return;
	log_info("owner: told master %s of %llu objects in %llu ms", ow->master, (unsigned long long)f->items,
		 (unsigned long long)((clock_now_ns() - f->began_ns) / NSEC_PER_MSEC));
	if (f->refused)
		log_info("owner: %llu of them had been stored anew elsewhere and were dropped", (unsigned long long)f->refused);
	link_synced(ow);
}

/* Another put under the key is pending: it is known soon which of them stays. */
static bool later(int status)
{
	return status == -EALREADY || status == -EAGAIN;
}

/* The master has another put under the key: ours is not what readers may see any more. */
static int drop_refused(struct refill_msg *rm, const struct msg_statuses *st)
{
	struct owner *ow = rm->ow;
	struct scratch s = SCRATCH_INIT;
	struct msg_publish m;
	int ret;

	ret = msg_publish_decode(rm->body.data, rm->body.len, &s, &m);
	for (uint32_t i = 0; !ret && i < m.nr; i++) {
		if (!st->status[i])
			continue;
		if (later(st->status[i])) {
			ow->link.refill.again = true;
			continue;
		}
		if (st->status[i] != -EEXIST)
			log_warn_limited("owner: the master refused an object it was told of: %s", strerror(-st->status[i]));
		ow->link.refill.refused++;
		pool_drop(ow->pool, &m.items[i].key, m.items[i].loc.gen, true, clock_now_ns(), 0);
	}
	scratch_fini(&s);
	return ret;
}

static void refill_answer(struct refill_msg *rm, int status, const uint8_t *body, size_t len)
{
	struct owner *ow = rm->ow;
	struct scratch s = SCRATCH_INIT;
	struct msg_published answer;
	struct msg_statuses st;
	bool refused = false;

	if (!status)
		status = msg_published_decode(body, len, &s, &answer);
	st = status ? (struct msg_statuses){ 0 } : answer.statuses;
	if (!status && st.nr != rm->nr)
		status = -EBADMSG;
	for (uint32_t i = 0; !status && i < st.nr; i++)
		refused |= st.status[i] != 0;
	if (refused)
		status = drop_refused(rm, &st);
	scratch_fini(&s);
	if (status)
		link_lose(ow, "it did not take what it was told anew");
}

static void refill_done(void *arg, int status, const uint8_t *body, size_t len)
{
	struct refill_msg *rm = arg;
	struct owner *ow = rm->ow;
	struct refill *f = &ow->link.refill;

	if (rm->round == f->round && ow->link.state == LINK_UP) {
		f->in_flight--;
		if (status == -ECONNRESET)
			link_lose(ow, NULL);
		else
			refill_answer(rm, status, body, len);
		if (ow->link.state == LINK_UP)
			refill_post(ow);
	}
	buf_fini(&rm->body);
	free(rm);
}

static int refill_send(struct owner *ow, uint32_t nr)
{
	struct refill *f = &ow->link.refill;
	struct msg_publish m = { .nr = nr, .items = f->batch };
	struct refill_msg *rm;
	int ret;

	rm = calloc(1, sizeof(*rm));
	if (!rm)
		return -ENOMEM;
	*rm = (struct refill_msg){ .ow = ow, .round = f->round, .nr = nr };
	for (uint32_t i = 0; i < nr; i++)
		f->batch[i].flags &= ~(uint32_t)OBJ_REPLACE; /* it replaced when it was put; now the newer put wins */
	msg_publish_encode(&m, &rm->body);
	ret = rm->body.err;
	f->in_flight++;
	if (!ret)
		ret = conn_call(ow->link.conn, MSG_PUBLISH, rm->body.data, rm->body.len, deadline_after_ns(2 * OWNER_PUBLISH_NS),
				refill_done, rm);
	if (!ret)
		return 0;
	f->in_flight--;
	buf_fini(&rm->body);
	free(rm);
	return ret;
}

/* One batch each time, then everybody else has a turn. */
static void refill_step(struct loop_work *w)
{
	struct refill *f = container_of(w, struct refill, work);
	struct owner *ow = container_of(f, struct owner, link.refill);
	uint32_t nr;

	f->posted = false;
	if (!f->walking || ow->link.state != LINK_UP)
		return;
	if (!f->batch) {
		if (!f->in_flight)
			refill_finish(ow);
		return;
	}
	if (f->in_flight >= REFILL_WINDOW)
		return; /* an answer goes on */
	withdraw_flush(ow);
	nr = pool_walk(ow->pool, &f->cursor, ow->refill_batch, f->batch);
	f->items += nr;
	if (nr && refill_send(ow, nr)) {
		link_lose(ow, "it could not be told what the pool holds");
		return;
	}
	if (!f->cursor) {
		free(f->batch);
		f->batch = NULL;
	}
	refill_post(ow);
}

void refill_start(struct owner *ow)
{
	struct refill *f = &ow->link.refill;

	refill_stop(ow);
	if (ow->link.state != LINK_UP)
		return;
	f->batch = calloc(ow->refill_batch, sizeof(*f->batch));
	if (!f->batch) {
		link_lose(ow, "no memory to tell it what the pool holds");
		return;
	}
	f->walking = true;
	f->cursor = f->items = f->refused = 0;
	f->again = false;
	f->in_flight = 0;
	f->began_ns = clock_now_ns();
	refill_post(ow);
}

void refill_stop(struct owner *ow)
{
	struct refill *f = &ow->link.refill;

	f->round++;
	f->walking = false;
	loop_timer_del(ow->loop, &f->timer);
	free(f->batch);
	f->batch = NULL;
}
