/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stream to a peer of ours. Whoever needs it moves it on; nothing here waits longer than it was
 * told to.
 */
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "transport/tcp.h"
#include <mooncake/mooncake.h>

int stream_open(const struct tcp *t, const struct net_addr *a, bool near, struct tcp_stream **out)
{
	struct msg_hello m = {
		.version_min = PROTO_VERSION_MIN,
		.version_max = PROTO_VERSION,
		.role = ROLE_ENGINE,
		.software = { MC_VERSION, strlen(MC_VERSION) },
	};
	struct tcp_stream *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return -ENOMEM;
	memcpy(m.id, t->id, sizeof(m.id));
	memcpy(m.node, t->node, sizeof(m.node));
	msg_hello_encode(&m, &s->hello_body);
	ret = s->hello_body.err;
	if (!ret)
		ret = tcp_connect_start(a, &s->fd);
	if (ret) {
		buf_fini(&s->hello_body);
		free(s);
		return ret;
	}
	turn_init(&s->turn);
	s->connect_by_ns = deadline_after_ns(NET_CONNECT_NS);
	s->near = near;
	s->refs = 1;
	*out = s;
	return 0;
}

void stream_get(struct tcp_stream *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
}

/*
 * What a broken stream's socket still holds of writes must not arrive later: by then the ranges may
 * have been written anew over another stream. A reset throws it away.
 */
static void throw_away_unsent(struct mux *m)
{
	struct linger hard = { .l_onoff = 1 };

	setsockopt(mux_fd(m), SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
}

void stream_put(struct tcp_stream *s)
{
	/* Acquire and release: the last one sees what the others did with the mux. */
	if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (s->mux) {
		mux_cancel(s->mux, &s->hello);
		if (mux_broken(s->mux))
			throw_away_unsent(s->mux);
		mux_close(s->mux);
	} else {
		close(s->fd);
	}
	buf_fini(&s->hello.reply);
	buf_fini(&s->hello_body);
	turn_fini(&s->turn);
	free(s);
}

static int wait_for(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd pfd = { .fd = fd, .events = events };
	int n;

	do {
		n = poll(&pfd, 1, deadline_left_ms(deadline_ns));
	} while (n < 0 && errno == EINTR && !deadline_passed(deadline_ns));
	return n > 0 ? 0 : -EINPROGRESS;
}

static int say_hello(struct tcp_stream *s)
{
	int err = 0, ret;
	socklen_t len = sizeof(err);

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len))
		return -errno;
	if (err)
		return -err;
	ret = mux_open(s->fd, &s->mux);
	if (ret)
		return ret;
	if (s->near)
		mux_set_near(s->mux);
	s->hello.type = MSG_HELLO;
	s->hello.body = s->hello_body.data;
	s->hello.body_len = s->hello_body.len;
	return mux_submit(s->mux, &s->hello, false);
}

static int hear_hello(struct tcp_stream *s)
{
	struct scratch scratch = SCRATCH_INIT;
	struct msg_hello_reply rep;
	int ret = s->hello.status;

	if (!ret)
		ret = msg_hello_reply_decode(s->hello.reply.data, s->hello.reply.len, &scratch,
					     &rep);
	if (!ret && (rep.version < PROTO_VERSION_MIN || rep.version > PROTO_VERSION))
		ret = -EPROTO;
	if (ret == -EPROTO)
		log_err_limited("tcp: the peer speaks no version of the protocol that this build "
				"does (%d to %d)",
				PROTO_VERSION_MIN, PROTO_VERSION);
	scratch_fini(&scratch);
	return ret;
}

/* One step, on the caller's turn. -EINPROGRESS: nothing more by the deadline. */
static int step(struct tcp_stream *s, uint64_t deadline_ns)
{
	int ret;

	if (s->state == STREAM_CONNECTING) {
		ret = wait_for(s->fd, POLLOUT, MIN(deadline_ns, s->connect_by_ns));
		if (!ret)
			ret = say_hello(s);
		else if (deadline_passed(s->connect_by_ns))
			ret = -ETIMEDOUT;
		if (!ret)
			s->state = STREAM_HELLO;
		return ret;
	}
	/*
	 * Nobody else reads this socket before HELLO was answered, so it may be waited for
	 * directly.
	 */
	if (!mux_poll(s->mux, &s->hello)) {
		ret = wait_for(mux_fd(s->mux), POLLIN, deadline_ns);
		if (ret || !mux_poll(s->mux, &s->hello))
			return ret;
	}
	ret = hear_hello(s);
	if (!ret)
		/* Release: the mux with it; pairs with the first load in stream_advance(). */
		atomic_store_explicit(&s->state, STREAM_READY, memory_order_release);
	return ret;
}

int stream_advance(struct tcp_stream *s, uint64_t deadline_ns)
{
	int ret = 0;

	if (atomic_load_explicit(&s->state, memory_order_acquire) == STREAM_READY)
		return mux_broken(s->mux) ? -ECONNRESET : 0;
	if (!turn_take(&s->turn, deadline_ns))
		return -EINPROGRESS;
	while (!ret && s->state < STREAM_READY)
		ret = step(s, deadline_ns);
	if (ret && ret != -EINPROGRESS) {
		s->state = STREAM_BROKEN;
		s->err = ret;
	}
	if (s->state == STREAM_BROKEN)
		ret = s->err;
	turn_give(&s->turn);
	return ret;
}

int stream_wants(struct tcp_stream *s, short *events)
{
	/* Acquire: with HELLO the mux is there; pairs with the store in step(). */
	switch (atomic_load_explicit(&s->state, memory_order_acquire)) {
	case STREAM_CONNECTING:
		*events = POLLOUT;
		return s->fd;
	case STREAM_HELLO:
		*events = POLLIN;
		return mux_fd(s->mux);
	case STREAM_READY:
		*events = mux_events(s->mux);
		return mux_fd(s->mux);
	default:
		return -1;
	}
}
