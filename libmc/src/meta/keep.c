/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this process published is kept in mind: a service that lost it (it came back empty, or etcd's lease ended while it was away)
 * gets it again. What a service knows of us belongs to a term; the keeper looks now and then whether the term is still on, and when
 * it is not, a new one begins and everything is written in it.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "meta/kv.h"

#define LIMIT_NS (1 * NSEC_PER_SEC) /* of what the keeper does at once: closing waits for it */

void keep_init(struct keep *k, uint64_t period_ns)
{
	list_init(&k->kept);
	pthread_mutex_init(&k->lock, NULL);
	pthread_cond_init(&k->wake, NULL);
	turn_init(&k->writing);
	k->period_ns = period_ns;
}

/* ---- what is kept -------------------------------------------------------------------------------------------------------- */

static void kept_free(struct kept *e)
{
	list_del(&e->node);
	free(e->key);
	buf_fini(&e->text);
	free(e);
}

static struct kept *kept_find(struct keep *k, const char *key)
{
	struct kept *e;

	list_for_each_entry(e, &k->kept, node)
		if (!strcmp(e->key, key))
			return e;
	return NULL;
}

static struct kept *kept_new(struct keep *k, const char *key)
{
	struct kept *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	list_push(&k->kept, &e->node);
	e->key = strdup(key);
	if (e->key)
		return e;
	kept_free(e);
	return NULL;
}

/* The key gets @text, in exchange for the one it had; not written yet. */
static void kept_swap(struct kept *e, struct buf *text)
{
	struct buf had = e->text;

	e->text = *text;
	*text = had;
	e->version++;
	e->term = 0;
}

static void forget(struct keep *k, const char *key)
{
	struct kept *e;

	pthread_mutex_lock(&k->lock);
	e = kept_find(k, key);
	if (e)
		kept_free(e);
	pthread_mutex_unlock(&k->lock);
}

static int64_t term_now(struct keep *k)
{
	int64_t term;

	pthread_mutex_lock(&k->lock);
	term = k->term;
	pthread_mutex_unlock(&k->lock);
	return term;
}

/* A term instead of @lost (0: there was none), unless somebody was faster. */
static int begin(struct kv_meta *m, int64_t lost, uint64_t deadline_ns)
{
	int64_t term = lost + 1;
	int ret = m->kv->begin ? m->kv->begin(m, deadline_ns, &term) : 0;

	if (ret)
		return ret;
	pthread_mutex_lock(&m->keep.lock);
	if (m->keep.term == lost)
		m->keep.term = term;
	pthread_mutex_unlock(&m->keep.lock);
	if (lost)
		log_info("metadata service %s had lost what we published; it is written again",
			 m->service);
	return 0;
}

/* ---- writing ------------------------------------------------------------------------------------------------------------- */

struct letter { /* a copy of a kept key: requests run without the lock */
	struct buf key, text;
	uint64_t version;
	int64_t term;
};

static int copy(struct letter *l, const struct kept *e, int64_t term)
{
	buf_reset(&l->key);
	buf_reset(&l->text);
	buf_put(&l->key, e->key, strlen(e->key) + 1);
	buf_put(&l->text, e->text.data, e->text.len);
	l->version = e->version;
	l->term = term;
	return l->key.err ?: l->text.err ?: 1;
}

/* The first key that is not in our term. 1, 0: there is none, or a negative errno. */
static int next_letter(struct keep *k, struct letter *l)
{
	struct kept *e;
	int ret = 0;

	pthread_mutex_lock(&k->lock);
	list_for_each_entry(e, &k->kept, node) {
		if (e->term && e->term == k->term)
			continue;
		ret = copy(l, e, k->term);
		break;
	}
	pthread_mutex_unlock(&k->lock);
	return ret;
}

static void letter_arrived(struct keep *k, const struct letter *l)
{
	struct kept *e;

	pthread_mutex_lock(&k->lock);
	e = kept_find(k, (char *)l->key.data);
	if (e && e->version == l->version)
		e->term = l->term;
	pthread_mutex_unlock(&k->lock);
}

static int deliver(struct kv_meta *m, const struct letter *l, uint64_t deadline_ns)
{
	int ret = -ENOENT;

	if (l->term)
		ret = m->kv->put(m, (char *)l->key.data, l->text.data, l->text.len, l->term,
				 deadline_ns);
	if (!ret)
		letter_arrived(&m->keep, l);
	return ret == -ENOENT ? begin(m, l->term, deadline_ns) : ret;
}

/* Every key that is not in our term yet. What fails is left to the next call. */
static int write_kept(struct kv_meta *m, uint64_t deadline_ns)
{
	struct letter l = { 0 };
	int ret;

	if (!turn_take(&m->keep.writing, deadline_ns))
		return -ETIMEDOUT;
	while ((ret = next_letter(&m->keep, &l)) > 0 && !deadline_passed(deadline_ns)) {
		ret = deliver(m, &l, deadline_ns);
		if (ret)
			break;
	}
	turn_give(&m->keep.writing);
	buf_fini(&l.key);
	buf_fini(&l.text);
	return ret > 0 ? -ETIMEDOUT : ret;
}

/* ---- the keeper ---------------------------------------------------------------------------------------------------------- */

/* The @i-th key that was written. 1, 0: there are not so many, or a negative errno. */
static int nth_letter(struct keep *k, unsigned i, struct letter *l)
{
	struct kept *e;
	int ret = 0;

	pthread_mutex_lock(&k->lock);
	list_for_each_entry(e, &k->kept, node) {
		if (!e->term || i--)
			continue;
		ret = copy(l, e, e->term);
		break;
	}
	pthread_mutex_unlock(&k->lock);
	return ret;
}

/* Are our keys there? What they say is not looked at: under our name a newer process may have published. */
static int look(struct kv_meta *m, uint64_t deadline_ns)
{
	struct buf answer = BUF_INIT;
	struct letter l = { 0 };
	int ret;

	for (unsigned i = 0; (ret = nth_letter(&m->keep, i, &l)) > 0; i++) {
		buf_reset(&answer);
		ret = m->kv->get(m, (char *)l.key.data, deadline_ns, &answer);
		if (ret)
			break;
	}
	buf_fini(&answer);
	buf_fini(&l.key);
	buf_fini(&l.text);
	return ret;
}

static int keep_up(struct kv_meta *m)
{
	uint64_t deadline_ns = deadline_after_ns(LIMIT_NS);
	int64_t term = term_now(&m->keep);
	int ret = 0;

	if (term)
		ret = m->kv->alive ? m->kv->alive(m, term, deadline_ns) : look(m, deadline_ns);
	if (ret == -ENOENT)
		ret = begin(m, term, deadline_ns);
	return ret ? ret : write_kept(m, deadline_ns);
}

static bool rest(struct keep *k, uint64_t until_ns)
{
	bool stop;

	pthread_mutex_lock(&k->lock);
	while (!k->stop && !deadline_passed(until_ns))
		cond_wait_until(&k->wake, &k->lock, until_ns);
	stop = k->stop;
	pthread_mutex_unlock(&k->lock);
	return !stop;
}

static void *keeper_main(void *arg)
{
	struct kv_meta *m = arg;
	uint64_t period_ns = m->keep.period_ns, wait_ns = period_ns;

	while (rest(&m->keep, deadline_after_ns(wait_ns)))
		wait_ns = keep_up(m) ? MIN(period_ns, NSEC_PER_SEC) : period_ns;
	return NULL;
}

/* With the lock. */
static int start_keeper(struct kv_meta *m)
{
	int ret;

	if (m->keep.keeping)
		return 0;
	ret = thread_start(&m->keep.keeper, "mc-meta", keeper_main, m);
	m->keep.keeping = !ret;
	return ret;
}

/* ---- the calls ----------------------------------------------------------------------------------------------------------- */

/* Takes the key over, in exchange for its earlier @text if it had one. Return: its version, or a negative errno. */
static int64_t take_over(struct kv_meta *m, const char *key, struct buf *text, bool *known)
{
	struct keep *k = &m->keep;
	struct kept *e;
	int64_t ret;

	pthread_mutex_lock(&k->lock);
	ret = start_keeper(m);
	e = kept_find(k, key);
	*known = e;
	if (!e && !ret)
		e = kept_new(k, key);
	if (e && !ret) {
		kept_swap(e, text);
		list_del(&e->node);
		list_push(&k->kept, &e->node);
		ret = (int64_t)e->version;
	}
	pthread_mutex_unlock(&k->lock);
	return ret ?: -ENOMEM;
}

/* Was it written? If not, the caller is told so: the text that it had before is what the keeper shall write. */
static int settle(struct keep *k, const char *key, uint64_t version, struct buf *before, bool known,
		  int ret)
{
	struct kept *e;

	pthread_mutex_lock(&k->lock);
	e = kept_find(k, key);
	if (!e || e->version != version || e->term)
		ret = 0; /* it was, or somebody said something newer */
	else if (known)
		kept_swap(e, before);
	else
		kept_free(e);
	pthread_mutex_unlock(&k->lock);
	return ret;
}

int keep_put(struct kv_meta *m, const char *key, const void *text, size_t len, uint64_t deadline_ns)
{
	struct buf b = BUF_INIT;
	bool known = false;
	int64_t version;
	int ret;

	buf_put(&b, text, len);
	version = b.err ? b.err : take_over(m, key, &b, &known);
	ret = version < 0 ? (int)version : write_kept(m, deadline_ns);
	if (ret && version > 0)
		ret = settle(&m->keep, key, (uint64_t)version, &b, known, ret);
	buf_fini(&b);
	return ret;
}

int keep_del(struct kv_meta *m, const char *key, uint64_t deadline_ns)
{
	int ret;

	forget(&m->keep, key);
	if (!turn_take(&m->keep.writing, deadline_ns))
		return -ETIMEDOUT;
	ret = m->kv->del(m, key, deadline_ns);
	turn_give(&m->keep.writing);
	return ret;
}

void keep_stop(struct kv_meta *m, uint64_t deadline_ns)
{
	struct keep *k = &m->keep;

	pthread_mutex_lock(&k->lock);
	k->stop = true;
	pthread_cond_signal(&k->wake);
	pthread_mutex_unlock(&k->lock);
	if (k->keeping)
		pthread_join(k->keeper, NULL);
	if (k->term && m->kv->end)
		m->kv->end(m, k->term, deadline_ns);
}

void keep_fini(struct keep *k)
{
	while (!list_empty(&k->kept))
		kept_free(list_first(&k->kept, struct kept, node));
	turn_fini(&k->writing);
	pthread_cond_destroy(&k->wake);
	pthread_mutex_destroy(&k->lock);
}
