// SPDX-License-Identifier: Apache-2.0
/* Conns whose handler asks for the impossible, and peers that play with descriptors, pauses and the end of the stream. */
#include "net/net.h"

#include <poll.h>
#include <sys/mman.h>

#include "mctest.h"
#include "unit/net_server.h"

#define SOON deadline_after_ms(5000)

/* ---- a handler that gets everything wrong ---- */

enum { ODD_STATUS = 1, ODD_BODY, ODD_FDS, ODD_FD, ODD_NEGATIVE, ODD_SIZE, ODD_PIECES, ODD_FINE };

static atomic_int odd_sent;

static void odd_on_sent(void *arg)
{
	atomic_fetch_add(&odd_sent, 1);
}

static int odd_payload(struct conn_req *r, struct iovec *iov, int max)
{
	static uint8_t mem[5000];

	for (int i = 0; i < max; i++)
		iov[i] = (struct iovec){ mem + (i < 4999 ? i : 0), 1 };
	return r->frame.type == ODD_SIZE ? 5 : r->frame.type == ODD_PIECES ? max + 1 : (int)r->frame.payload_len;
}

static void odd_request(struct conn_req *r)
{
	static uint8_t large[NET_BODY_MAX + 1];
	int fd = r->frame.type == ODD_FD ? 1000000 : 0;
	struct conn_reply rep = { .sent = odd_on_sent };

	switch (r->frame.type) {
	case ODD_STATUS:
		rep.status = 5;
		break;
	case ODD_BODY:
		rep.body = large;
		rep.body_len = sizeof(large);
		break;
	case ODD_FDS:
	case ODD_FD:
		rep.fds = &fd;
		rep.nr_fds = 1;
		break;
	case ODD_NEGATIVE:
		rep.nr_payload = -1;
		break;
	}
	conn_reply(r, &rep);
}

static void odd_closed(struct conn *c, int err)
{
}

static const struct conn_ops odd_ops = { odd_payload, odd_request, odd_closed };

struct odd {
	struct loop *loop;
	int fd[2];
	struct conn *c;
};

static int odd_add(void *arg)
{
	struct odd *o = arg;

	return conn_open(o->loop, o->fd[1], &odd_ops, NULL, NULL, &o->c);
}

static int odd_del(void *arg)
{
	struct odd *o = arg;

	conn_close(o->c);
	return conn_fd(o->c) == o->fd[1] && conn_loop(o->c) == o->loop ? 0 : -1;
}

static int odd_call(struct mux *m, uint16_t type, size_t payload)
{
	static uint8_t zero[5000];
	struct iovec iov = { zero, payload };
	struct mux_req r = { .type = type, .out = &iov, .nr_out = 1 };

	return mux_call(m, &r, SOON);
}

/* Every one of them gets an answer, sent() runs, and the stream goes on. */
TEST(what_cannot_be_sent_becomes_an_error)
{
	struct odd o;
	struct mux *m;

	mc_log_set(log_count, NULL, MC_LOG_WARN);
	ASSERT_EQ(loop_open(&o.loop), 0);
	ASSERT_EQ(loop_start(o.loop, "test-odd"), 0);
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, o.fd), 0);
	ASSERT_EQ(loop_call(o.loop, odd_add, &o), 0);
	ASSERT_EQ(mux_open(o.fd[0], &m), 0);
	EXPECT_EQ(odd_call(m, ODD_STATUS, 0), -EIO);
	EXPECT_EQ(odd_call(m, ODD_BODY, 0), -EIO);
	EXPECT_EQ(odd_call(m, ODD_NEGATIVE, 0), -EIO);
	EXPECT_EQ(odd_call(m, ODD_FD, 0), -EBADF);
	EXPECT_EQ(odd_call(m, ODD_SIZE, 6), -EIO);
	EXPECT_EQ(odd_call(m, ODD_PIECES, 5000), -EIO);
	EXPECT_EQ(odd_call(m, ODD_FINE, 4096), 0); /* as many pieces as there may be */
	EXPECT_EQ(odd_call(m, ODD_FINE, 0), 0);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&odd_sent) == 6)); /* not the two that payload() lost */
	EXPECT_EQ(loop_call(o.loop, odd_del, &o), 0);
	mux_close(m);
	loop_close(o.loop);
	mc_log_set(NULL, NULL, MC_LOG_WARN);
}

