// SPDX-License-Identifier: Apache-2.0
/* The loop's side of a stream: order, limits, calls both ways, leaving, and peers made by hand. */
#include "net/net.h"

#include "mctest.h"
#include "unit/net_server.h"

#define SOON deadline_after_ms(5000)

static struct net_frame request(uint16_t type, uint64_t id, uint32_t body, uint64_t payload)
{
	return (struct net_frame){ .type = type, .id = id, .body_len = body, .payload_len = payload };
}

/* ---- receiving ---- */

TEST(a_frame_byte_by_byte)
{
	uint8_t wire[NET_FRAME_BYTES + 30], want[30], got[30];
	struct net_frame f = request(SRV_ECHO, 5, 10, 20);
	struct server s;
	int fd;

	server_start(&s);
	fd = server_connect(&s, true);
	fcntl(fd, F_SETFL, 0);
	net_frame_encode(&f, wire);
	for (int i = 0; i < 30; i++)
		wire[NET_FRAME_BYTES + i] = want[i] = (uint8_t)(i + 100);
	for (size_t i = 0; i < sizeof(wire); i++) {
		ASSERT_TRUE(raw_write(fd, wire + i, 1));
		sched_yield();
	}
	ASSERT_TRUE(raw_read(fd, wire, NET_FRAME_BYTES));
	ASSERT_EQ(net_frame_decode(wire, &f), 0);
	EXPECT_EQ(f.flags, NET_REPLY);
	EXPECT_EQ(f.type, SRV_ECHO);
	EXPECT_EQ(f.id, 5u);
	EXPECT_EQ(f.body_len, 10u);
	EXPECT_EQ(f.payload_len, 20u);
	ASSERT_TRUE(raw_read(fd, got, 30));
	EXPECT_MEMEQ(got, want, 30);
	close(fd);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.closed) == 1));
	EXPECT_EQ(atomic_load(&s.close_err), 0);
	server_stop(&s);
}

TEST(many_frames_in_one_read)
{
	enum { NR = 3000 };
	uint8_t *wire = malloc(NR * (NET_FRAME_BYTES + 3));
	struct net_frame f;
	struct server s;
	int fd;

	server_start(&s);
	fd = server_connect(&s, false);
	fcntl(fd, F_SETFL, 0);
	for (uint64_t i = 0; i < NR; i++) {
		uint8_t *p = wire + i * (NET_FRAME_BYTES + 3);

		f = request(SRV_ECHO, i, 3, 0);
		net_frame_encode(&f, p);
		memcpy(p + NET_FRAME_BYTES, "abc", 3);
	}
	ASSERT_TRUE(raw_write(fd, wire, NR * (NET_FRAME_BYTES + 3)));
	for (uint64_t i = 0; i < NR; i++) {
		ASSERT_TRUE(raw_frame(fd, &f));
		ASSERT_EQ(f.id, i);
		ASSERT_EQ(f.body_len, 3u);
	}
	close(fd);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.closed) == 1));
	server_stop(&s);
	free(wire);
}

TEST(one_way_requests_get_no_reply)
{
	struct net_frame f = request(SRV_ONEWAY, 1, 4, 6);
	struct server s;
	int fd;

	server_start(&s);
	fd = server_connect(&s, true);
	fcntl(fd, F_SETFL, 0);
	f.flags = NET_ONEWAY;
	ASSERT_TRUE(raw_head(fd, f) && raw_write(fd, "0123456789", 10));
	f = request(SRV_REFUSE, 2, 0, 5); /* refused, and nobody is told */
	f.flags = NET_ONEWAY;
	ASSERT_TRUE(raw_head(fd, f) && raw_write(fd, "01234", 5));
	ASSERT_TRUE(raw_head(fd, request(SRV_REFUSE, 3, 0, 5)) && raw_write(fd, "01234", 5));
	ASSERT_TRUE(raw_frame(fd, &f));
	EXPECT_EQ(f.id, 3u);
	EXPECT_EQ(f.status, -EPERM);
	EXPECT_EQ(atomic_load(&s.oneway), 1u);
	close(fd);
	server_stop(&s);
}

