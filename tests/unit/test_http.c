// SPDX-License-Identifier: Apache-2.0
/* The HTTP client against a server of one thread that says what the test wrote down. */
#include "net/net.h"

#include "mctest.h"
#include "unit/net_server.h"

struct site {
	int fd;
	char url[64], seen[4096];
	const char *answer; /* NULL: accept and say nothing */
	pthread_t thread;
};

/* Headers, then as much body as they announce. */
static void read_request(int fd, char *seen, size_t size)
{
	size_t len = 0, want = 0;
	char *body, *cl;
	ssize_t n;

	do {
		n = recv(fd, seen + len, size - 1 - len, 0);
		len += n > 0 ? (size_t)n : 0;
		seen[len] = 0;
		body = strstr(seen, "\r\n\r\n");
		cl = strcasestr(seen, "content-length:");
		want = body ? (size_t)(body + 4 - seen) + (cl ? strtoul(cl + 15, NULL, 10) : 0) : size;
	} while (n > 0 && len < want);
}

static void *serve(void *arg)
{
	struct site *s = arg;
	int fd = accept(s->fd, NULL, NULL);
	char c;

	read_request(fd, s->seen, sizeof(s->seen));
	if (s->answer)
		raw_write(fd, s->answer, strlen(s->answer));
	else
		while (recv(fd, &c, 1, 0) > 0) /* until the client has had enough */
			;
	close(fd);
	return NULL;
}

static void site_open(struct site *s, const char *answer)
{
	struct net_addr a;

	*s = (struct site){ .answer = answer };
	if (net_addr_parse("127.0.0.1:0", 0, &a) || net_listen(&a, 4, &s->fd))
		abort();
	a.len = sizeof(a.ss);
	getsockname(s->fd, (struct sockaddr *)&a.ss, &a.len);
	fcntl(s->fd, F_SETFL, 0);
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u/x?key=1", net_addr_port(&a));
	pthread_create(&s->thread, NULL, serve, s);
}

static void site_close(struct site *s)
{
	pthread_join(s->thread, NULL);
	close(s->fd);
}

TEST(get)
{
	struct buf got = BUF_INIT;
	struct site s;

	site_open(&s, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
	EXPECT_EQ(http_request("GET", s.url, NULL, NULL, 0, 100, deadline_after_ms(5000), &got), 200);
	site_close(&s);
	EXPECT_EQ(got.len, 5u);
	EXPECT_MEMEQ(got.data, "hello", 5);
	EXPECT_TRUE(!strncmp(s.seen, "GET /x?key=1 HTTP/1.1\r\n", 23));
	buf_fini(&got);
}

TEST(put_with_a_body)
{
	struct buf got = BUF_INIT;
	struct site s;

	site_open(&s, "HTTP/1.1 404 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	EXPECT_EQ(http_request("PUT", s.url, "application/json", "{\"a\":1}", 7, 100, deadline_after_ms(5000), &got), 404);
	site_close(&s);
	EXPECT_EQ(got.len, 0u);
	EXPECT_TRUE(!strncmp(s.seen, "PUT /x", 6));
	EXPECT_TRUE(strstr(s.seen, "Content-Type: application/json\r\n"));
	EXPECT_TRUE(strstr(s.seen, "\r\n\r\n{\"a\":1}"));
	EXPECT_TRUE(!strstr(s.seen, "Expect:"));
	buf_fini(&got);
}

TEST(delete_and_head)
{
	struct buf got = BUF_INIT;
	struct site s;

	site_open(&s, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	EXPECT_EQ(http_request("DELETE", s.url, NULL, NULL, 0, 0, deadline_after_ms(5000), &got), 200);
	site_close(&s);
	EXPECT_TRUE(!strncmp(s.seen, "DELETE /x", 9));
	site_open(&s, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n");
	EXPECT_EQ(http_request("HEAD", s.url, NULL, NULL, 0, 0, deadline_after_ms(5000), &got), 200);
	site_close(&s);
	EXPECT_TRUE(!strncmp(s.seen, "HEAD /x", 7));
	buf_fini(&got);
}

TEST(too_long_an_answer)
{
	struct buf got = BUF_INIT;
	struct site s;

	site_open(&s, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
	EXPECT_EQ(http_request("GET", s.url, NULL, NULL, 0, 4, deadline_after_ms(5000), &got), -EMSGSIZE);
	EXPECT_TRUE(strstr(err_text(), "too long"));
	site_close(&s);
	buf_fini(&got);
}

TEST(silence_ends_at_the_deadline)
{
	uint64_t start = clock_now_ns();
	struct buf got = BUF_INIT;
	struct site s;

	site_open(&s, NULL);
	EXPECT_EQ(http_request("GET", s.url, NULL, NULL, 0, 100, start + 100 * NSEC_PER_MSEC, &got), -ETIMEDOUT);
	EXPECT_LT(clock_now_ns() - start, 1000 * NSEC_PER_MSEC);
	EXPECT_EQ(http_request("GET", s.url, NULL, NULL, 0, 100, 1, &got), -ETIMEDOUT);
	site_close(&s);
	buf_fini(&got);
}

TEST(nobody_there)
{
	struct buf got = BUF_INIT;
	struct site s;

	site_open(&s, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	EXPECT_EQ(http_request("GET", s.url, NULL, NULL, 0, 0, deadline_after_ms(5000), &got), 200);
	site_close(&s);
	EXPECT_EQ(http_request("GET", s.url, NULL, NULL, 0, 0, deadline_after_ms(5000), &got), -ECONNREFUSED);
	EXPECT_EQ(http_request("GET", "http://no-such-host.invalid/", NULL, NULL, 0, 0, deadline_after_ms(5000), &got),
		  -EHOSTUNREACH);
	EXPECT_EQ(http_request("GET", "file:///etc/passwd", NULL, NULL, 0, 9999, deadline_after_ms(5000), &got), -EIO);
	EXPECT_EQ(http_request("GET", "no url", NULL, NULL, 0, 0, deadline_after_ms(5000), &got), -EIO);
	buf_fini(&got);
}

TEST(an_answer_that_is_none)
{
	struct buf got = BUF_INIT;
	struct site s;

	site_open(&s, "MCC1 what?\r\n\r\n");
	EXPECT_EQ(http_request("GET", s.url, NULL, NULL, 0, 100, deadline_after_ms(5000), &got), -EIO);
	site_close(&s);
	site_open(&s, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort");
	EXPECT_EQ(http_request("GET", s.url, NULL, NULL, 0, 100, deadline_after_ms(5000), &got), -EIO);
	site_close(&s);
	buf_fini(&got);
}

TEST(escape)
{
	struct buf got = BUF_INIT;

	EXPECT_EQ(http_escape("aZ09-._~ /?&=%+\xc3\xa9", &got), 0);
	buf_put_u8(&got, 0);
	EXPECT_STREQ((char *)got.data, "aZ09-._~%20%2F%3F%26%3D%25%2B%C3%A9");
	buf_fini(&got);
}
