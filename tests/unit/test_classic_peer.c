// SPDX-License-Identifier: Apache-2.0
/* To upstream's peers, too, what is urgent does not wait for what is large. */
#include "mctest.h"

#include <mooncake/engine.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "meta/meta.h"
#include "net/net.h"
#include "transport/tcp.h"

#define LARGE	 (64 * MiB)
#define SMALL	 4096
#define NR_LARGE 8
#define NR_SMALL 20
#define CONNS	 32

static uint64_t soon(void)
{
	return deadline_after_ms(10000);
}

/* ---- a peer without our extension that answers small reads, and keeps large ones waiting until it is told ---- */

struct far_end {
	int listener[2]; /* handshake, data */
	uint16_t port[2];
	pthread_t thread;
	atomic_bool stop, generous;
	atomic_uint conns, large; /* data connections there were, large requests that wait */
	struct pollfd fd[2 + CONNS];
	bool waits[2 + CONNS];
	unsigned nr;
};

static void send_zeroes(int fd, uint64_t len)
{
	static const char zero[65536];

	while (len) {
		ssize_t n = send(fd, zero, MIN(len, sizeof(zero)), MSG_NOSIGNAL);

		if (n <= 0)
			return;
		len -= (uint64_t)n;
	}
}

static void answer_read(int fd, uint64_t len)
{
	uint64_t ok = classic_status(0);

	if (send(fd, &ok, sizeof(ok), MSG_NOSIGNAL) == sizeof(ok))
		send_zeroes(fd, len);
}

static void describe(struct far_end *p)
{
	int fd = accept(p->listener[0], NULL, NULL);
	char text[512], in[4096];
	struct handshake_frame f = { .type = HANDSHAKE_METADATA, .text = text };
	struct buf b = BUF_INIT;

	f.len = (size_t)snprintf(text, sizeof(text),
				 "{\"buffers\":[{\"addr\":4096,\"length\":%llu,\"name\":\"x\"}],\"name\":\"x\",\"protocol\":\"tcp\","
				 "\"tcp_data_port\":%u,\"tcp_proto_version\":2}\n",
				 (unsigned long long)LARGE, p->port[1]);
	handshake_put(&b, &f);
	EXPECT_GT(recv(fd, in, sizeof(in), 0), 0);
	EXPECT_EQ(send(fd, b.data, b.len, MSG_NOSIGNAL), (ssize_t)b.len);
	shutdown(fd, SHUT_WR);
	EXPECT_EQ(recv(fd, in, 1, 0), 0);
	close(fd);
	buf_fini(&b);
}

/* Return: is the connection still of use? */
static bool take_request(struct far_end *p, unsigned i)
{
	uint8_t wire[CLASSIC_HEADER_BYTES];
	struct classic_header h;

	if (recv(p->fd[i].fd, wire, sizeof(wire), MSG_WAITALL) != sizeof(wire))
		return false;
	classic_header_decode(wire, &h);
	if (h.size == SMALL) {
		answer_read(p->fd[i].fd, SMALL);
		return true;
	}
	p->waits[i] = true;
	p->large++;
	return true;
}

static void accept_data(struct far_end *p)
{
	unsigned i = p->nr;

	p->fd[i] = (struct pollfd){ .fd = accept(p->listener[1], NULL, NULL), .events = POLLIN };
	p->waits[i] = false;
	p->nr++;
	p->conns++;
}

static void *peer_main(void *arg)
{
	struct far_end *p = arg;

	while (!p->stop) {
		poll(p->fd, p->nr, 5);
		if (p->fd[0].revents)
			describe(p);
		if (p->fd[1].revents && p->nr < ARRAY_SIZE(p->fd))
			accept_data(p);
		for (unsigned i = 2; i < p->nr; i++) {
			if (p->waits[i] && p->generous) {
				answer_read(p->fd[i].fd, LARGE);
				p->waits[i] = false;
			} else if (!p->waits[i] && p->fd[i].fd >= 0 && p->fd[i].revents && !take_request(p, i)) {
				close(p->fd[i].fd);
				p->fd[i].fd = -1;
			}
		}
	}
	for (unsigned i = 2; i < p->nr; i++)
		if (p->fd[i].fd >= 0)
			close(p->fd[i].fd);
	return NULL;
}