static void bad_stream(const void *bytes, size_t len, int err, const char *what)
{
	struct server s;
	uint8_t c;
	int fd;

	server_start(&s);
	log_lines = 0;
	fd = server_connect(&s, true);
	fcntl(fd, F_SETFL, 0);
	ASSERT_TRUE(raw_write(fd, bytes, len));
	shutdown(fd, SHUT_WR);
	EXPECT_LE(recv(fd, &c, 1, 0), 0);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.closed) == 1));
	EXPECT_EQ(atomic_load(&s.close_err), err);
	EXPECT_EQ(atomic_load(&log_lines), 1);
	EXPECT_TRUE(strstr(log_last, what) && strstr(log_last, "127.0.0.1:"));
	close(fd);
	server_stop(&s);
}

TEST(garbage_and_torn_frames_end_the_stream)
{
	struct net_frame f = request(SRV_ECHO, 1, 100, 100000);
	uint8_t wire[2000] = { 0 };

	mc_log_set(log_count, NULL, MC_LOG_WARN);
	bad_stream("GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n", 36, -EBADMSG, "malformed");
	net_frame_encode(&f, wire);
	bad_stream(wire, 20, -ECONNRESET, "middle");
	bad_stream(wire, NET_FRAME_BYTES, -ECONNRESET, "middle");
	bad_stream(wire, NET_FRAME_BYTES + 50, -ECONNRESET, "middle");
	f = (struct net_frame){ .flags = NET_REPLY, .id = 17 };
	net_frame_encode(&f, wire);
	bad_stream(wire, NET_FRAME_BYTES, -EBADMSG, "malformed");
	f = (struct net_frame){ .flags = NET_FDS, .id = 1 };
	net_frame_encode(&f, wire);
	bad_stream(wire, NET_FRAME_BYTES, -EBADMSG, "malformed");
	mc_log_set(NULL, NULL, MC_LOG_WARN);
}

/* A header that promises much must not make the server allocate or wait for ever. */
TEST(promise_of_a_terabyte)
{
	struct server s;
	int fd;

	server_start(&s);
	fd = server_connect(&s, false);
	fcntl(fd, F_SETFL, 0);
	ASSERT_TRUE(raw_head(fd, request(SRV_REFUSE, 1, 0, NET_PAYLOAD_MAX)));
	ASSERT_TRUE(raw_write(fd, "x", 1));
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.payloads) == 1));
	close(fd);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.closed) == 1));
	server_stop(&s);
}

/* ---- limits ---- */

static int release_all(void *arg)
{
	struct server *s = arg;
	unsigned nr = s->nr_held;

	s->nr_held = 0;
	for (unsigned i = 0; i < nr; i++)
		srv_echo(s->held[i]);
	return (int)nr;
}

static int requests_now(void *arg)
{
	return (int)atomic_load(&((struct server *)arg)->requests);
}

TEST(reading_stops_at_the_limit_of_requests)
{
	enum { NR = 103, MOST = 4 };
	struct mux_req r[NR];
	struct server s;
	int answered = 0;
	struct mux *m;

	server_start(&s);
	s.lim.requests_max = MOST;
	ASSERT_EQ(mux_open(server_connect(&s, true), &m), 0);
	for (int i = 0; i < NR; i++) {
		r[i] = (struct mux_req){ .type = SRV_HOLD, .body = &i, .body_len = sizeof(i) };
		ASSERT_EQ(mux_submit(m, &r[i], false), 0);
	}
	while (answered < NR) {
		int want = MIN(answered + MOST, NR);

		ASSERT_TRUE(EVENTUALLY(atomic_load(&s.requests) >= (unsigned)want));
		EXPECT_EQ(loop_call(s.loop, requests_now, &s), want);
		answered += loop_call(s.loop, release_all, &s);
	}
	for (int i = 0; i < NR; i++) {
		EXPECT_EQ(mux_wait(m, &r[i], SOON), 0);
		EXPECT_MEMEQ(r[i].reply.data, &i, sizeof(i));
		buf_fini(&r[i].reply);
	}
	mux_close(m);
	server_stop(&s);
}

