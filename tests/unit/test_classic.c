// SPDX-License-Identifier: Apache-2.0
/* Upstream's data protocol to the byte, from both sides, and bytes that are nobody's. */
#include "mctest.h"

#include <arpa/inet.h>
#include <mooncake/engine.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "meta/meta.h"
#include "net/net.h"
#include "proto/proto.h"

#define LEN 100000

static uint8_t mem[LEN];

static uint64_t soon(void)
{
	return deadline_after_ms(5000);
}

/* ---- our server, upstream's client: bytes by hand -------------------------------------------- */

static struct mc_engine *server(int *port)
{
	struct mc_engine_opts o = { .size = sizeof(o) };
	struct buf answer = BUF_INIT;
	struct segment_desc desc;
	struct mc_engine *eng = NULL;

	EXPECT_EQ(mc_engine_open(&o, &eng), 0);
	EXPECT_EQ(mc_region_add(eng, mem, LEN, NULL, NULL), 0);
	EXPECT_EQ(handshake_call("127.0.0.1", mc_engine_rpc_port(eng), HANDSHAKE_METADATA, "{}",
				 soon(), &answer),
		  0);
	EXPECT_EQ(segment_desc_decode((char *)answer.data, answer.len, &desc), 0);
	*port = desc.tcp_data_port;
	EXPECT_STREQ(desc.protocol, "tcp");
	EXPECT_EQ(desc.tcp_proto_version, 2);
	EXPECT_EQ(desc.nr_buffers, 1u);
	segment_desc_fini(&desc);
	buf_fini(&answer);
	return eng;
}

