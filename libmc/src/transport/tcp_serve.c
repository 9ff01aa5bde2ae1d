/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serving side of our data conversation: READ is answered straight from the ranges it names,
 * WRITE received straight into them. Ranges are held from the moment they are looked up until the
 * last byte has moved.
 */
#include <linux/tcp.h> /* the C library's struct tcp_info ends too early */
#include <netinet/in.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "transport/tcp.h"
#include <mooncake/mooncake.h>

#define STALL_LOOKS 4
#define NO_LOOK_YET UINT64_MAX

/* The ranges of one request, held. */
struct held {
	struct sstream *stream;
	struct list node; /* in sstream.writes while the payload arrives, in .reads while it is sent */
	unsigned nr;
	struct iovec iov[];
};

struct sstream {
	struct tcp *tcp;
	struct list node;
	struct conn *conn;
	bool greeted;
	struct list writes, reads;
	unsigned holding; /* requests that hold ranges */
	/* Is anything moving? Looked at while something is held for so long that the first look comes: most are done before. */
	struct loop_timer timer;
	uint64_t moved; /* at the last look */
	unsigned looks;
	bool closed; /* freed with the last hold */
};

/* Bytes that the other side acknowledged and that arrived from it. */
static uint64_t bytes_moved(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
	return info.tcpi_bytes_acked + info.tcpi_bytes_received;
}

static void watch(struct sstream *s);

/* Memory that is to go has been waited for as long as a peer may take that does nothing. */
static bool is_overdue(const struct sstream *s)
{
	const struct list *const all[] = { &s->writes, &s->reads };
	const struct held *h;

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		list_for_each_entry(h, all[i], node)
			if (reach_overdue(s->tcp->reach, h->iov, h->nr, s->tcp->stall_ns))
				return true;
	return false;
}

static void give_up(struct sstream *s, const char *why)
{
	log_warn_limited("tcp: %s, its stream is closed", why);
	conn_close(s->conn);
}

static void stall_look(struct loop_timer *timer)
{
	struct sstream *s = container_of(timer, struct sstream, timer);
	uint64_t moved = bytes_moved(conn_fd(s->conn));

	s->looks = moved == s->moved ? s->looks + 1 : 0;
	s->moved = moved;
	if (s->looks >= STALL_LOOKS)
		give_up(s, "a peer stopped in the middle of a transfer");
	else if (is_overdue(s))
		give_up(s, "a peer uses memory that is unregistered, and takes too long");
	else
		watch(s);
}

static void watch(struct sstream *s)
{
	loop_timer_set(s->tcp->loop, &s->timer, deadline_after_ns(s->tcp->stall_ns / STALL_LOOKS),
		       stall_look);
}

static void sstream_free(struct sstream *s)
{
	tcp_serving_put(s->tcp);
	free(s);
}

static void release(struct held *h)
{
	struct sstream *s = h->stream;

	reach_put_all(s->tcp->reach, h->iov, h->nr);
	list_del(&h->node);
	free(h);
	if (--s->holding)
		return;
	if (s->closed)
		sstream_free(s);
	else
		loop_timer_del(s->tcp->loop, &s->timer);
}

/* Looks up and holds every range of @m: all or none. */
static int hold(struct sstream *s, const struct msg_data *m, struct held **out)
{
	struct held *h = malloc(sizeof(*h) + m->nr * sizeof(h->iov[0]));
	unsigned held;

	if (!h)
		return -ENOMEM;
	h->stream = s;
	h->nr = 0;
	list_init(&h->node);
	if (!s->holding++) {
		s->looks = 0;
		s->moved = NO_LOOK_YET;
		watch(s);
	}
	for (unsigned i = 0; i < m->nr; i++)
		h->iov[i] = (struct iovec){ (void *)(uintptr_t)m->vecs[i].addr, m->vecs[i].len };
	held = reach_get_all(s->tcp->reach, h->iov, m->nr);
	if (held < m->nr) {
		log_warn_limited("tcp: a peer asked for [0x%llx, +%llu), which is in no registered range",
				 (unsigned long long)m->vecs[held].addr, (unsigned long long)m->vecs[held].len);
		release(h);
		return -EFAULT;
	}
	h->nr = m->nr;
	*out = h;
	return 0;
}

/* Decodes the body of a READ or WRITE and holds its ranges. */
static int begin(struct conn_req *r, struct held **out, uint64_t *bytes)
{
	struct sstream *s = conn_user(r->conn);
	struct msg_data m;
	int ret;

	if (!s->greeted)
		return -EPROTO;
	scratch_reset(&s->tcp->scratch);
	ret = msg_data_decode(r->body, r->frame.body_len, &s->tcp->scratch, &m);
	if (ret)
		return ret;
	*bytes = 0;
	for (uint32_t i = 0; i < m.nr; i++) {
		if (check_add(*bytes, m.vecs[i].len, bytes) || *bytes > NET_PAYLOAD_MAX)
			return -EMSGSIZE;
	}
	return m.nr ? hold(s, &m, out) : -EBADMSG;
}