TEST(descriptors_do_not_travel_over_tcp)
{
	struct mux *m;
	struct odd o;

	mc_log_set(log_count, NULL, MC_LOG_WARN);
	ASSERT_EQ(loop_open(&o.loop), 0);
	ASSERT_EQ(loop_start(o.loop, "test-odd"), 0);
	tcp_pair(o.fd);
	ASSERT_EQ(loop_call(o.loop, odd_add, &o), 0);
	ASSERT_EQ(mux_open(o.fd[0], &m), 0);
	EXPECT_EQ(odd_call(m, ODD_FDS, 0), -EOPNOTSUPP);
	loop_call(o.loop, odd_del, &o);
	mux_close(m);
	loop_close(o.loop);
	mc_log_set(NULL, NULL, MC_LOG_WARN);
}

/* ---- descriptors that nobody announced ---- */

static void fd_abuse(int nr, int times)
{
	struct net_frame f = { .type = SRV_ECHO, .id = 1, .body_len = 1000 };
	uint8_t wire[NET_FRAME_BYTES];
	struct server s;
	int before, fd;

	server_start(&s);
	before = count_fds();
	fd = server_connect(&s, false);
	fcntl(fd, F_SETFL, 0);
	net_frame_encode(&f, wire);
	send_fds(fd, wire, sizeof(wire), nr);
	for (int i = 1; i < times; i++)
		send_fds(fd, "x", 1, nr);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.closed) == 1));
	EXPECT_EQ(atomic_load(&s.close_err), -EBADMSG);
	close(fd);
	EXPECT_EQ(count_fds(), before); /* none of them stayed here */
	server_stop(&s);
}

TEST(descriptors_without_a_frame)
{
	mc_log_set(log_count, NULL, MC_LOG_WARN);
	fd_abuse(1, 3);
	fd_abuse(NET_FDS_MAX, 2);
	fd_abuse(NET_FDS_MAX + 12, 1); /* more than fit */
	mc_log_set(NULL, NULL, MC_LOG_WARN);
}

TEST(descriptors_nobody_takes_are_closed)
{
	struct mux_req r = { .type = SRV_ERROR };
	struct server s;
	struct mux *m;
	int before, fd;

	server_start(&s);
	ASSERT_EQ(mux_open(server_connect(&s, false), &m), 0);
	before = count_fds();
	fd = memfd_create("x", MFD_CLOEXEC);
	r.out_fds = &fd;
	r.nr_out_fds = 1;
	for (int i = 0; i < 50; i++)
		EXPECT_EQ(mux_call(m, &r, SOON), -ENOENT);
	close(fd);
	EXPECT_EQ(count_fds(), before);
	mux_close(m);
	server_stop(&s);
}

/* ---- the end ---- */

static int drain(void *arg)
{
	conn_drain(((struct server *)arg)->last);
	return 0;
}

TEST(a_peer_that_does_not_close_after_a_drain)
{
	uint64_t start = clock_now_ns();
	struct server s;
	uint8_t c;
	int fd;

	server_start(&s);
	fd = server_connect(&s, true);
	fcntl(fd, F_SETFL, 0);
	loop_call(s.loop, drain, &s);
	EXPECT_EQ(recv(fd, &c, 1, 0), 0);
	raw_write(fd, "whatever", 8); /* thrown away */
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.closed) == 1)); /* after a second */
	EXPECT_GE(clock_now_ns() - start, NSEC_PER_SEC);
	EXPECT_EQ(atomic_load(&s.close_err), 0);
	close(fd);
	server_stop(&s);
}