TEST(reading_stops_when_bodies_fill_the_memory)
{
	enum { NR = 20, EACH = 1 << 20 };
	struct mux_req r[NR];
	uint8_t *body = calloc(1, EACH);
	struct server s;
	int answered = 0;
	struct mux *m;

	server_start(&s);
	s.lim.out_bytes_max = 3 * EACH + 100;
	ASSERT_EQ(mux_open(server_connect(&s, true), &m), 0);
	for (int i = 0; i < NR; i++) {
		r[i] = (struct mux_req){ .type = SRV_HOLD, .body = body, .body_len = EACH };
		ASSERT_EQ(mux_submit(m, &r[i], true), 0);
	}
	while (answered < NR) {
		int want = MIN(answered + 4, NR);

		ASSERT_TRUE(EVENTUALLY(mux_poll(m, &r[NR - 1]) || atomic_load(&s.requests) >= (unsigned)want));
		EXPECT_EQ(loop_call(s.loop, requests_now, &s), want);
		answered += loop_call(s.loop, release_all, &s);
	}
	for (int i = 0; i < NR; i++) {
		EXPECT_EQ(mux_wait(m, &r[i], SOON), 0);
		EXPECT_EQ(r[i].reply.len, (size_t)EACH);
		buf_fini(&r[i].reply);
	}
	mux_close(m);
	server_stop(&s);
	free(body);
}

static int out_bytes(void *arg)
{
	struct server *s = arg;

	return s->last ? (int)conn_out_bytes(s->last) : -1;
}

TEST(reading_stops_when_too_much_is_queued)
{
	enum { NR = 60, EACH = 1 << 20, MOST = 4 << 20 };
	uint8_t len[8], *got = malloc(EACH);
	struct net_frame f;
	struct server s;
	int fd, most = 0;

	server_start(&s);
	s.lim.out_bytes_max = MOST;
	fd = server_connect(&s, true);
	fcntl(fd, F_SETFL, 0);
	put_le64(len, EACH);
	for (uint64_t i = 0; i < NR; i++)
		ASSERT_TRUE(raw_head(fd, request(SRV_MAKE, i, 8, 0)) && raw_write(fd, len, 8));
	EXPECT_TRUE(EVENTUALLY(loop_call(s.loop, out_bytes, &s) > MOST));
	for (int i = 0; i < 20; i++)
		most = MAX(most, loop_call(s.loop, out_bytes, &s));
	EXPECT_LE(most, MOST + EACH + 1000);
	EXPECT_LT(atomic_load(&s.requests), (unsigned)NR);
	for (uint64_t i = 0; i < NR; i++) {
		uint8_t head[NET_FRAME_BYTES + 4];

		ASSERT_TRUE(raw_read(fd, head, sizeof(head)));
		ASSERT_EQ(net_frame_decode(head, &f), 0);
		ASSERT_EQ(f.id, i);
		ASSERT_EQ(f.payload_len, (uint64_t)EACH);
		ASSERT_TRUE(raw_read(fd, got, EACH));
		EXPECT_MEMEQ(got, s.made, EACH);
	}
	EXPECT_TRUE(EVENTUALLY(loop_call(s.loop, out_bytes, &s) == 0));
	close(fd);
	server_stop(&s);
	free(got);
}

