/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this process published in etcd lives on a lease. The keeper renews it three times in its life; when the service has lost it
 * (it was away longer than that, or came back empty), there is a new one and everything is written again.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "meta/etcd.h"

#define TTL_S	  30
#define TTL_MAX_S 3600
#define RENEW_NS  (1 * NSEC_PER_SEC) /* limit of what the keeper does at once: closing waits for it */

void lease_init(struct etcd_meta *m)
{
	pthread_condattr_t attr;

	list_init(&m->kept);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&m->wake, &attr);
	pthread_condattr_destroy(&attr);
	turn_init(&m->writing);
}

int lease_read_ttl(struct etcd_meta *m)
{
	const char *ttl = getenv("MC_ETCD_LEASE_TTL_S");
	char *end;

	m->ttl_s = TTL_S;
	if (!ttl || !*ttl)
		return 0;
	m->ttl_s = (unsigned)strtoul(ttl, &end, 10);
	if (!*end && m->ttl_s >= 3 && m->ttl_s <= TTL_MAX_S)
		return 0;
	log_err("MC_ETCD_LEASE_TTL_S is \"%s\": seconds from 3 to %d", ttl, TTL_MAX_S);
	return -EINVAL;
}

/* A lease instead of @lost (0: there was none), unless somebody was faster. */
static int grant(struct etcd_meta *m, int64_t lost, uint64_t deadline_ns)
{
	struct buf body = BUF_INIT, answer = BUF_INIT;
	int64_t lease;
	int ret;

	etcd_encode_grant(&body, m->ttl_s);
	ret = etcd_ask(m, "/v3/lease/grant", &body, deadline_ns, &answer);
	if (!ret)
		ret = etcd_decode_grant((char *)answer.data, answer.len, &lease);
	if (!ret) {
		pthread_mutex_lock(&m->lock);
		if (m->lease == lost)
			m->lease = lease;
		pthread_mutex_unlock(&m->lock);
	}
	if (!ret && lost)
		log_info("metadata service %s had lost our lease; our keys are written again",
			 m->kv.service);
	buf_fini(&body);
	buf_fini(&answer);
	return ret;
}

static int64_t lease_now(struct etcd_meta *m)
{
	int64_t lease;

	pthread_mutex_lock(&m->lock);
	lease = m->lease;
	pthread_mutex_unlock(&m->lock);
	return lease;
}

/* ---- what is kept -------------------------------------------------------------------------------------------------------- */

static void kept_free(struct kept *k)
{
	list_del(&k->node);
	free(k->key);
	buf_fini(&k->text);
	free(k);
}

static struct kept *kept_find(struct etcd_meta *m, const char *key)
{
	struct kept *k;

	list_for_each_entry(k, &m->kept, node)
		if (!strcmp(k->key, key))
			return k;
	return NULL;
}

static struct kept *kept_new(struct etcd_meta *m, const char *key)
{
	struct kept *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	list_push(&m->kept, &k->node);
	k->key = strdup(key);
	if (k->key)
		return k;
	kept_free(k);
	return NULL;
}

/* The key gets @text, in exchange for the one it had; not written yet. */
static void kept_swap(struct kept *k, struct buf *text)
{
	struct buf had = k->text;

	k->text = *text;
	*text = had;
	k->version++;
	k->lease = 0;
}

void lease_forget(struct etcd_meta *m, const char *key)
{
	struct kept *k;

	pthread_mutex_lock(&m->lock);
	k = kept_find(m, key);
	if (k)
		kept_free(k);
	pthread_mutex_unlock(&m->lock);
}

/* ---- writing ------------------------------------------------------------------------------------------------------------- */

struct letter { /* a copy of a kept key: requests run without the lock */
	struct buf key, text;
	uint64_t version;
	int64_t lease;
};

/* The first key that is not on our lease. 1, 0: there is none, or a negative errno. */
static int next_letter(struct etcd_meta *m, struct letter *l)
{
	struct kept *k;
	int ret = 0;

	buf_reset(&l->key);
	buf_reset(&l->text);
	pthread_mutex_lock(&m->lock);
	list_for_each_entry(k, &m->kept, node) {
		if (k->lease && k->lease == m->lease)
			continue;
		buf_put(&l->key, k->key, strlen(k->key) + 1);
		buf_put(&l->text, k->text.data, k->text.len);
		l->version = k->version;
		l->lease = m->lease;
		ret = l->key.err ?: l->text.err ?: 1;
		break;
	}
	pthread_mutex_unlock(&m->lock);
	return ret;
}

static void letter_arrived(struct etcd_meta *m, const struct letter *l)
{
	struct kept *k;

	pthread_mutex_lock(&m->lock);
	k = kept_find(m, (char *)l->key.data);
	if (k && k->version == l->version)
		k->lease = l->lease;
	pthread_mutex_unlock(&m->lock);
}

