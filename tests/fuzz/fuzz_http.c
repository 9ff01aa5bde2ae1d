// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP, both sides of the metadata service. The first byte says which:
 *
 *	'g' 'r' 'p' 'd'	a hostile service's answers, as the client reads them when it asks for a segment or an address, publishes or
 *			withdraws one; RECORD parts the answers to one connection after the other, the last is repeated
 *	's'		a hostile client's bytes on mooncake-metadata's port
 *	'k'		any key, a zero byte, any value: what was put is what is there
 *
 * The second byte says how the bytes are cut into writes.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "meta/meta.h"
#include "meta_server.h"
#include "net/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define RECORD	  0x1e
#define GIVEN_MS  2000
#define AGAIN	  20000 /* inputs, then an empty server */

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void silence(void *arg, enum mc_log_level level, const char *text)
{
}

static void give(int fd, const uint8_t *data, size_t len, uint8_t cut)
{
	size_t step = cut & 1 ? (size_t)(cut >> 1) + 1 : len;

	for (size_t at = 0; at < len; at += step)
		if (send(fd, data + at, MIN(step, len - at), MSG_NOSIGNAL) < 0)
			break;
}

/* ---- a hostile service ----------------------------------------------------------------------- */

static struct {
	int listener;
	uint16_t port;
	pthread_t thread;
	pthread_mutex_t lock;
	const uint8_t *at, *end; /* what is still to be answered */
	uint8_t cut;
	struct meta *meta;
} service = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* The head of a request, and as much of its body as came with it: the answer does not depend on it. */
static bool hear(int fd)
{
	struct timeval patience = { .tv_sec = GIVEN_MS / 1000 };
	char in[16384];
	size_t nr = 0;
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	while (nr < sizeof(in) && (n = recv(fd, in + nr, sizeof(in) - nr, 0)) > 0) {
		nr += (size_t)n;
		if (memmem(in, nr, "\r\n\r\n", 4))
			return true;
	}
	return false;
}

static void answer_next(int fd)
{
	const uint8_t *stop;

	pthread_mutex_lock(&service.lock);
	stop = service.at ? memchr(service.at, RECORD, (size_t)(service.end - service.at)) : NULL;
	if (service.at)
		give(fd, service.at, (size_t)((stop ? stop : service.end) - service.at), service.cut);
	if (stop)
		service.at = stop + 1;
	pthread_mutex_unlock(&service.lock);
}

static void *service_main(void *arg)
{
	struct linger hard = { .l_onoff = 1 };
	int fd;

	while ((fd = accept(service.listener, NULL, NULL)) >= 0) {
		if (hear(fd)) {
			answer_next(fd);
			shutdown(fd, SHUT_WR);
			hear(fd); /* until the client has it all */
		}
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		close(fd);
	}
	return NULL;
}

static void service_start(void)
{
	char url[64];

	must(!net_listen_range("127.0.0.1", 20000, 60000, &service.listener, &service.port));
	fcntl(service.listener, F_SETFL, 0);
	must(!pthread_create(&service.thread, NULL, service_main, NULL));
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/metadata", service.port);
	must(!meta_open(url, &service.meta));
}

/* What a caller may hear of a service that is there and answers. */
static void known(int ret)
{
	must(ret <= 0);
	must(!ret || ret == -ENOENT || ret == -EIO || ret == -EBADMSG || ret == -ECONNREFUSED || ret == -ETIMEDOUT || ret == -EINVAL);
}

static void get_segment(uint64_t deadline_ns)
{
	struct segment_desc d;
	int ret = meta_get_segment(service.meta, "n1:1", NULL, deadline_ns, &d);

	known(ret);
	if (ret)
		return;
	must(d.name && d.protocol && *d.protocol && d.host && *d.host && d.nr_buffers <= SEGMENT_BUFFERS_MAX);
	segment_desc_fini(&d);
}

static void get_address(uint64_t deadline_ns)
{
	struct rpc_meta rpc;
	int ret = meta_get_rpc(service.meta, "n1:1", deadline_ns, &rpc);

	known(ret);
	must(ret || (*rpc.host && rpc.port && memchr(rpc.host, 0, sizeof(rpc.host))));
}