static int dial(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct timeval tv = { .tv_sec = 5 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	EXPECT_EQ(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	return fd;
}

/* size, addr, opcode, seven bytes of rubbish as upstream leaves them. */
static void header(uint8_t out[24], uint64_t size, const void *addr, uint8_t opcode)
{
	uint64_t a = (uintptr_t)addr;

	memset(out, 0xcc, 24);
	for (int i = 0; i < 8; i++) {
		out[i] = (uint8_t)(size >> 8 * i);
		out[8 + i] = (uint8_t)(a >> 8 * i);
	}
	out[16] = opcode;
}

static const uint8_t status_ok[8] = { 0, 0, 0, 0, 0x56, 0x54, 0x43, 0x4d };
static const uint8_t status_no[8] = { 1, 0, 0, 0, 0x56, 0x54, 0x43, 0x4d };

static bool send_all(int fd, const void *p, size_t len)
{
	return send(fd, p, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static bool recv_is(int fd, const void *want, size_t len)
{
	static uint8_t got[LEN];

	return recv(fd, got, len, MSG_WAITALL) == (ssize_t)len && !memcmp(got, want, len);
}

static bool is_closed(int fd)
{
	char c;

	return recv(fd, &c, 1, 0) <= 0 && errno != EAGAIN;
}

TEST(serves_version_2)
{
	uint8_t h[24], data[5000];
	struct mc_engine *eng;
	int port, fd;

	memset(data, 0x5a, sizeof(data));
	eng = server(&port);
	fd = dial(port);
	header(h, sizeof(data), mem + 10, 0x81);
	EXPECT_TRUE(send_all(fd, h, 24) && send_all(fd, data, 3000));
	EXPECT_TRUE(send_all(fd, data + 3000, 2000));
	EXPECT_TRUE(recv_is(fd, status_ok, 8));
	EXPECT_MEMEQ(mem + 10, data, sizeof(data));
	/* The same connection, several requests without waiting. */
	header(h, 4000, mem + 10, 0x80);
	EXPECT_TRUE(send_all(fd, h, 24));
	EXPECT_TRUE(send_all(fd, h, 24));
	for (int i = 0; i < 2; i++)
		EXPECT_TRUE(recv_is(fd, status_ok, 8) && recv_is(fd, data, 4000));
	/* One byte too many. */
	header(h, 2, mem + LEN - 1, 0x81);
	EXPECT_TRUE(send_all(fd, h, 24));
	EXPECT_TRUE(recv_is(fd, status_no, 8));
	EXPECT_TRUE(is_closed(fd));
	close(fd);
	fd = dial(port);
	header(h, 0, mem, 0x80);
	EXPECT_TRUE(send_all(fd, h, 24));
	EXPECT_TRUE(recv_is(fd, status_no, 8));
	EXPECT_TRUE(is_closed(fd));
	close(fd);
	mc_engine_close(eng);
}

TEST(serves_version_1)
{
	uint8_t h[24], data[5000];
	struct mc_engine *eng;
	int port, fd;

	memset(data, 0x6b, sizeof(data));
	eng = server(&port);
	fd = dial(port);
	header(h, sizeof(data), mem, 1);
	EXPECT_TRUE(send_all(fd, h, 24) && send_all(fd, data, sizeof(data)));
	/* No reply; an unknown opcode reads, and comes after the write. */
	header(h, sizeof(data), mem, 7);
	EXPECT_TRUE(send_all(fd, h, 24));
	EXPECT_TRUE(recv_is(fd, data, sizeof(data)));
	header(h, 1, mem + LEN, 0);
	EXPECT_TRUE(send_all(fd, h, 24));
	EXPECT_TRUE(is_closed(fd));
	close(fd);
	mc_engine_close(eng);
}

/* A header in two pieces, a client that leaves in the middle, and one that says something short. */
TEST(serves_those_who_stammer)
{
	uint8_t h[24];
	struct mc_engine *eng;
	int port, fd;

	eng = server(&port);
	fd = dial(port);
	header(h, 100, mem, 0x80);
	EXPECT_TRUE(send_all(fd, h, 10));
	EXPECT_TRUE(send_all(fd, h + 10, 14));
	EXPECT_TRUE(recv_is(fd, status_ok, 8) && recv_is(fd, mem, 100));
	header(h, 1000, mem, 0x81);
	EXPECT_TRUE(send_all(fd, h, 24) && send_all(fd, "ten bytes.", 10));
	close(fd);
	fd = dial(port);
	EXPECT_TRUE(send_all(fd, "GET /", 5));
	shutdown(fd, SHUT_WR);
	EXPECT_TRUE(is_closed(fd));
	close(fd);
	/* The range of the one who left is free again. */
	EXPECT_EQ(mc_region_del_addr(eng, mem), 0);
	mc_engine_close(eng);
}

/* ---- our client, upstream's server: bytes by hand -------------------------------------------- */

/*
 * A peer without our extension: a handshake port that answers one description after the other, and
 * a data port.
 */
struct classic_peer {
	int handshake, data;
	uint16_t handshake_port, data_port;
	int version;
	pthread_t thread;
	int (*serve)(int fd); /* a data connection; 1: that was the last, 2: but for a handshake */
};

static void *handshake_main(void *arg)
{
	struct classic_peer *p = arg;
	char desc[512], in[4096];
	int n = snprintf(desc, sizeof(desc),
			 "{\"buffers\":[{\"addr\":%llu,\"length\":%d,\"name\":\"x\"}],\"name\":"
			 "\"x\",\"protocol\":\"tcp\","
			 "\"tcp_data_port\":%u,\"tcp_proto_version\":%d}\n",
			 (unsigned long long)(uintptr_t)mem, LEN, p->data_port, p->version);
	uint8_t head[9] = { (uint8_t)(n + 1), (uint8_t)((n + 1) >> 8) };
	struct pollfd pfd[2] = { { p->handshake, POLLIN, 0 }, { p->data, POLLIN, 0 } };
	bool over = false, last = false;

	head[8] = HANDSHAKE_METADATA;
	while (!over && poll(pfd, 2, 5000) > 0) {
		int fd = accept(pfd[0].revents ? p->handshake : p->data, NULL, NULL);

		if (pfd[0].revents) {
			over = recv(fd, in, sizeof(in), 0) < 9;
			over |= !send_all(fd, head, 9) || !send_all(fd, desc, (size_t)n);
			shutdown(fd, SHUT_WR);
			over |= recv(fd, in, 1, 0) != 0 || last;
		} else {
			int ret = p->serve(fd);

			over = ret == 1;
			last = ret == 2;
		}
		close(fd);
	}
	return NULL;
}

static void classic_start(struct classic_peer *p, int version, int (*serve)(int fd))
{
	p->version = version;
	p->serve = serve;
	EXPECT_EQ(net_listen_range("127.0.0.1", 20000, 30000, &p->handshake, &p->handshake_port),
		  0);
	EXPECT_EQ(net_listen_range("127.0.0.1", 20000, 30000, &p->data, &p->data_port), 0);
	pthread_create(&p->thread, NULL, handshake_main, p);
}

static void classic_stop(struct classic_peer *p)
{
	pthread_join(p->thread, NULL);
	close(p->handshake);
	close(p->data);
}

/* Header as upstream expects it, padding of zeros. */
static bool recv_header(int fd, uint64_t size, const void *addr, uint8_t opcode)
{
	uint8_t want[24];

	header(want, size, addr, opcode);
	memset(want + 17, 0, 7);
	return recv_is(fd, want, 24);
}

static int serve_v2(int fd)
{
	uint8_t data[300];

	memset(data, 0x11, sizeof(data));
	/*
	 * A write of two vectors, each an exchange; a read; a write that is refused before its
	 * bytes are taken.
	 */
	EXPECT_TRUE(recv_header(fd, 100, mem, 0x81));
	EXPECT_TRUE(recv_is(fd, data, 100) && send_all(fd, status_ok, 8));
	EXPECT_TRUE(recv_header(fd, 200, mem + 1000, 0x81));
	EXPECT_TRUE(recv_is(fd, data, 200) && send_all(fd, status_ok, 8));
	EXPECT_TRUE(recv_header(fd, 300, mem + 5, 0x80));
	EXPECT_TRUE(send_all(fd, status_ok, 8) && send_all(fd, data, 300));
	EXPECT_TRUE(recv_header(fd, 64 * MiB, mem, 0x81));
	EXPECT_TRUE(send_all(fd, status_no, 8));
	return 2; /* a refusal makes the client look whether this is another process by now */
}

static int transfer(struct mc_engine *eng, struct mc_segment *seg, enum mc_op op,
		    const struct mc_vec *v, unsigned nr)
{
	const struct mc_request r = { .op = op, .segment = seg, .vec = v, .nr_vec = nr };

	return mc_transfer(eng, &r, 1, soon());
}

static struct mc_engine *client(const struct classic_peer *p, struct mc_segment **seg)
{
	struct mc_engine_opts o = { .size = sizeof(o), .flags = MC_ENGINE_CLIENT };
	struct mc_engine *eng = NULL;
	char name[64];

	snprintf(name, sizeof(name), "127.0.0.1:%u", p->handshake_port);
	EXPECT_EQ(mc_engine_open(&o, &eng), 0);
	EXPECT_EQ(mc_segment_open(eng, name, soon(), seg), 0);
	EXPECT_STREQ(mc_segment_transport(*seg), "tcp");
	return eng;
}

TEST(speaks_version_2)
{
	uint8_t *big = calloc(1, 64 * MiB), in[300] = { 0 };
	struct mc_vec w[2], r = { in, (uintptr_t)mem + 5, 300 },
			    b = { big, (uintptr_t)mem, 64 * MiB };
	struct classic_peer p;
	struct mc_segment *seg;
	struct mc_engine *eng;

	memset(big, 0x11, 1000);
	w[0] = (struct mc_vec){ big, (uintptr_t)mem, 100 };
	w[1] = (struct mc_vec){ big + 100, (uintptr_t)mem + 1000, 200 };
	classic_start(&p, 2, serve_v2);
	eng = client(&p, &seg);
	EXPECT_EQ(transfer(eng, seg, MC_WRITE, w, 2), 0);
	EXPECT_EQ(transfer(eng, seg, MC_READ, &r, 1), 0);
	EXPECT_MEMEQ(in, big, 300);
	EXPECT_EQ(transfer(eng, seg, MC_WRITE, &b, 1), -EFAULT);
	mc_segment_close(seg);
	mc_engine_close(eng);
	classic_stop(&p);
	free(big);
}

static int serve_v1(int fd)
{
	uint8_t data[300];

	memset(data, 0x22, sizeof(data));
	EXPECT_TRUE(recv_header(fd, 300, mem, 1));
	EXPECT_TRUE(recv_is(fd, data, 300));
	EXPECT_TRUE(recv_header(fd, 300, mem, 0));
	EXPECT_TRUE(send_all(fd, data, 300));
	return 1;
}

TEST(speaks_version_1)
{
	uint8_t out[300], in[300] = { 0 };
	struct mc_vec w = { out, (uintptr_t)mem, 300 }, r = { in, (uintptr_t)mem, 300 };
	struct classic_peer p;
	struct mc_segment *seg;
	struct mc_engine *eng;

	memset(out, 0x22, sizeof(out));
	classic_start(&p, 1, serve_v1);
	eng = client(&p, &seg);
	EXPECT_EQ(transfer(eng, seg, MC_WRITE, &w, 1), 0);
	EXPECT_EQ(transfer(eng, seg, MC_READ, &r, 1), 0);
	EXPECT_MEMEQ(in, out, 300);
	mc_segment_close(seg);
	mc_engine_close(eng);
	classic_stop(&p);
}

static int closes_once(int fd)
{
	static int calls;
	uint8_t data[100];

	memset(data, 0x33, sizeof(data));
	EXPECT_TRUE(recv_header(fd, 100, mem, 0x80));
	EXPECT_TRUE(send_all(fd, status_ok, 8) && send_all(fd, data, 100));
	return calls++ ? 1 : 0; /* the idle connection is closed after the first exchange */
}

TEST(an_idle_connection_that_was_closed_is_replaced)
{
	uint8_t in[100];
	struct mc_vec r = { in, (uintptr_t)mem, 100 };
	struct classic_peer p;
	struct mc_segment *seg;
	struct mc_engine *eng;

	classic_start(&p, 2, closes_once);
	eng = client(&p, &seg);
	EXPECT_EQ(transfer(eng, seg, MC_READ, &r, 1), 0);
	EXPECT_EQ(transfer(eng, seg, MC_READ, &r, 1), 0);
	mc_segment_close(seg);
	mc_engine_close(eng);
	classic_stop(&p);
}

static int stays_silent(int fd)
{
	char c;

	EXPECT_TRUE(recv_header(fd, 100, mem, 0x80));
	EXPECT_TRUE(recv(fd, &c, 1, 0) <= 0); /* until the client gives up */
	return 1;
}

TEST(a_silent_peer_ends_by_the_deadline)
{
	uint8_t in[100] = { 0 }, zero[100] = { 0 };
	struct mc_vec v = { in, (uintptr_t)mem, 100 };
	struct mc_request r = { .op = MC_READ, .vec = &v, .nr_vec = 1 };
	struct classic_peer p;
	struct mc_engine *eng;
	uint64_t start;

	classic_start(&p, 2, stays_silent);
	eng = client(&p, &r.segment);
	start = clock_now_ns();
	EXPECT_EQ(mc_transfer(eng, &r, 1, deadline_after_ms(100)), -ETIMEDOUT);
	EXPECT_LE(clock_now_ns() - start, 200 * NSEC_PER_MSEC);
	EXPECT_MEMEQ(in, zero, 100);
	mc_segment_close(r.segment);
	mc_engine_close(eng);
	classic_stop(&p);
}
