// SPDX-License-Identifier: Apache-2.0
/*
 * The handshake channel: upstream's framing to the byte, concurrent service, and peers that
 * misbehave.
 */
#include "mctest.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "meta/meta.h"
#include "net/net.h"

static struct loop *loop;
static struct handshake_server *server;
static struct net_addr addr;
static uint16_t port;

static int metadata(void *arg, const char *text, size_t len, struct buf *answer)
{
	buf_printf(answer, "{\"got\":%zu}", len);
	return 0;
}

static int notify(void *arg, const char *text, size_t len, struct buf *answer)
{
	return -EBADMSG;
}

static struct handshake_ops ops = { .metadata = metadata, .notify = notify };

static int serve(void *arg)
{
	return handshake_serve(loop, *(int *)arg, &ops, NULL, &server);
}

static int unserve(void *arg)
{
	handshake_close(server);
	return 0;
}

static void start(void)
{
	int fd;

	EXPECT_EQ(net_listen_range("127.0.0.1", 20000, 30000, &fd, &port), 0);
	EXPECT_EQ(net_addr_parse("127.0.0.1", port, &addr), 0);
	EXPECT_EQ(loop_open(&loop), 0);
	EXPECT_EQ(loop_start(loop, "test"), 0);
	EXPECT_EQ(loop_call(loop, serve, &fd), 0);
}

static void stop(void)
{
	loop_call(loop, unserve, NULL);
	loop_close(loop);
}

static uint64_t soon(void)
{
	return deadline_after_ms(5000);
}

