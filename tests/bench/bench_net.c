// SPDX-License-Identifier: Apache-2.0
/* Layer net: round trips and streams of mux and conn, each beside the same bytes through a bare socket. */
#include "bench.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/net.h"

#define BULK (16 * MiB) /* the largest reply */

enum { ASK_ECHO, ASK_BULK };

static uint8_t *bulk, *sink;
static struct loop *server;

static void must(bool ok)
{
	if (!ok) {
		fprintf(stderr, "bench_net: setting up failed\n");
		exit(1);
	}
}

/* ---- our server ---- */

static int on_payload(struct conn_req *r, struct iovec *iov, int max)
{
	iov[0] = (struct iovec){ sink, r->frame.payload_len };
	return r->frame.payload_len <= BULK ? 1 : -EMSGSIZE;
}

static void on_request(struct conn_req *r)
{
	struct iovec iov = { bulk, r->frame.type == ASK_BULK ? get_le64(r->body) : 0 };

	conn_reply(r, &(struct conn_reply){ .body = r->body, .body_len = r->frame.body_len, .payload = &iov, .nr_payload = 1 });
}

static void on_closed(struct conn *c, int err)
{
}

static const struct conn_ops ops = { on_payload, on_request, on_closed };

static int add(void *arg)
{
	struct conn *c;

	return conn_open(server, *(int *)arg, &ops, NULL, NULL, &c);
}

/* ---- the bare one: answers a request of fixed size with a reply of fixed size ---- */

struct bare {
	int fd[2];
	size_t ask, reply;
	pthread_t thread;
};

static bool read_all(int fd, void *p, size_t len)
{
	return recv(fd, p, len, MSG_WAITALL) == (ssize_t)len;
}

static bool write_all(int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static void *bare_main(void *arg)
{
	struct bare *b = arg;
	uint8_t *ask = malloc(b->ask);

	while (read_all(b->fd[1], ask, b->ask) && write_all(b->fd[1], bulk, b->reply))
		;
	free(ask);
	return NULL;
}

static void join(bool tcp, int fd[2])
{
	struct net_addr a;
	int l = -1;

	if (!tcp) {
		must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd));
		return;
	}
	must(!net_addr_parse("127.0.0.1:0", 0, &a) && !net_listen(&a, 1, &l));
	a.len = sizeof(a.ss);
	getsockname(l, (struct sockaddr *)&a.ss, &a.len);
	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(!connect(fd[0], (struct sockaddr *)&a.ss, a.len));
	do
		fd[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	while (fd[1] < 0 && errno == EAGAIN);
	must(fd[1] >= 0);
	close(l);
	for (int i = 0; i < 2; i++) {
		int one = 1;

		setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	}
}

static void bare_open(struct bare *b, bool tcp, size_t ask, size_t reply)
{
	b->ask = ask;
	b->reply = reply;
	join(tcp, b->fd);
	pthread_create(&b->thread, NULL, bare_main, b);
}

static void bare_close(struct bare *b)
{
	shutdown(b->fd[0], SHUT_RDWR);
	pthread_join(b->thread, NULL);
	close(b->fd[0]);
	close(b->fd[1]);
}

static void run_bare(void *arg, uint64_t n)
{
	struct bare *b = arg;

	for (; n; n--)
		must(write_all(b->fd[0], bulk, b->ask) && read_all(b->fd[0], sink, b->reply));
}

/* ---- ours ---- */

struct ours {
	struct mux *m;
	struct mux_req r;
	uint8_t body[64];
	struct iovec in;
};

static void ours_open(struct ours *o, bool tcp)
{
	int fd[2];

	join(tcp, fd);
	must(!mux_open(fd[0], &o->m) && !loop_call(server, add, &fd[1]));
}

/* One request at a time. */
static void run_calls(void *arg, uint64_t n)
{
	struct ours *o = arg;

	for (; n; n--)
		must(!mux_call(o->m, &o->r, deadline_after_ms(10000)));
}