TEST(a_peer_that_vanishes_while_reading_is_paused)
{
	uint8_t len[8];
	struct server s;
	int fd;

	server_start(&s);
	s.lim.out_bytes_max = 1 * MiB;
	fd = server_connect(&s, false);
	fcntl(fd, F_SETFL, 0);
	put_le64(len, 2 * MiB);
	for (uint64_t i = 0; i < 4; i++) {
		raw_head(fd, (struct net_frame){ .type = SRV_MAKE, .id = i, .body_len = 8 });
		raw_write(fd, len, 8);
	}
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.requests) >= 1));
	close(fd);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.closed) == 1));
	EXPECT_NE(atomic_load(&s.close_err), 0);
	server_stop(&s);
}

/* It is there and reads nothing: what it asked for must not be held for ever. A slow one is another matter. */
TEST(a_peer_that_takes_nothing)
{
	uint64_t start = clock_now_ns(), size;
	struct net_frame f;
	uint8_t wire[8];
	struct server s;
	int fd;

	mc_log_set(log_count, NULL, MC_LOG_WARN);
	for (int slow = 1; slow >= 0; slow--) {
		server_start(&s);
		s.lim.stall_ns = 100 * NSEC_PER_MSEC;
		fd = server_connect(&s, slow);
		fcntl(fd, F_SETFL, 0);
		for (uint64_t i = 0; i < 16; i++) {
			put_le64(wire, size = 2 * MiB);
			ASSERT_TRUE(raw_head(fd, (struct net_frame){ .type = SRV_MAKE, .id = i, .body_len = 8 }));
			ASSERT_TRUE(raw_write(fd, wire, 8));
		}
		for (int i = 0; slow && i < 16; i++) {
			struct pollfd none = { .fd = -1 };

			poll(&none, 1, 20); /* the peer's pace: 320 ms for all of it */
			ASSERT_TRUE(raw_frame(fd, &f));
			EXPECT_EQ(f.payload_len, size);
		}
		EXPECT_EQ(atomic_load(&s.closed), 0u);
		start = clock_now_ns();
		if (slow)
			close(fd);
		EXPECT_TRUE(EVENTUALLY(atomic_load(&s.closed) == 1));
		EXPECT_EQ(atomic_load(&s.close_err), slow ? 0 : -ETIMEDOUT);
		if (!slow) {
			EXPECT_LT(clock_now_ns() - start, 1000 * NSEC_PER_MSEC);
			EXPECT_TRUE(strstr(log_last, "takes none"));
			close(fd);
		}
		server_stop(&s);
	}
	mc_log_set(NULL, NULL, MC_LOG_WARN);
}

/* One peer floods; another's small requests are answered meanwhile. */
struct flood {
	int fd;
	atomic_bool stop;
};

static void *flood_main(void *arg)
{
	uint8_t *data = calloc(1, 1 * MiB);
	struct flood *f = arg;
	uint64_t id = 1;

	while (!atomic_load(&f->stop) &&
	       raw_head(f->fd, (struct net_frame){ .flags = NET_ONEWAY, .type = SRV_ONEWAY, .id = id++, .payload_len = 1 * MiB }) &&
	       raw_write(f->fd, data, 1 * MiB))
		;
	free(data);
	return NULL;
}

TEST(a_flood_does_not_starve_others)
{
	struct mux_req r = { .type = SRV_ECHO };
	struct flood f = { 0 };
	struct server s;
	pthread_t t;
	struct mux *m;

	server_start(&s);
	ASSERT_EQ(mux_open(server_connect(&s, true), &m), 0);
	f.fd = server_connect(&s, true);
	fcntl(f.fd, F_SETFL, 0);
	pthread_create(&t, NULL, flood_main, &f);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.oneway) > 3));
	for (int i = 0; i < 50; i++)
		EXPECT_EQ(mux_call(m, &r, deadline_after_ms(1000)), 0);
	atomic_store(&f.stop, true);
	pthread_join(t, NULL);
	close(f.fd);
	mux_close(m);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.closed) == 2));
	server_stop(&s);
}

TEST(no_deadline_at_all)
{
	struct mux_req r = { .type = SRV_ECHO };
	struct server s;
	struct mux *m;

	server_start(&s);
	ASSERT_EQ(mux_open(server_connect(&s, true), &m), 0);
	EXPECT_EQ(mux_call(m, &r, DEADLINE_NEVER), 0);
	mux_close(m);
	server_stop(&s);
}