static int dial(void)
{
	struct timeval tv = { .tv_sec = 5 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	EXPECT_EQ(connect(fd, (struct sockaddr *)&addr.ss, addr.len), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	return fd;
}

/* Sends, then receives until the server half-closes. */
static size_t exchange(const void *out, size_t len, uint8_t *in, size_t max)
{
	int fd = dial();
	ssize_t n;

	EXPECT_EQ(send(fd, out, len, MSG_NOSIGNAL), (ssize_t)len);
	n = recv(fd, in, max, MSG_WAITALL);
	close(fd);
	return n < 0 ? 0 : (size_t)n;
}

TEST(frames_are_taken_apart)
{
	static const uint8_t wire[] = { 3, 0, 0, 0, 0, 0, 0, 0, 1, '{', '}', 9 };
	static const uint8_t legacy[] = { 2, 0, 0, 0, 0, 0, 0, 0, '{', '}' };
	uint8_t bad[9] = { 0 };
	struct handshake_frame f;
	struct buf b = BUF_INIT;

	EXPECT_EQ(handshake_parse(wire, sizeof(wire), &f), 0);
	EXPECT_EQ(f.type, HANDSHAKE_METADATA);
	EXPECT_EQ(f.len, 2u);
	EXPECT_TRUE(!f.legacy);
	handshake_put(&b, &f);
	EXPECT_EQ(b.len, 11u);
	EXPECT_MEMEQ(b.data, wire, 11);
	for (size_t i = 0; i < 11; i++)
		EXPECT_EQ(handshake_parse(wire, i, &f), -EAGAIN);
	EXPECT_EQ(handshake_parse(legacy, sizeof(legacy), &f), 0);
	EXPECT_TRUE(f.legacy);
	EXPECT_EQ(f.type, HANDSHAKE_CONNECTION);
	buf_reset(&b);
	handshake_put(&b, &f);
	EXPECT_EQ(b.len, sizeof(legacy));
	EXPECT_MEMEQ(b.data, legacy, sizeof(legacy));
	EXPECT_EQ(handshake_parse(bad, 9, &f), -EBADMSG);
	bad[2] = 0x10;
	EXPECT_EQ(handshake_parse(bad, 9, &f), -EAGAIN);
	bad[0] = 1;
	EXPECT_EQ(handshake_parse(bad, 9, &f), -EBADMSG);
	buf_fini(&b);
}

TEST(answers_as_upstream_does)
{
	static const uint8_t probe[] = { 3, 0, 0, 0, 0, 0, 0, 0, 3, '{', '}' };
	static const uint8_t unknown[] = { 3, 0, 0, 0, 0, 0, 0, 0, 9, '{', '}' };
	static const uint8_t legacy[] = { 2, 0, 0, 0, 0, 0, 0, 0, '{', '}' };
	uint8_t in[100];

	start();
	EXPECT_EQ(exchange(probe, sizeof(probe), in, sizeof(in)), 9 + 21u);
	EXPECT_MEMEQ(in, "\x16\0\0\0\0\0\0\0\x03{\"status\":\"success\"}\n", 30);
	EXPECT_EQ(exchange(unknown, sizeof(unknown), in, sizeof(in)), 9 + 5u);
	EXPECT_MEMEQ(in, "\x06\0\0\0\0\0\0\0\x09null\n", 14);
	EXPECT_EQ(exchange(legacy, sizeof(legacy), in, sizeof(in)), 8 + 5u);
	EXPECT_MEMEQ(in, "\x05\0\0\0\0\0\0\0null\n", 13);
	stop();
}

TEST(a_silent_peer_holds_up_nobody)
{
	struct buf answer = BUF_INIT;
	int silent[8];

	start();
	for (int i = 0; i < 8; i++)
		silent[i] = dial();
	EXPECT_EQ(handshake_call("127.0.0.1", port, HANDSHAKE_METADATA, "{\"a\":1}", soon(),
				 &answer),
		  0);
	EXPECT_EQ(answer.len, 9u);
	EXPECT_MEMEQ(answer.data, "{\"got\":7}", 9);
	EXPECT_EQ(handshake_call("127.0.0.1", port, HANDSHAKE_NOTIFY, "{}", soon(), &answer),
		  -ECONNRESET);
	for (int i = 0; i < 8; i++)
		close(silent[i]);
	buf_fini(&answer);
	stop();
}

#define LASTS_NS (200 * NSEC_PER_MSEC)

/* Each byte comes long before patience with silence ends. */
TEST(a_peer_that_trickles_is_left_in_the_end)
{
	static const uint8_t head[] = { 0, 0, 0x10, 0, 0, 0, 0, 0, 1 };
	struct timespec nap = { .tv_nsec = 5 * NSEC_PER_MSEC };
	uint64_t began = clock_now_ns(), end = deadline_after_ms(4000);
	unsigned sent = 0;
	int fd;

	ops.lasts_ns = LASTS_NS;
	start();
	fd = dial();
	while (send(fd, sent < sizeof(head) ? (const char *)&head[sent] : "x", 1, MSG_NOSIGNAL) == 1 && !deadline_passed(end)) {
		sent++;
		nanosleep(&nap, NULL);
	}
	EXPECT_GT(sent, 1u);
	EXPECT_GE(clock_now_ns() - began, LASTS_NS);
	EXPECT_TRUE(!deadline_passed(end));
	close(fd);
	stop();
	ops.lasts_ns = 0;
}

TEST(large_and_too_large)
{
	char *text = malloc(HANDSHAKE_MAX + 2);
	struct buf answer = BUF_INIT;
	uint8_t huge[9] = { 1, 0, 0x10, 0, 0, 0, 0, 0, 1 }, in[1];

	memset(text, 'x', HANDSHAKE_MAX + 1);
	text[HANDSHAKE_MAX - 1] = 0;
	start();
	EXPECT_EQ(handshake_call("127.0.0.1", port, HANDSHAKE_METADATA, text, soon(), &answer), 0);
	EXPECT_MEMEQ(answer.data, "{\"got\":1048575}", 15);
	EXPECT_EQ(exchange(huge, sizeof(huge), in, 1), 0u);
	buf_fini(&answer);
	free(text);
	stop();
}

TEST(a_peer_that_never_answers_is_left_at_the_deadline)
{
	struct buf answer = BUF_INIT;
	uint64_t began = clock_now_ns();
	int fd;

	EXPECT_EQ(net_listen_range("127.0.0.1", 20000, 30000, &fd, &port), 0);
	EXPECT_EQ(handshake_call("127.0.0.1", port, HANDSHAKE_PROBE, "{}", deadline_after_ms(100),
				 &answer),
		  -ETIMEDOUT);
	EXPECT_LE(clock_now_ns() - began, 200 * NSEC_PER_MSEC);
	close(fd);
	EXPECT_EQ(handshake_call("127.0.0.1", port, HANDSHAKE_PROBE, "{}", soon(), &answer),
		  -ECONNREFUSED);
	buf_fini(&answer);
}
