// SPDX-License-Identifier: Apache-2.0
/*
 * Commits: objects whose bytes are written become findable once the master agreed. One PUBLISH is under way at a time; what
 * arrives meanwhile goes together in the next, so many small commits cost one round trip.
 */
#include "pool/owner_private.h"

struct dropped {
	struct hnode node; /* hash: the generation, which is unique and not chosen by others */
};

int commit_new(struct client *c, struct conn_req *r, uint32_t nr, size_t wire_bytes, struct commit **out)
{
	struct commit *cm;
	size_t bytes;

	if (check_mul((size_t)nr, sizeof(*cm->staged) + sizeof(*cm->status), &bytes) || check_add(bytes, sizeof(*cm), &bytes))
		return -ENOMEM;
	cm = calloc(1, bytes);
	if (!cm)
		return -ENOMEM;
	*cm = (struct commit){
		.client = c,
		.req = r,
		.nr = nr,
		.wire_bytes = wire_bytes,
		.deadline_ns = deadline_after_ns(OWNER_PUBLISH_NS),
		.staged = (void *)(cm + 1),
	};
	cm->status = (void *)(cm->staged + nr);
	list_init(&cm->node);
	c->pending++;
	*out = cm;
	return 0;
}

/* ---- the end of a commit ---- */

static bool was_dropped(struct publisher *p, uint64_t gen)
{
	struct hnode *n;

	if (!p->dropped.count)
		return false;
	for (n = htab_first(&p->dropped, gen); n && n->hash != gen; n = htab_next(n))
		;
	return n;
}

static void settle_one(struct commit *cm, uint32_t i, int status)
{
	struct owner *ow = cm->client->ow;
	const struct publish_item *it = staged_item(cm->staged[i]);
	struct pool_holder *h = cm->own ? NULL : cm->client->holder;

	cm->status[i] = status;
	cm->nr_staged--;
	if (status) {
		ow->count.refused++;
		pool_unstage(ow->pool, cm->staged[i], h);
		cm->given_back |= h != NULL;
	} else if (was_dropped(&ow->publish, it->loc.gen)) {
		/*
		 * Stored and removed before its own verdict came. The master forgets it, should it have come after a sweep.
		 * An announced one goes back to its writer, who finds it removed.
		 */
		withdraw_add(ow, &it->key, it->loc.gen);
		pool_unstage(ow->pool, cm->staged[i], NULL);
	} else if (cm->announce) {
		announce_add(cm->client, cm->staged[i], cm->bytes);
	} else {
		ow->count.committed++;
		pool_publish(ow->pool, cm->staged[i]);
	}
	cm->staged[i] = NULL;
}

static void commit_reply(struct commit *cm)
{
	struct msg_statuses m = { .nr = cm->nr, .status = cm->status };
	struct buf b = BUF_INIT;

	if (cm->own) {
		conn_reply_status(cm->req, cm->status[0]);
		return;
	}
	msg_statuses_encode(&m, &b);
	reply_buf(cm->req, &b);
}

static void commit_end(struct commit *cm)
{
	struct client *c = cm->client;

	list_del(&cm->node);
	if (cm->given_back)
		ledger_note(c);
	commit_reply(cm);
	free(cm);
	c->pending--;
	client_release(c);
}

void commit_settle(struct commit *cm, int status)
{
	for (uint32_t i = 0; i < cm->nr; i++)
		if (cm->staged[i])
			settle_one(cm, i, status);
	commit_end(cm);
}

/* A refusal of all: the request gets the status itself, not a list. */
static void commit_abandon(struct commit *cm, int status)
{
	struct client *c = cm->client;

	if (cm->partly) {
		commit_settle(cm, status);
		return;
	}
	for (uint32_t i = 0; i < cm->nr; i++)
		if (cm->staged[i])
			settle_one(cm, i, status);
	list_del(&cm->node);
	if (cm->given_back)
		ledger_note(c);
	conn_reply_status(cm->req, status);
	free(cm);
	c->pending--;
	client_release(c);
}