/* sent() runs once for every payload, also when the client left without reading. */
TEST(memory_of_unsent_replies_comes_back)
{
	enum { NR = 8, EACH = 2 << 20 };
	uint8_t *data = calloc(1, EACH);
	struct server s;
	int fd;

	server_start(&s);
	fd = server_connect(&s, true);
	fcntl(fd, F_SETFL, 0);
	for (uint64_t i = 0; i < NR; i++)
		ASSERT_TRUE(raw_head(fd, request(SRV_ECHO, i, 0, EACH)) && raw_write(fd, data, EACH));
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.requests) == NR));
	close(fd);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.closed) == 1));
	EXPECT_EQ(atomic_load(&s.sent), (unsigned)NR);
	server_stop(&s);
	free(data);
}

/* ---- leaving ---- */

static int drain(void *arg)
{
	conn_drain(((struct server *)arg)->last);
	return 0;
}

TEST(drain_answers_what_it_has)
{
	struct net_frame f;
	struct server s;
	uint8_t c;
	int fd;

	server_start(&s);
	fd = server_connect(&s, true);
	fcntl(fd, F_SETFL, 0);
	ASSERT_TRUE(raw_head(fd, request(SRV_HOLD, 1, 2, 0)) && raw_write(fd, "hi", 2));
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.requests) == 1));
	loop_call(s.loop, drain, &s);
	ASSERT_TRUE(raw_head(fd, request(SRV_ECHO, 2, 0, 5)) && raw_write(fd, "12345", 5));
	ASSERT_TRUE(raw_frame(fd, &f));
	EXPECT_EQ(f.id, 2u);
	EXPECT_EQ(f.status, -ESHUTDOWN);
	loop_call(s.loop, release_all, &s);
	ASSERT_TRUE(raw_frame(fd, &f));
	EXPECT_EQ(f.id, 1u);
	EXPECT_EQ(f.body_len, 2u);
	EXPECT_EQ(recv(fd, &c, 1, 0), 0);
	EXPECT_EQ(atomic_load(&s.closed), 0u); /* reads on until we close too */
	close(fd);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.closed) == 1));
	EXPECT_EQ(atomic_load(&s.close_err), 0);
	server_stop(&s);
}

TEST(drain_within_a_request)
{
	struct mux_req r = { .type = SRV_DRAIN, .body = "bye", .body_len = 3 }, after = { .type = SRV_ECHO };
	struct server s;
	struct mux *m;

	server_start(&s);
	ASSERT_EQ(mux_open(server_connect(&s, false), &m), 0);
	EXPECT_EQ(mux_call(m, &r, SOON), 0);
	EXPECT_EQ(r.reply.len, 3u);
	EXPECT_EQ(mux_call(m, &after, SOON), -ECONNRESET);
	buf_fini(&r.reply);
	mux_close(m);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.closed) == 1));
	server_stop(&s);
}

/* Requests that were not answered when the stream ended are still the handler's to end. */
TEST(answers_after_the_end)
{
	struct server s;
	int fd;

	server_start(&s);
	fd = server_connect(&s, true);
	fcntl(fd, F_SETFL, 0);
	for (uint64_t i = 0; i < 5; i++)
		ASSERT_TRUE(raw_head(fd, request(SRV_HOLD, i, 1, 1)) && raw_write(fd, "ab", 2));
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.requests) == 5));
	close(fd);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.closed) == 1)); /* srv_closed() answered */
	EXPECT_EQ(atomic_load(&s.sent), 5u);
	server_stop(&s);
}

TEST(nothing_leaks_over_many_streams)
{
	struct server s;
	int before, fd;

	server_start(&s);
	before = count_fds();
	for (int i = 0; i < 200; i++) {
		fd = server_connect(&s, i % 2);
		fcntl(fd, F_SETFL, 0);
		if (i % 3)
			raw_write(fd, "garbage", (size_t)(i % 7));
		close(fd);
		ASSERT_TRUE(EVENTUALLY(atomic_load(&s.closed) == (unsigned)i + 1));
	}
	EXPECT_EQ(count_fds(), before);
	server_stop(&s);
}
