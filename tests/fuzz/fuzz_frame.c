// SPDX-License-Identifier: Apache-2.0
/*
 * Bytes from a hostile peer. Byte 0 says who receives them: a frame decoder, a conn, or a mux with open requests; byte 1 how
 * they are cut into writes; the rest is the stream.
 */
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define TAKE_MAX (256 * KiB)
#define OUT_MAX	 4096 /* unanswered bodies above this stop the reading too */

/* ---- frames ---- */

static void decode(const uint8_t *data, size_t len)
{
	uint8_t again[NET_FRAME_BYTES];
	struct net_frame f;

	if (len < NET_FRAME_BYTES || net_frame_decode(data, &f))
		return;
	net_frame_encode(&f, again);
	if (memcmp(again, data, NET_FRAME_BYTES))
		abort(); /* there is one encoding of everything */
}

/* ---- conn ---- */

struct memory {
	struct memory *next;
	uint8_t bytes[];
};

/* The handler's books: what it must see come back. */
static struct loop *loop;
static struct conn_req *held;
static struct memory *placed; /* waiting for request() */
static unsigned in_use;

static void give_back(void *arg)
{
	free(arg);
	in_use--;
}

static int on_payload(struct conn_req *r, struct iovec *iov, int max)
{
	uint64_t len = r->frame.payload_len, first = len / 3;
	static uint32_t crc[3];
	struct memory *m;

	if (len > TAKE_MAX)
		return -EMSGSIZE;
	if (r->frame.type == 13)
		return 0; /* memory of the wrong size */
	m = malloc(sizeof(*m) + len);
	m->next = placed;
	placed = m;
	in_use++;
	r->user = m;
	if (r->frame.type & 1)
		r->piece_crc = crc;
	iov[0] = (struct iovec){ m->bytes, first };
	iov[1] = (struct iovec){ m->bytes + first, 0 };
	iov[2] = (struct iovec){ m->bytes + first, len - first };
	return 3;
}

static void answer(struct conn_req *r)
{
	struct memory *m = r->user;
	struct iovec iov = { m ? m->bytes : NULL, m ? r->frame.payload_len : 0 };

	conn_reply(r, &(struct conn_reply){ .body = r->body, .body_len = r->frame.body_len, .payload = &iov, .nr_payload = 1,
					    .sent = m ? give_back : NULL, .arg = m });
}

static void on_request(struct conn_req *r)
{
	placed = NULL; /* one at a time */
	if (r->frame.type == 7 && !held && !(r->frame.flags & NET_ONEWAY) && r->frame.body_len <= OUT_MAX) {
		held = r; /* answered when the stream is gone, of which a conn that reads no further learns nothing */
		return;
	}
	if (r->frame.type == 9)
		conn_close(r->conn);
	if (r->frame.flags & NET_ONEWAY) {
		if (r->user)
			give_back(r->user);
		return;
	}
	answer(r);
}

static void on_closed(struct conn *c, int err)
{
	if (placed)
		give_back(placed);
	placed = NULL;
	if (held)
		answer(held);
	held = NULL;
	loop_stop(loop);
}

static void ignore(void *arg, int status, const uint8_t *body, size_t len)
{
	in_use--;
}

static void receive_conn(int fd)
{
	static const struct conn_ops ops = { on_payload, on_request, on_closed };
	static const struct conn_limits lim = { .out_bytes_max = OUT_MAX, .requests_max = 3 };
	struct conn *c;

	if (conn_open(loop, fd, &ops, &lim, NULL, &c))
		abort();
	for (int i = 0; i < 3; i++) { /* answers may come among the bytes */
		in_use++;
		if (conn_call(c, 1, "x", 1, DEADLINE_NEVER, ignore, NULL))
			abort();
	}
	loop_run(loop);
	if (in_use)
		abort();
}

/* ---- mux ---- */

static void receive_mux(int fd, uint8_t how)
{
	static uint8_t in[5][8 * KiB];
	struct mux_req r[4] = { 0 };
	struct iovec iov[8];
	struct mux *m;

	memset(in[4], 0, sizeof(in[4]));
	if (mux_open(fd, &m))
		abort();
	for (int i = 0; i < 4; i++) {
		iov[2 * i] = (struct iovec){ in[i], 100 };
		iov[2 * i + 1] = (struct iovec){ in[i] + 100, (size_t)(i * 1000) };
		r[i].in = &iov[2 * i];
		r[i].nr_in = 2;
		r[i].sum_in = i & 1;
		if (mux_submit(m, &r[i], i < 3))
			abort();
	}
	mux_poll(m, &r[how % 4]);
	mux_cancel(m, &r[(how >> 2) % 4]);
	for (int i = 0; i < 4; i++) {
		mux_wait(m, &r[i], deadline_after_ms(60000)); /* longer than the fuzzer waits */
		if (r[i].got > 100 + (uint64_t)i * 1000)
			abort();
		if (in[i][100 + i * 1000])
			abort(); /* beyond the memory it was given; nobody else writes there */
		for (int j = 0; j < r[i].nr_fds; j++)
			close(r[i].fds[j]);
		buf_fini(&r[i].reply);
		memset(in[i], 0, sizeof(in[i]));
	}
	mux_close(m);
}

/* ---- the peer ---- */

static void silence(void *arg, enum mc_log_level level, const char *text)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	size_t step, at;
	int fd[2];

	if (len < 2 || len > 100 * KiB)
		return 0;
	if (!loop) {
		mc_log_set(silence, NULL, MC_LOG_ERR);
		if (loop_open(&loop))
			abort();
	}
	if (data[0] % 3 == 0) {
		decode(data + 2, len - 2);
		return 0;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd))
		abort();
	/* Separate writes of a Unix socket are often separate reads. */
	step = data[1] & 1 ? (size_t)(data[1] >> 1) + 16 : len;
	for (at = 2; at < len; at += step)
		if (send(fd[1], data + at, MIN(step, len - at), MSG_NOSIGNAL) < 0)
			break;
	shutdown(fd[1], SHUT_WR);
	if (data[0] % 3 == 1)
		receive_conn(fd[0]);
	else
		receive_mux(fd[0], data[1]);
	close(fd[1]);
	return 0;
}