/* ---- publishing ---- */

static void enqueue(struct commit *cm);

static void retry_now(struct loop_timer *t)
{
	struct publisher *p = container_of(t, struct publisher, retry);
	struct owner *ow = container_of(p, struct owner, publish);
	struct commit *cm;

	announce_look(ow); /* it may have been one of ours */
	p->nr_again = 0;
	while ((cm = list_first(&p->again, struct commit, node))) {
		list_del(&cm->node);
		enqueue(cm);
	}
	publish_kick(ow);
}

uint32_t publish_pending(const struct owner *ow)
{
	const struct publisher *p = &ow->publish;

	return p->nr_queued + p->nr_sent + p->nr_again;
}

bool publish_announces(const struct owner *ow, const struct client *c)
{
	const struct commit *cm;

	list_for_each_entry(cm, &ow->publish.sent, node)
		if (cm->announce && cm->client == c)
			return true;
	return false;
}

/*
 * Another put of a key is being written, and whether ours is to be stored depends on how that ends: its owner sees to it that
 * it does, soon. Until then the master is asked again, after 1, 2, 4 and then every 8 ms.
 */
static void ask_again(struct commit *cm)
{
	struct owner *ow = cm->client->ow;
	struct publisher *p = &ow->publish;

	list_del(&cm->node);
	cm->tries--; /* those count streams that broke */
	cm->partly = true;
	if (deadline_passed(cm->deadline_ns)) {
		commit_settle(cm, -EAGAIN);
		return;
	}
	list_append(&p->again, &cm->node);
	p->nr_again += cm->nr_staged;
	if (p->retry.slot)
		return;
	if (loop_timer_set(ow->loop, &p->retry, clock_now_ns() + (NSEC_PER_MSEC << MIN(p->retries++, 3u)), retry_now)) {
		p->nr_again -= cm->nr_staged;
		commit_settle(cm, -ENOMEM);
	}
}

/* Verdicts in the order of the items that were sent: the staged ones of each commit of @sent. */
static void settle_sent(struct owner *ow, const struct msg_published *m)
{
	struct publisher *p = &ow->publish;
	uint32_t at = 0, heir = 0;
	struct commit *cm, *tmp;

	list_for_each_entry_safe(cm, tmp, &p->sent, node) {
		for (uint32_t i = 0; i < cm->nr; i++) {
			pool_fetch_staged(ow->pool, &cm->staged[i], cm->nr - i);
			if (!cm->staged[i])
				continue;
			if (heir < m->nr && m->inherited[heir].index == at)
				pool_inherit(cm->staged[i], &m->inherited[heir++]);
			if (m->statuses.status[at++] != -EALREADY)
				settle_one(cm, i, m->statuses.status[at - 1]);
		}
		if (cm->nr_staged)
			ask_again(cm);
		else
			commit_end(cm);
	}
	if (list_empty(&p->again))
		p->retries = 0;
}

static void fail_sent(struct owner *ow, int status)
{
	struct commit *cm;

	while ((cm = list_first(&ow->publish.sent, struct commit, node)))
		commit_abandon(cm, status);
}

/*
 * The stream died before the verdict. What has tries and time left goes to the front of the queue in its old order. What has not
 * may be known to the master all the same: it forgets what is not told again before SYNCED.
 */
static void requeue_sent(struct owner *ow)
{
	struct publisher *p = &ow->publish;
	struct commit *cm, *tmp;
	struct list keep;

	list_init(&keep);
	list_for_each_entry_safe(cm, tmp, &p->sent, node) {
		if (cm->tries < 2 && !deadline_passed(cm->deadline_ns) && !ow->link.stopped) {
			list_del(&cm->node);
			list_append(&keep, &cm->node);
			p->nr_queued += cm->nr_staged;
		} else {
			commit_abandon(cm, -ENOTCONN);
		}
	}
	list_splice(&keep, &p->queue);
	list_splice(&p->queue, &keep);
}

