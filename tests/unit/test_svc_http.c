// SPDX-License-Identifier: Apache-2.0
/* The HTTP server that daemons share: routes, queries, bodies, many at once. */
#include "../../daemon/svc.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "mctest.h"
#include "net/net.h"

#define SOON deadline_after_ms(10000)

static atomic_uint calls;

static void echo(void *arg, struct http_req *r)
{
	const char *q = r->query(r, "q");

	atomic_fetch_add(&calls, 1);
	buf_printf(r->out, "%s %s %s ", r->method, r->path, q ? q : "-");
	buf_put(r->out, r->body, r->body_len);
}

static void teapot(void *arg, struct http_req *r)
{
	r->status = *(int *)arg;
	r->content_type = "application/json";
	buf_printf(r->out, "{}");
}

static const struct http_route routes[] = {
	{ "GET", "/echo", echo },
	{ "PUT", "/echo", echo },
	{ NULL, "/below/", echo },
	{ "GET", "/teapot", teapot },
};

struct ask {
	uint16_t port;
	unsigned failed;
};

static int ask(uint16_t port, const char *method, const char *path, const char *body, struct buf *out)
{
	char url[256];

	buf_reset(out);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", port, path);
	return http_request(method, url, NULL, body, body ? strlen(body) : 0, MiB, SOON, out);
}

static bool is(const struct buf *b, const char *text)
{
	return b->len == strlen(text) && !memcmp(b->data, text, b->len);
}

static void *ask_often(void *arg)
{
	struct buf b = BUF_INIT;
	struct ask *a = arg;

	for (int i = 0; i < 50; i++)
		a->failed += ask(a->port, "PUT", "/echo", "body", &b) != 200 || !is(&b, "PUT /echo - body");
	buf_fini(&b);
	return NULL;
}

TEST(routes_queries_and_bodies)
{
	struct http_server *h = NULL, *second = NULL;
	struct buf b = BUF_INIT;
	int code = 418;
	uint16_t port = 0;
	char big[2000];

	ASSERT_EQ(http_server_open("127.0.0.1", 0, 1000, routes, ARRAY_SIZE(routes), &code, &h, &port), 0);
	EXPECT_NE(port, 0);
	EXPECT_EQ(http_server_open("127.0.0.1", port, 1000, routes, ARRAY_SIZE(routes), &code, &second, NULL), -EADDRINUSE);
	EXPECT_EQ(ask(port, "GET", "/echo?q=a%20b%2Fc&x=1", NULL, &b), 200);
	EXPECT_TRUE(is(&b, "GET /echo a b/c "));
	EXPECT_EQ(ask(port, "PUT", "/echo", "some bytes", &b), 200);
	EXPECT_TRUE(is(&b, "PUT /echo - some bytes"));
	EXPECT_EQ(ask(port, "DELETE", "/echo", NULL, &b), 405);
	EXPECT_EQ(ask(port, "GET", "/ech", NULL, &b), 404);
	EXPECT_EQ(ask(port, "GET", "/echo/", NULL, &b), 404);
	EXPECT_EQ(ask(port, "POST", "/below/this/one", "x", &b), 200);
	EXPECT_TRUE(is(&b, "POST /below/this/one - x"));
	EXPECT_EQ(ask(port, "GET", "/teapot", NULL, &b), 418);
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = 0;
	EXPECT_EQ(ask(port, "PUT", "/echo", big, &b), 413);
	big[1000] = 0;
	EXPECT_EQ(ask(port, "PUT", "/echo", big, &b), 200);
	buf_fini(&b);
	http_server_close(h);
	http_server_close(NULL);
}

TEST(many_at_once)
{
	struct http_server *h = NULL;
	struct ask a[4] = { 0 };
	pthread_t t[4];
	uint16_t port = 0;

	ASSERT_EQ(http_server_open("127.0.0.1", 0, 1000, routes, ARRAY_SIZE(routes), NULL, &h, &port), 0);
	atomic_store(&calls, 0);
	for (int i = 0; i < 4; i++) {
		a[i].port = port;
		pthread_create(&t[i], NULL, ask_often, &a[i]);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		EXPECT_EQ(a[i].failed, 0u);
	}
	EXPECT_EQ(atomic_load(&calls), 200u);
	http_server_close(h);
}

TEST(ipv6_when_there_is_any)
{
	struct http_server *h = NULL;
	uint16_t port = 0;
	int ret = http_server_open("::1", 0, 1000, routes, ARRAY_SIZE(routes), NULL, &h, &port);

	if (ret == -EADDRNOTAVAIL || ret == -EAFNOSUPPORT)
		SKIP("no IPv6 loopback");
	EXPECT_EQ(ret, 0);
	EXPECT_NE(port, 0);
	http_server_close(h);
}