static void block(int fd)
{
	fcntl(fd, F_SETFL, 0);
}

static void peer_start(struct far_end *p)
{
	memset(p, 0, sizeof(*p));
	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(net_listen_range("127.0.0.1", 20000, 30000, &p->listener[i], &p->port[i]), 0);
		block(p->listener[i]);
		p->fd[i] = (struct pollfd){ .fd = p->listener[i], .events = POLLIN };
	}
	p->nr = 2;
	pthread_create(&p->thread, NULL, peer_main, p);
}

static void peer_stop(struct far_end *p)
{
	p->stop = true;
	pthread_join(p->thread, NULL);
	close(p->listener[0]);
	close(p->listener[1]);
}

/* ---- this side ---- */

static struct mc_batch *reads(struct mc_engine *eng, struct mc_segment *seg, enum mc_priority priority, unsigned nr, uint8_t *to,
			      uint64_t len)
{
	static struct mc_request r[NR_SMALL];
	static struct mc_vec v[NR_SMALL];
	struct mc_batch *b = NULL;

	for (unsigned i = 0; i < nr; i++) {
		v[i] = (struct mc_vec){ to, 4096, len };
		r[i] = (struct mc_request){ .op = MC_READ, .segment = seg, .vec = &v[i], .nr_vec = 1 };
	}
	EXPECT_EQ(mc_batch_open(eng, nr, NULL, NULL, &b), 0);
	EXPECT_EQ(mc_batch_priority(b, priority), 0);
	EXPECT_EQ(mc_batch_submit(b, r, nr, soon()), 0);
	return b;
}

static unsigned done(struct mc_batch *b, unsigned nr)
{
	struct mc_status st;
	unsigned n = 0;

	for (unsigned i = 0; i < nr; i++)
		n += !mc_batch_status(b, i, &st) && st.state == MC_DONE;
	return n;
}

TEST(urgent_reads_pass_large_ones)
{
	struct mc_engine_opts o = { .size = sizeof(o), .flags = MC_ENGINE_CLIENT };
	uint8_t *mem = calloc(1, LARGE), small[SMALL];
	struct mc_batch *large, *urgent;
	struct mc_segment *seg;
	struct mc_engine *eng;
	uint64_t end = soon();
	struct far_end p;
	char name[64];

	peer_start(&p);
	snprintf(name, sizeof(name), "127.0.0.1:%u", p.port[0]);
	ASSERT_EQ(mc_engine_open(&o, &eng), 0);
	ASSERT_EQ(mc_segment_open(eng, name, soon(), &seg), 0);
	/* As many as there is room for are being served, and none of them goes on. */
	large = reads(eng, seg, MC_PRIORITY_NORMAL, NR_LARGE, mem, LARGE);
	while (p.large < 4 && !deadline_passed(end))
		mc_batch_poll(large);
	EXPECT_EQ(p.large, 4u);
	urgent = reads(eng, seg, MC_PRIORITY_HIGH, NR_SMALL, small, SMALL);
	EXPECT_EQ(mc_batch_wait(urgent, soon()), NR_SMALL);
	EXPECT_EQ(done(large, NR_LARGE), 0u);
	EXPECT_EQ(p.large, 4u); /* what is not urgent stays off that connection */
	EXPECT_EQ(p.conns, 5u);
	p.generous = true;
	EXPECT_EQ(mc_batch_wait(large, soon()), NR_LARGE);
	EXPECT_EQ(p.conns, 5u);
	mc_batch_close(urgent);
	mc_batch_close(large);
	mc_segment_close(seg);
	mc_engine_close(eng);
	peer_stop(&p);
	free(mem);
}
