/* SPDX-License-Identifier: Apache-2.0 */
/* A connection that comes back: made by the first caller that needs it, forgotten when it breaks, retried with back-off. */
#include "store/store.h"

#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"

#define RETRY_MIN_NS (50 * NSEC_PER_MSEC)
#define RETRY_MAX_NS (1 * NSEC_PER_SEC)
#define CONNECT_NS (3 * NSEC_PER_SEC)
#define PATIENCE_NS (1 * NSEC_PER_SEC) /* a server that did not answer for so long is not asked again at once */

int link_init(struct link *l, const struct mc_store *s, const char *addr, enum proto_role role)
{
	*l = (struct link){ .store = s, .role = role };
	if (strlen(addr) >= sizeof(l->addr))
		return -EINVAL;
	memcpy(l->addr, addr, strlen(addr) + 1);
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->changed, NULL);
	return 0;
}

void link_fini(struct link *l)
{
	if (l->cur) {
		mux_close(l->cur->mux);
		free(l->cur);
	}
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->lock);
}

void link_shutdown(struct link *l)
{
	pthread_mutex_lock(&l->lock);
	l->closed = true;
	if (l->cur)
		shutdown(mux_fd(l->cur->mux), SHUT_RDWR);
	if (l->greeting)
		shutdown(mux_fd(l->greeting), SHUT_RDWR);
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
}

int hello(struct mux *m, const struct mc_store *s, enum proto_role role, const char *peer, uint64_t deadline_ns,
	  struct msg_hello_reply *out)
{
	return greet(m, &(struct greeting){ role, s->id, s->node, s->name }, peer, deadline_ns, out);
}

/* So that link_shutdown() ends a greeting that is not answered. */
static int greet_server(struct link *l, struct link_conn *c, uint64_t deadline_ns)
{
	int ret;

	pthread_mutex_lock(&l->lock);
	ret = l->closed ? -ESHUTDOWN : 0;
	l->greeting = ret ? NULL : c->mux;
	pthread_mutex_unlock(&l->lock);
	if (ret)
		return ret;
	ret = hello(c->mux, l->store, l->role, l->addr, deadline_ns, &c->hello);
	pthread_mutex_lock(&l->lock);
	l->greeting = NULL;
	pthread_mutex_unlock(&l->lock);
	return ret;
}

static int connect_once(struct link *l, uint64_t deadline_ns, struct link_conn **out)
{
	struct link_conn *c;
	struct net_addr addr;
	int fd, ret;

	ret = net_addr_parse(l->addr, MASTER_PORT, &addr);
	if (ret)
		return ret;
	/* Closing cannot end this wait, so it is short. */
	ret = net_connect(&addr, MIN(deadline_ns, deadline_after_ns(CONNECT_NS)), &fd);
	if (ret)
		return ret;
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	atomic_init(&c->refs, 1);
	ret = mux_open(fd, &c->mux);
	if (ret) {
		free(c);
		close(fd);
		return ret;
	}
	ret = greet_server(l, c, deadline_ns);
	if (ret) {
		mux_close(c->mux);
		free(c);
		return ret;
	}
	*out = c;
	return 0;
}

static void conn_unref(struct link_conn *c)
{
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
		return;
	mux_close(c->mux);
	free(c);
}

/* With the lock, which is released meanwhile: others wait for the outcome, each until its own deadline. */
static int reconnect(struct link *l, uint64_t deadline_ns)
{
	struct link_conn *c = NULL;
	uint64_t wait, began = clock_now_ns();
	int ret;

	l->connecting = true;
	pthread_mutex_unlock(&l->lock);
	ret = connect_once(l, deadline_ns, &c);
	pthread_mutex_lock(&l->lock);
	l->connecting = false;
	pthread_cond_broadcast(&l->changed);
	if (!ret && l->closed) {
		conn_unref(c);
		return -ESHUTDOWN;
	}
	if (!ret) {
		l->failures = 0;
		l->cur = c;
		if (memcmp(l->peer_id, c->hello.id, sizeof(l->peer_id)) && l->renewed)
			l->renewed(l);
		memcpy(l->peer_id, c->hello.id, sizeof(l->peer_id));
		return 0;
	}
	err_note("cannot reach %s: %s", l->addr, strerror(-ret));
	/* An impatient caller says nothing about the server. */
	if (ret == -ETIMEDOUT && clock_now_ns() - began < PATIENCE_NS)
		return ret;
	wait = RETRY_MIN_NS << MIN(l->failures, 5u);
	l->failures++;
	l->retry_ns = clock_now_ns() + MIN(wait, RETRY_MAX_NS);
	return ret;
}

/* With the lock. */
static int await_connecting(struct link *l, uint64_t deadline_ns)
{
	int ret = 0;

	while (l->connecting && !l->closed && !ret)
		ret = cond_wait_until(&l->changed, &l->lock, deadline_ns);
	return l->closed ? -ESHUTDOWN : l->connecting ? -ETIMEDOUT : 0;
}

int link_get(struct link *l, uint64_t deadline_ns, struct link_conn **out)
{
	int ret;

	pthread_mutex_lock(&l->lock);
	ret = await_connecting(l, deadline_ns);
	if (!ret && l->cur && mux_broken(l->cur->mux)) {
		conn_unref(l->cur);
		l->cur = NULL;
	}
	if (!ret && !l->cur)
		ret = l->retry_ns > clock_now_ns() ? -ECONNREFUSED : reconnect(l, deadline_ns);
	if (!ret) {
		atomic_fetch_add_explicit(&l->cur->refs, 1, memory_order_relaxed);
		*out = l->cur;
	}
	pthread_mutex_unlock(&l->lock);
	return ret;
}

void link_put(struct link *l, struct link_conn *c)
{
	if (mux_broken(c->mux)) {
		pthread_mutex_lock(&l->lock);
		if (l->cur == c) {
			l->cur = NULL;
			conn_unref(c);
		}
		pthread_mutex_unlock(&l->lock);
	}
	conn_unref(c);
}

int link_call(struct link *l, uint16_t type, const struct buf *body, uint64_t deadline_ns, struct buf *reply)
{
	struct mux_req r = { .type = type, .body = body ? body->data : NULL, .body_len = body ? body->len : 0 };
	struct link_conn *c;
	int ret;

	if (body && body->err)
		return body->err;
	/* A server that restarted shows only when the old stream breaks: once more on a new one. */
	for (int tries = 0; tries < 2; tries++) {
		ret = link_get(l, deadline_ns, &c);
		if (ret)
			return ret;
		ret = mux_call(c->mux, &r, deadline_ns);
		link_put(l, c);
		if (ret != -ECONNRESET)
			break;
		buf_fini(&r.reply);
	}
	if (ret) {
		buf_fini(&r.reply);
		return ret;
	}
	*reply = r.reply;
	return 0;
}