void publish_forget_dropped(struct owner *ow)
{
	struct publisher *p = &ow->publish;

	for (size_t i = 0; i < p->dropped.nr_slots; i++) {
		while (p->dropped.slots[i]) {
			struct hnode *n = p->dropped.slots[i];

			htab_del(&p->dropped, n);
			free(container_of(n, struct dropped, node));
		}
	}
	htab_fini(&p->dropped);
	p->dropped = HTAB_INIT;
}

int publish_dropped(struct owner *ow, uint64_t gen)
{
	struct dropped *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return -ENOMEM;
	ret = htab_add(&ow->publish.dropped, &d->node, gen);
	if (ret)
		free(d);
	return ret;
}

static void published(void *arg, int status, const uint8_t *body, size_t len)
{
	struct owner *ow = arg;
	struct publisher *p = &ow->publish;
	struct scratch s = SCRATCH_INIT;
	struct msg_published m = { 0 };
	uint32_t sent = p->nr_sent;

	p->busy = false;
	p->nr_sent = 0;
	if (!status) {
		status = msg_published_decode(body, len, &s, &m);
		if (!status && m.statuses.nr != sent)
			status = -EBADMSG;
		if (status)
			link_lose(ow, "malformed answer to a publication");
	} else if (status == -ETIMEDOUT) {
		link_lose(ow, "no answer to a publication");
	} else if (status == -ECONNRESET) {
		link_lose(ow, NULL);
	}
	if (!status)
		settle_sent(ow, &m);
	else if (ow->link.state != LINK_UP)
		requeue_sent(ow);
	else
		fail_sent(ow, status);
	publish_forget_dropped(ow);
	scratch_fini(&s);
	publish_kick(ow);
	grant_later(ow);
}

/* Moves what fits one message from the queue to @sent. Return: how many objects. */
static uint32_t take_queue(struct publisher *p)
{
	size_t bytes = 0;
	uint32_t nr = 0;
	struct commit *cm;

	while ((cm = list_first(&p->queue, struct commit, node))) {
		if (nr && (nr + cm->nr_staged > BATCH_MAX || bytes + cm->wire_bytes > NET_BODY_MAX))
			break;
		nr += cm->nr_staged;
		bytes += cm->wire_bytes;
		cm->tries++;
		list_del(&cm->node);
		list_append(&p->sent, &cm->node);
	}
	p->nr_queued -= nr;
	p->nr_sent = nr;
	return nr;
}

static int publish_send(struct owner *ow, uint32_t nr)
{
	struct publisher *p = &ow->publish;
	struct commit *first = list_first(&p->sent, struct commit, node), *cm;
	struct msg_publish m = { 0 };
	struct buf b = BUF_INIT;
	int ret;

	m.items = malloc(nr * sizeof(*m.items));
	if (!m.items)
		return -ENOMEM;
	list_for_each_entry(cm, &p->sent, node)
		for (uint32_t i = 0; i < cm->nr; i++)
			if (cm->staged[i])
				m.items[m.nr++] = *staged_item(cm->staged[i]);
	msg_publish_encode(&m, &b);
	free(m.items);
	ret = b.err;
	if (!ret)
		ret = conn_call(ow->link.conn, MSG_PUBLISH, b.data, b.len, first->deadline_ns, published, ow);
	buf_fini(&b);
	return ret;
}

void publish_kick(struct owner *ow)
{
	struct publisher *p = &ow->publish;
	struct conn *c = ow->link.conn;
	bool corked;
	int ret;

	while (!p->busy && ow->link.state == LINK_UP && !list_empty(&p->queue)) {
		corked = conn_cork(c);
		withdraw_flush(ow);
		ret = -ECONNRESET;
		if (ow->link.state == LINK_UP) {
			p->busy = true; /* published() may come before conn_call() returns */
			ret = publish_send(ow, take_queue(p));
		}
		if (corked)
			conn_uncork(c);
		if (!ret || !p->busy)
			return;
		p->busy = false;
		p->nr_sent = 0;
		fail_sent(ow, ret == -ECONNRESET ? -ENOTCONN : ret == -ENOBUFS ? -EAGAIN : ret);
	}
}