/* 64 at a time. */
static void run_pipeline(void *arg, uint64_t n)
{
	struct mux_req r[64] = { 0 };
	struct ours *o = arg;

	while (n) {
		uint64_t nr = MIN(n, (uint64_t)ARRAY_SIZE(r));

		for (uint64_t i = 0; i < nr; i++) {
			r[i].body = o->body;
			r[i].body_len = o->r.body_len;
			must(!mux_submit(o->m, &r[i], i + 1 < nr));
		}
		for (uint64_t i = 0; i < nr; i++)
			must(!mux_wait(o->m, &r[i], deadline_after_ms(10000)));
		n -= nr;
	}
	for (size_t i = 0; i < ARRAY_SIZE(r); i++)
		buf_fini(&r[i].reply);
}

#define THREADS 4

struct share {
	pthread_t thread;
	struct ours *o;
	uint64_t n;
};

static void *share_main(void *arg)
{
	struct share *s = arg;
	struct mux_req r = s->o->r;

	r.reply = BUF_INIT;
	for (; s->n; s->n--)
		must(!mux_call(s->o->m, &r, deadline_after_ms(10000)));
	buf_fini(&r.reply);
	return NULL;
}

/* Several threads, one stream, each with one request at a time. */
static void run_threads(void *arg, uint64_t n)
{
	struct share s[THREADS];

	for (int i = 0; i < THREADS; i++) {
		s[i] = (struct share){ .o = arg, .n = n / THREADS + 1 };
		pthread_create(&s[i].thread, NULL, share_main, &s[i]);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(s[i].thread, NULL);
}

static void run_codec(void *arg, uint64_t n)
{
	struct net_frame f = { .flags = NET_REPLY, .body_len = 10 };
	uint8_t wire[NET_FRAME_BYTES];

	for (; n; n--) {
		f.id = n;
		net_frame_encode(&f, wire);
		bench_use(wire);
		must(!net_frame_decode(wire, &f));
	}
}

/* ---- cases ---- */

static void compare(const char *name, bool tcp, uint64_t bytes, struct mux_req r, size_t ask, size_t reply, bench_fn fn)
{
	struct ours o = { 0 };
	struct bare b = { 0 };
	char full[64];

	snprintf(full, sizeof(full), "net/%s/%s", tcp ? "tcp" : "unix", name);
	if (!bench_wanted(full))
		return;
	ours_open(&o, tcp);
	bare_open(&b, tcp, ask, reply);
	o.r = r;
	bench_case(full, bytes, fn, &o, "bare socket", run_bare, &b);
	bare_close(&b);
	buf_fini(&o.r.reply);
	mux_close(o.m);
}

static void sizes(bool tcp)
{
	static const struct {
		const char *name;
		size_t len;
	} size[] = { { "4k", 4096 }, { "64k", 65536 }, { "1m", 1 << 20 }, { "16m", 16 << 20 } };
	char name[32];

	compare("round_trip", tcp, 0, (struct mux_req){ .body = bulk, .body_len = 32 }, 64, 64, run_calls);
	compare("64_requests_at_once", tcp, 0, (struct mux_req){ .body = bulk, .body_len = 32 }, 64, 64, run_pipeline);
	compare("4_threads_one_stream", tcp, 0, (struct mux_req){ .body = bulk, .body_len = 32 }, 64, 64, run_threads);
	for (size_t i = 0; i < ARRAY_SIZE(size); i++) {
		struct iovec in = { sink, size[i].len }, out = { bulk, size[i].len };
		uint64_t len = size[i].len;

		snprintf(name, sizeof(name), "read/%s", size[i].name);
		compare(name, tcp, len >= MiB ? len : 0,
			(struct mux_req){ .type = ASK_BULK, .body = &len, .body_len = 8, .in = &in, .nr_in = 1 }, 40,
			len + 40, run_calls);
		snprintf(name, sizeof(name), "write/%s", size[i].name);
		compare(name, tcp, len >= MiB ? len : 0,
			(struct mux_req){ .type = ASK_ECHO, .body = &len, .body_len = 8, .out = &out, .nr_out = 1 },
			len + 40, 40, run_calls);
	}
}

int main(int argc, char **argv)
{
	bench_init(argc, argv);
	bulk = malloc(BULK + 64);
	sink = malloc(BULK + 64);
	memset(bulk, 1, BULK + 64);
	memset(sink, 1, BULK + 64);
	must(!loop_open(&server) && !loop_start(server, "bench-server"));
	bench_case("net/frame_encode+decode", 0, run_codec, NULL, NULL, NULL, NULL);
	sizes(true);
	sizes(false);
	loop_close(server);
	free(bulk);
	free(sink);
	return 0;
}
