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
#define RENEW_NS  (1 * NSEC_PER_SEC) /* limit of one request of the keeper: closing waits for it */

int lease_init(struct etcd_meta *m)
{
	const char *ttl = getenv("MC_ETCD_LEASE_TTL_S");
	pthread_condattr_t attr;
	char *end;

	list_init(&m->kept);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&m->wake, &attr);
	pthread_condattr_destroy(&attr);
	m->ttl_s = TTL_S;
	if (!ttl || !*ttl)
		return 0;
	m->ttl_s = (unsigned)strtoul(ttl, &end, 10);
	if (!*end && m->ttl_s >= 3 && m->ttl_s <= TTL_MAX_S)
		return 0;
	log_err("MC_ETCD_LEASE_TTL_S is \"%s\": seconds from 3 to %d", ttl, TTL_MAX_S);
	return -EINVAL;
}

static int grant(struct etcd_meta *m, uint64_t deadline_ns, int64_t *lease)
{
	struct buf body = BUF_INIT, answer = BUF_INIT;
	int ret;

	etcd_encode_grant(&body, m->ttl_s);
	ret = etcd_ask(m, "/v3/lease/grant", &body, deadline_ns, &answer);
	if (!ret)
		ret = etcd_decode_grant((char *)answer.data, answer.len, lease);
	buf_fini(&body);
	buf_fini(&answer);
	return ret;
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

static int kept_set(struct etcd_meta *m, const char *key, const void *text, size_t len)
{
	struct kept *k = kept_find(m, key);

	if (!k) {
		k = calloc(1, sizeof(*k));
		if (!k)
			return -ENOMEM;
		list_append(&m->kept, &k->node);
		k->key = strdup(key);
		if (!k->key) {
			kept_free(k);
			return -ENOMEM;
		}
	}
	buf_reset(&k->text);
	buf_put(&k->text, text, len);
	return k->text.err;
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

/* ---- the keeper ---------------------------------------------------------------------------------------------------------- */

/* The @i-th kept key, copied: requests run without the lock. 0: there is none. */
static int kept_copy(struct etcd_meta *m, unsigned i, struct buf *key, struct buf *text,
		     int64_t *lease)
{
	struct kept *k;
	int ret = 0;

	pthread_mutex_lock(&m->lock);
	list_for_each_entry(k, &m->kept, node) {
		if (i--)
			continue;
		buf_reset(key);
		buf_reset(text);
		buf_put(key, k->key, strlen(k->key) + 1);
		buf_put(text, k->text.data, k->text.len);
		*lease = m->lease;
		ret = 1;
		break;
	}
	pthread_mutex_unlock(&m->lock);
	return ret;
}

static int write_again(struct etcd_meta *m)
{
	struct buf key = BUF_INIT, text = BUF_INIT;
	int64_t lease = 0;
	unsigned nr = 0;
	int ret;

	ret = grant(m, deadline_after_ns(RENEW_NS), &lease);
	if (!ret) {
		pthread_mutex_lock(&m->lock);
		m->lease = lease;
		pthread_mutex_unlock(&m->lock);
	}
	for (; !ret && kept_copy(m, nr, &key, &text, &lease); nr++) {
		ret = key.err ? key.err : text.err;
		if (!ret)
			ret = etcd_write(m, (char *)key.data, text.data, text.len, lease,
					 deadline_after_ns(RENEW_NS));
	}
	buf_fini(&key);
	buf_fini(&text);
	if (!ret)
		log_info("metadata service %s had lost our lease; %u keys are there again",
			 m->kv.service, nr);
	return ret;
}

/* 0: it lives; -ENOENT: it does not; else the service did not say. */
static int renew(struct etcd_meta *m)
{
	struct buf body = BUF_INIT, answer = BUF_INIT;
	int64_t lease;
	int ret;

	pthread_mutex_lock(&m->lock);
	lease = m->lease;
	pthread_mutex_unlock(&m->lock);
	etcd_encode_lease(&body, lease);
	ret = etcd_ask(m, "/v3/lease/keepalive", &body, deadline_after_ns(RENEW_NS), &answer);
	if (!ret)
		ret = etcd_decode_alive((char *)answer.data, answer.len);
	buf_fini(&body);
	buf_fini(&answer);
	return ret;
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

		if (ret == -ENOENT)
			ret = write_again(m);
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

/* Remembers the key, and writes it on the lease, which is granted first if there is none. */
static int publish(struct etcd_meta *m, const char *key, const void *text, size_t len,
		   uint64_t deadline_ns)
{
	int64_t lease;
	int ret;

	pthread_mutex_lock(&m->lock);
	lease = m->lease;
	pthread_mutex_unlock(&m->lock);
	if (!lease) {
		ret = grant(m, deadline_ns, &lease);
		if (ret)
			return ret;
	}
	pthread_mutex_lock(&m->lock);
	if (!m->lease)
		m->lease = lease;
	lease = m->lease;
	ret = kept_set(m, key, text, len);
	if (!ret)
		ret = start_keeper(m);
	pthread_mutex_unlock(&m->lock);
	if (!ret)
		ret = etcd_write(m, key, text, len, lease, deadline_ns);
	return ret == -ENOENT ? write_again(m) : ret;
}

int lease_put(struct etcd_meta *m, const char *key, const void *text, size_t len,
	      uint64_t deadline_ns)
{
	bool known;
	int ret;

	pthread_mutex_lock(&m->lock);
	known = kept_find(m, key);
	pthread_mutex_unlock(&m->lock);
	ret = publish(m, key, text, len, deadline_ns);
	if (ret && !known)
		lease_forget(m, key); /* the caller was told that it is not there */
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
}