static void ask_service(uint8_t what, const uint8_t *data, size_t len, uint8_t cut)
{
	const struct rpc_meta rpc = { .host = "10.0.0.1", .port = 15001 };
	uint64_t deadline_ns = deadline_after_ms(GIVEN_MS);

	if (!service.meta)
		service_start();
	pthread_mutex_lock(&service.lock);
	service.at = data;
	service.end = data + len;
	service.cut = cut;
	pthread_mutex_unlock(&service.lock);
	if (what == 'g')
		get_segment(deadline_ns);
	else if (what == 'r')
		get_address(deadline_ns);
	else if (what == 'p')
		known(meta_put_rpc(service.meta, "n1:1", &rpc, deadline_ns));
	if (what == 'p' || what == 'd') /* so that nobody looks after it between two inputs */
		known(meta_del_rpc(service.meta, "n1:1", deadline_ns));
	pthread_mutex_lock(&service.lock);
	service.at = NULL;
	pthread_mutex_unlock(&service.lock);
}

/* ---- hostile clients ------------------------------------------------------------------------- */

static struct {
	struct meta_server *ms;
	uint16_t port;
	unsigned used;
} server;

static void server_new(void)
{
	meta_server_close(server.ms);
	must(!meta_server_open("127.0.0.1", 0, NULL, &server.ms, &server.port));
	server.used = 0;
}

/* Reads until nothing comes for @ms. Return: false at the server's end. */
static bool hear_out(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char in[16384];
	ssize_t n;

	while (poll(&p, 1, ms) > 0) {
		n = recv(fd, in, sizeof(in), 0);
		if (!n || (n < 0 && errno != EAGAIN && errno != EINTR))
			return false;
	}
	return true;
}

/* libmicrohttpd does not see an end that comes with the bytes before it until the connection has been idle for long. */
static void say(const uint8_t *data, size_t len, uint8_t cut)
{
	struct linger hard = { .l_onoff = 1 };
	struct net_addr a;
	int fd = -1;

	must(!net_addr_parse("127.0.0.1", server.port, &a) && !net_connect(&a, deadline_after_ms(GIVEN_MS), &fd));
	net_tune(fd);
	give(fd, data, len, cut);
	if (hear_out(fd, 2) && !shutdown(fd, SHUT_WR))
		hear_out(fd, 20);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(fd);
}

static int ask(const char *method, const char *key, const void *value, size_t len, struct buf *answer)
{
	struct buf url = BUF_INIT;
	int ret;

	buf_printf(&url, "http://127.0.0.1:%u/metadata?key=", server.port);
	must(!http_escape(key, &url));
	buf_put_u8(&url, 0);
	ret = http_request(method, (char *)url.data, "application/json", value, len, MiB, deadline_after_ms(5 * GIVEN_MS), answer);
	buf_fini(&url);
	return ret;
}

static void there_and_gone(const uint8_t *data, size_t len)
{
	const uint8_t *zero = memchr(data, 0, len);
	const char *key = (const char *)data;
	struct buf answer = BUF_INIT;
	size_t size;
	bool same;

	if (!zero)
		return;
	size = len - (size_t)(zero + 1 - data);
	same = size == 5 && !memcmp(zero + 1, "other", 5);
	if (!*key) {
		must(ask("PUT", key, zero + 1, size, &answer) == 400);
	} else {
		must(ask("PUT", key, zero + 1, size, &answer) == 200);
		must(ask("GET", key, NULL, 0, &answer) == 200);
		must(answer.len == size && (!size || !memcmp(answer.data, zero + 1, size)));
		/* A server's address does not change, whoever says so. */
		must(ask("PUT", key, "other", 5, &answer) == (strstr(key, "rpc_meta") && !same ? 400 : 200));
		must(ask("DELETE", key, NULL, 0, &answer) == 200);
		must(ask("GET", key, NULL, 0, &answer) == 404);
	}
	buf_fini(&answer);
}

/* Whatever was said, others are served. */
static void still_there(void)
{
	struct buf answer = BUF_INIT;

	must(ask("PUT", "a key", "a value", 7, &answer) == 200);
	must(ask("GET", "a key", NULL, 0, &answer) == 200 && answer.len == 7 && !memcmp(answer.data, "a value", 7));
	buf_fini(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 2)
		return 0;
	mc_log_set(silence, NULL, MC_LOG_ERR);
	if (!server.ms || ++server.used == AGAIN)
		server_new();
	switch (data[0]) {
	case 'g':
	case 'r':
	case 'p':
	case 'd':
		ask_service(data[0], data + 2, len - 2, data[1]);
		break;
	case 's':
		say(data + 2, len - 2, data[1]);
		if (server.used % 64 == 0)
			still_there();
		break;
	case 'k':
		there_and_gone(data + 2, len - 2);
		break;
	}
	return 0;
}