/* Every key that is not on our lease yet. What fails is left to the next call. */
static int write_kept(struct etcd_meta *m, uint64_t deadline_ns)
{
	struct letter l = { 0 };
	int ret;

	if (!turn_take(&m->writing, deadline_ns))
		return -ETIMEDOUT;
	while ((ret = next_letter(m, &l)) > 0 && !deadline_passed(deadline_ns)) {
		ret = l.lease ? etcd_write(m, (char *)l.key.data, l.text.data, l.text.len, l.lease,
					   deadline_ns) :
				-ENOENT;
		if (!ret)
			letter_arrived(m, &l);
		if (ret == -ENOENT)
			ret = grant(m, l.lease, deadline_ns);
		if (ret)
			break;
	}
	turn_give(&m->writing);
	buf_fini(&l.key);
	buf_fini(&l.text);
	return ret > 0 ? -ETIMEDOUT : ret;
}

/* ---- the keeper ---------------------------------------------------------------------------------------------------------- */

/* A lease that is lost gets a successor. Else: the service did not say. */
static int renew(struct etcd_meta *m)
{
	uint64_t deadline_ns = deadline_after_ns(RENEW_NS);
	struct buf body = BUF_INIT, answer = BUF_INIT;
	int64_t lease = lease_now(m);
	int ret;

	if (!lease)
		return 0;
	etcd_encode_lease(&body, lease);
	ret = etcd_ask(m, "/v3/lease/keepalive", &body, deadline_ns, &answer);
	if (!ret)
		ret = etcd_decode_alive((char *)answer.data, answer.len);
	buf_fini(&body);
	buf_fini(&answer);
	return ret == -ENOENT ? grant(m, lease, deadline_ns) : ret;
}

static bool rest(struct etcd_meta *m, uint64_t until_ns)
{
	struct timespec ts = { (time_t)(until_ns / NSEC_PER_SEC), (long)(until_ns % NSEC_PER_SEC) };
	bool stop;

	pthread_mutex_lock(&m->lock);
	while (!m->stop && !deadline_passed(until_ns))
		pthread_cond_timedwait(&m->wake, &m->lock, &ts);
	stop = m->stop;
	pthread_mutex_unlock(&m->lock);
	return !stop;
}

static void *keeper_main(void *arg)
{
	struct etcd_meta *m = arg;
	uint64_t third_ns = m->ttl_s * NSEC_PER_SEC / 3, wait_ns = third_ns;

	while (rest(m, deadline_after_ns(wait_ns))) {
		int ret = renew(m);

		if (!ret)
			ret = write_kept(m, deadline_after_ns(RENEW_NS));
		wait_ns = ret ? MIN(third_ns, NSEC_PER_SEC) : third_ns;
	}
	return NULL;
}

/* With the lock held. */
static int start_keeper(struct etcd_meta *m)
{
	int ret;

	if (m->keeping)
		return 0;
	ret = thread_start(&m->keeper, "mc-etcd", keeper_main, m);
	m->keeping = !ret;
	return ret;
}

/* ---- the calls ----------------------------------------------------------------------------------------------------------- */

/* Takes the key over, in exchange for its earlier @text if it had one. Return: its version, or a negative errno. */
static int64_t take_over(struct etcd_meta *m, const char *key, struct buf *text, bool *known)
{
	struct kept *k;
	int64_t ret;

	pthread_mutex_lock(&m->lock);
	ret = start_keeper(m);
	k = kept_find(m, key);
	*known = k;
	if (!k && !ret)
		k = kept_new(m, key);
	if (k && !ret) {
		kept_swap(k, text);
		list_del(&k->node);
		list_push(&m->kept, &k->node);
		ret = (int64_t)k->version;
	}
	pthread_mutex_unlock(&m->lock);
	return ret ?: -ENOMEM;
}

/* Was it written? If not, the caller is told so: the text that it had before is what the keeper shall write. */
static int settle(struct etcd_meta *m, const char *key, uint64_t version, struct buf *before,
		  bool known, int ret)
{
	struct kept *k;

	pthread_mutex_lock(&m->lock);
	k = kept_find(m, key);
	if (!k || k->version != version || k->lease)
		ret = 0; /* it was, or somebody said something newer */
	else if (known)
		kept_swap(k, before);
	else
		kept_free(k);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

int lease_put(struct etcd_meta *m, const char *key, const void *text, size_t len,
	      uint64_t deadline_ns)
{
	struct buf b = BUF_INIT;
	int64_t version;
	bool known = false;
	int ret;

	buf_put(&b, text, len);
	version = b.err ? b.err : take_over(m, key, &b, &known);
	ret = version < 0 ? (int)version : write_kept(m, deadline_ns);
	if (ret && version > 0)
		ret = settle(m, key, (uint64_t)version, &b, known, ret);
	buf_fini(&b);
	return ret;
}

static void revoke(struct etcd_meta *m)
{
	struct buf body = BUF_INIT, answer = BUF_INIT;

	etcd_encode_lease(&body, m->lease);
	etcd_ask(m, "/v3/lease/revoke", &body, deadline_after_ns(RENEW_NS), &answer);
	buf_fini(&body);
	buf_fini(&answer);
}

void lease_end(struct etcd_meta *m)
{
	pthread_mutex_lock(&m->lock);
	m->stop = true;
	pthread_cond_signal(&m->wake);
	pthread_mutex_unlock(&m->lock);
	if (m->keeping)
		pthread_join(m->keeper, NULL);
	if (m->lease)
		revoke(m);
	while (!list_empty(&m->kept))
		kept_free(list_first(&m->kept, struct kept, node));
	pthread_cond_destroy(&m->wake);
	turn_fini(&m->writing);
}
