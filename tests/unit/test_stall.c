// SPDX-License-Identifier: Apache-2.0
/*
 * Peers that stop in the middle of a transfer: memory they were reading or writing can be
 * unregistered soon all the same.
 */
#include "mctest.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/engine.h"
#include "net/net.h"
#include "transport/tcp.h"

#define LEN (64 * MiB) /* more than socket buffers take */
#define PATIENCE_NS (200 * NSEC_PER_MSEC)

static struct mc_engine *eng;
static uint8_t *mem;

/* The engine serves here; patience is shorter than usual. */
static int start(void)
{
	struct mc_engine_opts o = { .size = sizeof(o), .transports = "tcp" };
	struct net_addr a;
	struct tcp *t;
	int fd = -1;

	EXPECT_EQ(mc_engine_open(&o, &eng), 0);
	t = container_of(eng->transport[0], struct tcp, base);
	t->stall_ns = PATIENCE_NS;
	mem = calloc(1, LEN);
	EXPECT_EQ(mc_region_add(eng, mem, LEN, NULL, NULL), 0);
	EXPECT_EQ(net_addr_parse("127.0.0.1", t->port, &a), 0);
	EXPECT_EQ(net_connect(&a, deadline_after_ms(5000), &fd), 0);
	return fd;
}

static void stop(int fd)
{
	uint64_t began = clock_now_ns();

	EXPECT_EQ(mc_region_del_addr(eng, mem), 0);
	EXPECT_LE(clock_now_ns() - began, 2 * NSEC_PER_SEC);
	mc_engine_close(eng);
	free(mem);
	close(fd);
}

/* The server is receiving into the range at this moment; looking is the test's own fault. */
__attribute__((no_sanitize("thread"))) static bool has_arrived(void)
{
	return *(volatile uint8_t *)&mem[2];
}

/* Until the server holds the range. */
static void wait_for_service(int fd)
{
	char byte;

	while (recv(fd, &byte, 1, MSG_PEEK) != 1)
		sched_yield();
}

static void send_frame(int fd, uint16_t type, uint64_t id, const struct buf *body,
		       uint64_t payload_len)
{
	struct net_frame f = {
		.type = type, .id = id, .body_len = (uint32_t)body->len, .payload_len = payload_len
	};
	uint8_t head[NET_FRAME_BYTES];

	net_frame_encode(&f, head);
	EXPECT_EQ(send(fd, head, sizeof(head), MSG_NOSIGNAL), (ssize_t)sizeof(head));
	EXPECT_EQ(send(fd, body->data, body->len, MSG_NOSIGNAL), (ssize_t)body->len);
}

static void say_hello(int fd)
{
	struct msg_hello m = { .version_min = 1, .version_max = 1, .role = ROLE_ENGINE };
	struct buf b = BUF_INIT;
	uint8_t reply[256];
	size_t got = 0;
	ssize_t n;

	msg_hello_encode(&m, &b);
	send_frame(fd, MSG_HELLO, 1, &b, 0);
	/* All of the reply, so that what comes next is the next answer. */
	while (got < NET_FRAME_BYTES || got < NET_FRAME_BYTES + get_le32(reply + 12)) {
		n = recv(fd, reply + got, sizeof(reply) - got, 0);
		got += n > 0 ? (size_t)n : 0;
	}
	buf_fini(&b);
}

static void ask(int fd, uint16_t type, uint64_t payload_len)
{
	struct data_vec v = { (uintptr_t)mem, LEN };
	struct msg_data m = { 1, &v };
	struct buf b = BUF_INIT;

	msg_data_encode(&m, &b);
	send_frame(fd, type, 2, &b, payload_len);
	buf_fini(&b);
}

TEST(a_reader_of_ours_that_stops_is_dropped)
{
	int fd = start();

	say_hello(fd);
	ask(fd, MSG_READ, 0);
	wait_for_service(fd);
	stop(fd);
}

TEST(a_writer_of_ours_that_stops_is_dropped)
{
	int fd = start();

	say_hello(fd);
	ask(fd, MSG_WRITE, LEN);
	EXPECT_EQ(send(fd, "abc", 3, MSG_NOSIGNAL), 3);
	while (!has_arrived())
		sched_yield();
	stop(fd);
}