static int serve_payload(struct conn_req *r, struct iovec *iov, int max)
{
	struct sstream *s = conn_user(r->conn);
	struct held *h;
	uint64_t bytes;
	int ret;

	if (r->frame.type != MSG_WRITE)
		return -EOPNOTSUPP;
	ret = begin(r, &h, &bytes);
	if (ret)
		return ret;
	if (bytes != r->frame.payload_len || h->nr > (unsigned)max) {
		ret = bytes != r->frame.payload_len ? -EBADMSG : -EMSGSIZE;
		release(h);
		return ret;
	}
	memcpy(iov, h->iov, h->nr * sizeof(*iov));
	list_append(&s->writes, &h->node);
	r->user = h;
	return (int)h->nr;
}

static void read_sent(void *arg)
{
	release(arg);
}

static void serve_read(struct conn_req *r)
{
	struct sstream *s = conn_user(r->conn);
	struct held *h;
	uint64_t bytes;
	int ret = begin(r, &h, &bytes);

	if (ret) {
		conn_reply_status(r, ret);
		return;
	}
	list_append(&s->reads, &h->node);
	conn_reply(r, &(struct conn_reply){
			      .payload = h->iov,
			      .nr_payload = (int)h->nr,
			      .shared = true,
			      .sent = read_sent,
			      .arg = h,
		      });
}

static void serve_hello(struct conn_req *r)
{
	struct sstream *s = conn_user(r->conn);
	struct msg_hello_reply rep = {
		.version = PROTO_VERSION,
		.software = { MC_VERSION, strlen(MC_VERSION) },
	};
	struct buf body = BUF_INIT;
	struct msg_hello m;
	int ret;

	scratch_reset(&s->tcp->scratch);
	ret = msg_hello_decode(r->body, r->frame.body_len, &s->tcp->scratch, &m);
	if (ret) {
		conn_reply_status(r, ret);
		return;
	}
	if (m.version_min > PROTO_VERSION || m.version_max < PROTO_VERSION_MIN)
		ret = -EPROTO;
	else
		rep.version = MIN(m.version_max, (uint16_t)PROTO_VERSION);
	s->greeted = !ret;
	memcpy(rep.id, s->tcp->id, sizeof(rep.id));
	msg_hello_reply_encode(&rep, &body);
	conn_reply(r, &(struct conn_reply){
			      .status = body.err ? body.err : ret,
			      .body = body.data,
			      .body_len = body.err ? 0 : body.len,
		      });
	buf_fini(&body);
}

static void serve_request(struct conn_req *r)
{
	switch (r->frame.type) {
	case MSG_HELLO:
		serve_hello(r);
		break;
	case MSG_READ:
		serve_read(r);
		break;
	case MSG_WRITE:
		if (r->user) {
			release(r->user);
			conn_reply_status(r, r->damaged);
		} else {
			conn_reply_status(r, -EBADMSG); /* a write of nothing */
		}
		break;
	default:
		conn_reply_status(r, -EOPNOTSUPP);
	}
}

static void serve_closed(struct conn *c, int err)
{
	struct sstream *s = conn_user(c);
	struct tcp *t = s->tcp;

	list_del(&s->node);
	loop_timer_del(t->loop, &s->timer);
	s->closed = true;
	s->holding++; /* the last release() frees */
	while (!list_empty(&s->writes))
		release(list_first(&s->writes, struct held, node));
	if (!--s->holding)
		sstream_free(s);
}

static const struct conn_ops stream_ops = {
	.payload = serve_payload,
	.request = serve_request,
	.closed = serve_closed,
};

int stream_serve(struct tcp *t, int fd)
{
	struct sstream *s = calloc(1, sizeof(*s));
	int ret;

	if (!s) {
		close(fd);
		return -ENOMEM;
	}
	s->tcp = t;
	list_init(&s->writes);
	list_init(&s->reads);
	ret = conn_open(t->loop, fd, &stream_ops, NULL, s, &s->conn);
	if (ret) {
		close(fd);
		free(s);
		return ret;
	}
	list_append(&t->streams, &s->node);
	tcp_serving_get(t);
	return 0;
}

/* Each leaves the list in closed(), which comes from the loop. */
void stream_close_all(struct tcp *t)
{
	struct sstream *s;

	list_for_each_entry(s, &t->streams, node)
		conn_close(s->conn);
}