/* ---- waiting for a master ---- */

static void expire(struct loop_timer *t)
{
	struct publisher *p = container_of(t, struct publisher, expire);
	struct owner *ow = container_of(p, struct owner, publish);
	uint64_t now = clock_now_ns();
	struct commit *cm;

	while ((cm = list_first(&p->queue, struct commit, node)) && cm->deadline_ns <= now) {
		p->nr_queued -= cm->nr_staged;
		commit_abandon(cm, -ENOTCONN);
	}
	if (cm)
		loop_timer_set(ow->loop, t, cm->deadline_ns, expire);
}

void publish_fail_all(struct owner *ow, int status)
{
	struct publisher *p = &ow->publish;
	struct commit *cm;

	while ((cm = list_first(&p->queue, struct commit, node)))
		commit_abandon(cm, status);
	while ((cm = list_first(&p->again, struct commit, node)))
		commit_settle(cm, status);
	p->nr_queued = p->nr_again = 0;
	loop_timer_del(ow->loop, &p->expire);
	loop_timer_del(ow->loop, &p->retry);
}

static void enqueue(struct commit *cm)
{
	struct owner *ow = cm->client->ow;
	struct publisher *p = &ow->publish;

	list_append(&p->queue, &cm->node);
	p->nr_queued += cm->nr_staged;
	if (!p->expire.slot && loop_timer_set(ow->loop, &p->expire, cm->deadline_ns, expire)) {
		p->nr_queued -= cm->nr_staged;
		commit_settle(cm, -ENOMEM);
	}
}

void commit_queue(struct commit *cm)
{
	if (cm->nr_staged) {
		struct owner *ow = cm->client->ow;

		enqueue(cm);
		publish_kick(ow);
	} else {
		commit_end(cm);
	}
}

/* ---- COMMIT and ANNOUNCE ---- */

static int commit_admit(struct client *c, const struct msg_commit *m)
{
	struct owner *ow = c->ow;

	if (!c->writer)
		return -EPERM;
	if (ow->closing)
		return -ESHUTDOWN;
	if (!link_is_open(ow))
		return -ENOTCONN;
	if (publish_pending(ow) + m->nr > OWNER_PENDING_MAX)
		return -EAGAIN;
	return 0;
}

static void take(struct client *c, struct conn_req *r, bool announce)
{
	struct owner *ow = c->ow;
	struct commit *cm;
	struct msg_commit m;
	int ret;

	ret = msg_commit_decode(r->body, r->frame.body_len, &ow->scratch, &m);
	for (uint32_t i = 0; !ret && i < m.nr; i++)
		ret = m.items[i].flags & OBJ_PENDING ? -EINVAL : 0; /* that is ours to say */
	if (!ret)
		ret = commit_admit(c, &m);
	if (!ret)
		ret = commit_new(c, r, m.nr, r->frame.body_len, &cm);
	if (ret) {
		conn_reply_status(r, ret);
		return;
	}
	announce_look(ow); /* what is told of those goes the same way */
	ow->count.commits++;
	cm->announce = announce;
	for (uint32_t i = 0; i < m.nr; i++) {
		m.items[i].flags |= announce ? OBJ_PENDING : 0;
		cm->bytes += m.items[i].size;
	}
	cm->nr_staged = pool_stage_many(ow->pool, c->holder, m.items, m.nr, cm->staged, cm->status);
	commit_queue(cm);
}

void commit_request(struct client *c, struct conn_req *r)
{
	take(c, r, false);
}

void announce_request(struct client *c, struct conn_req *r)
{
	take(c, r, true);
}