static void classic(int fd, bool write)
{
	struct classic_header h = { LEN, (uintptr_t)mem, write, true };
	uint8_t wire[CLASSIC_HEADER_BYTES];

	classic_header_encode(&h, wire);
	EXPECT_EQ(send(fd, wire, sizeof(wire), MSG_NOSIGNAL), (ssize_t)sizeof(wire));
}

TEST(a_reader_of_upstreams_that_stops_is_dropped)
{
	int fd = start();

	classic(fd, false);
	wait_for_service(fd);
	stop(fd);
}

TEST(a_writer_of_upstreams_that_stops_is_dropped)
{
	int fd = start();

	classic(fd, true);
	EXPECT_EQ(send(fd, "abc", 3, MSG_NOSIGNAL), 3);
	while (!has_arrived())
		sched_yield();
	stop(fd);
}

static bool take(int fd, uint64_t *got)
{
	static char part[65536];
	ssize_t n = recv(fd, part, sizeof(part), 0);

	*got += n > 0 ? (uint64_t)n : 0;
	return n > 0 || (n < 0 && errno == EAGAIN);
}

/* A little at a time for twice the server's patience, then the rest. Return: the longest time in which it took nothing. */
static uint64_t read_slowly(int fd, uint64_t *got)
{
	const struct timespec nap = { .tv_nsec = 20 * NSEC_PER_MSEC };
	uint64_t last = clock_now_ns(), worst = 0;
	bool more = true;

	*got = 0;
	for (int i = 0; more && *got < LEN + CLASSIC_STATUS_BYTES; i++) {
		if (i % 8 == 0 && i < 8 * 20)
			nanosleep(&nap, NULL);
		more = take(fd, got);
		worst = MAX(worst, clock_now_ns() - last);
		last = clock_now_ns();
	}
	return worst;
}

/* ---- those who always send a little more ---- */

struct trickle {
	int fd;
	pthread_t thread;
	atomic_bool stop;
};

static void *trickle_main(void *arg)
{
	const struct timespec nap = { .tv_nsec = 10 * NSEC_PER_MSEC };
	struct trickle *t = arg;

	while (!t->stop && send(t->fd, "x", 1, MSG_NOSIGNAL) == 1)
		nanosleep(&nap, NULL);
	return NULL;
}

/* For as long as its memory is registered it is served. */
static void trickle(int fd)
{
	struct trickle t = { .fd = dup(fd) }; /* stop() closes the other */
	uint64_t began = clock_now_ns();

	pthread_create(&t.thread, NULL, trickle_main, &t);
	while (clock_now_ns() - began < 500 * NSEC_PER_MSEC)
		sched_yield();
	EXPECT_EQ(send(fd, "x", 1, MSG_NOSIGNAL), 1);
	stop(fd);
	t.stop = true;
	pthread_join(t.thread, NULL);
	close(t.fd);
}

TEST(a_writer_of_ours_that_trickles_holds_up_unregistering_for_a_while)
{
	int fd = start();

	say_hello(fd);
	ask(fd, MSG_WRITE, LEN);
	while (send(fd, "abc", 3, MSG_NOSIGNAL) == 3 && !has_arrived())
		sched_yield();
	trickle(fd);
}

TEST(a_writer_of_upstreams_that_trickles_holds_up_unregistering_for_a_while)
{
	int fd = start();

	classic(fd, true);
	while (send(fd, "abc", 3, MSG_NOSIGNAL) == 3 && !has_arrived())
		sched_yield();
	trickle(fd);
}

/* One that reads slowly is not one that stopped. Where the machine itself stops for as long, the next try counts. */
TEST(a_slow_reader_is_served)
{
	uint64_t got, worst;
	int tries = 0;

	do {
		int fd = start();

		classic(fd, false);
		worst = read_slowly(fd, &got);
		stop(fd);
	} while (got < LEN + CLASSIC_STATUS_BYTES && worst > PATIENCE_NS / 2 && ++tries < 20);
	EXPECT_EQ(got, LEN + CLASSIC_STATUS_BYTES);
}
