// SPDX-License-Identifier: Apache-2.0
/* Checksums behind payloads: right whatever the pieces, refused when wrong, and the stream goes on in any case. */
#include "base/hash.h"
#include "unit/mux_pair.h"

#define BIG (3 * MiB + 77)

static void fill(uint8_t *p, size_t len)
{
	uint32_t x = 1;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
}

/* A payload in pieces of every kind, echoed: the server refuses what arrives damaged. */
static void echo_in_pieces(bool tcp)
{
	static const size_t lens[] = { 1, 3, 4095, 65536, NET_STEP, NET_STEP + 1, BIG };
	uint8_t *out = malloc(BIG), *in = malloc(BIG);
	struct server s;
	struct mux *m;

	server_start(&s);
	ASSERT_EQ(mux_open(server_connect(&s, tcp), &m), 0);
	fill(out, BIG);
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++)
		for (unsigned cut = 1; cut < 9; cut += 3) {
			size_t len = lens[i], each = len / cut;
			struct iovec iov[10], back = { in, len };
			struct mux_req r = { .type = 100, .out = iov, .nr_out = (int)cut + 1, .in = &back, .nr_in = 1,
					     .sum_out = true, .sum_in = true };

			for (unsigned k = 0; k < cut; k++)
				iov[k] = (struct iovec){ out + k * each, each };
			iov[cut] = (struct iovec){ out + cut * each, len - cut * each };
			memset(in, 0, len);
			ASSERT_EQ(mux_call(m, &r, SOON), 0);
			EXPECT_EQ(r.got, len);
			EXPECT_EQ(r.crc, crc32c(0, out, len));
			EXPECT_MEMEQ(in, out, len);
		}
	mux_close(m);
	server_stop(&s);
	free(out);
	free(in);
}

TEST(echo_unix)
{
	echo_in_pieces(false);
}

TEST(echo_tcp)
{
	echo_in_pieces(true);
}

/* Many with a checksum, some without, in one go. */
TEST(several_share_calls)
{
	enum { NR = 200 };
	uint8_t *out = malloc(NR * 5000);
	struct mux_req r[NR];
	struct iovec iov[NR];
	struct server s;
	struct mux *m;

	server_start(&s);
	ASSERT_EQ(mux_open(server_connect(&s, true), &m), 0);
	fill(out, NR * 5000);
	for (unsigned i = 0; i < NR; i++) {
		iov[i] = (struct iovec){ out + i * 5000, i * 20 };
		r[i] = (struct mux_req){ .type = SRV_ONEWAY, .out = &iov[i], .nr_out = 1, .sum_out = i % 3 != 0 };
		ASSERT_EQ(mux_submit(m, &r[i], i + 1 < NR), 0);
	}
	for (unsigned i = 0; i < NR; i++)
		EXPECT_EQ(mux_wait(m, &r[i], SOON), 0);
	EXPECT_EQ(atomic_load(&s.oneway), (unsigned)NR);
	mux_close(m);
	server_stop(&s);
	free(out);
}

/* One request by hand: header, payload, checksum. Return: the status of its reply. */
static int send_by_hand(int fd, uint16_t type, uint64_t id, const uint8_t *data, size_t len, uint32_t crc)
{
	uint8_t sum[NET_SUM_BYTES];
	struct net_frame f = { .flags = NET_SUM, .type = type, .id = id, .payload_len = len };

	put_le32(sum, crc);
	if (!raw_head(fd, f) || !raw_write(fd, data, len) || !raw_write(fd, sum, sizeof(sum)) || !raw_frame(fd, &f))
		return -EPIPE;
	EXPECT_EQ(f.id, id);
	return f.status;
}

TEST(wrong_sums_are_refused)
{
	static uint8_t data[700000];
	struct server s;
	uint32_t crc;
	int fd;

	server_start(&s);
	fd = server_connect(&s, true);
	fcntl(fd, F_SETFL, 0);
	fill(data, sizeof(data));
	crc = crc32c(0, data, sizeof(data));
	EXPECT_EQ(send_by_hand(fd, SRV_ONEWAY, 1, data, sizeof(data), crc), 0);
	EXPECT_EQ(send_by_hand(fd, SRV_ONEWAY, 2, data, sizeof(data), crc ^ 0x80000000), -EBADMSG);
	EXPECT_EQ(send_by_hand(fd, SRV_ONEWAY, 3, data, 1, crc), -EBADMSG);
	data[350000] ^= 1;
	EXPECT_EQ(send_by_hand(fd, SRV_ONEWAY, 4, data, sizeof(data), crc), -EBADMSG);
	/* What is refused anyway is skipped with its checksum. */
	EXPECT_EQ(send_by_hand(fd, SRV_REFUSE, 5, data, sizeof(data), 0), -EPERM);
	data[350000] ^= 1;
	EXPECT_EQ(send_by_hand(fd, SRV_ONEWAY, 6, data, sizeof(data), crc), 0);
	EXPECT_EQ(atomic_load(&s.oneway), 5u);
	close(fd);
	server_stop(&s);
}

static void answer(struct pair *p, const struct mux_req *r, const uint8_t *data, size_t len, uint32_t crc)
{
	struct net_frame f = reply_to(r, 2, len), got;
	uint8_t sum[NET_SUM_BYTES];

	put_le32(sum, crc);
	f.flags |= NET_SUM;
	do
		ASSERT_TRUE(raw_frame(p->fd, &got));
	while (got.id != r->id);
	ASSERT_TRUE(raw_head(p->fd, f) && raw_write(p->fd, "ok", 2));
	ASSERT_TRUE(raw_write(p->fd, data, len) && raw_write(p->fd, sum, sizeof(sum)));
}

TEST(replies_are_checked)
{
	static uint8_t data[60000], in[60000];
	struct iovec iov = { in, sizeof(in) };
	struct mux_req r = { .type = 1, .in = &iov, .nr_in = 1 };
	struct pair p;
	uint32_t crc;

	pair_open(&p);
	fill(data, sizeof(data));
	crc = crc32c(0, data, sizeof(data));
	for (int wrong = 0; wrong < 2; wrong++) {
		ASSERT_EQ(mux_submit(p.m, &r, false), 0);
		answer(&p, &r, data, sizeof(data), crc + (uint32_t)wrong);
		EXPECT_EQ(mux_wait(p.m, &r, SOON), wrong ? -EBADMSG : 0);
		EXPECT_EQ(r.crc, crc);
	}
	/* Dropped: too large, and given up in the middle. */
	iov.iov_len = 100;
	ASSERT_EQ(mux_submit(p.m, &r, false), 0);
	answer(&p, &r, data, sizeof(data), crc);
	EXPECT_EQ(mux_wait(p.m, &r, SOON), -EMSGSIZE);
	exchange(&p);
	iov.iov_len = sizeof(in);
	ASSERT_EQ(mux_submit(p.m, &r, false), 0);
	mux_cancel(p.m, &r);
	answer(&p, &r, data, sizeof(data), crc);
	exchange(&p);
	buf_fini(&r.reply);
	pair_close(&p);
}

/* Given up when everything but the checksum, or part of it, is here: what is missing is dropped. */
TEST(cancel_before_the_sum)
{
	static uint8_t data[1000], in[1000];
	struct iovec iov = { in, sizeof(in) };
	struct pair p;

	for (size_t cut = 0; cut < NET_SUM_BYTES; cut++) {
		struct mux_req r = { .type = 1, .in = &iov, .nr_in = 1 };
		uint8_t sum[NET_SUM_BYTES];
		struct net_frame f, g;

		pair_open(&p);
		put_le32(sum, crc32c(0, data, sizeof(data)));
		ASSERT_EQ(mux_submit(p.m, &r, false), 0);
		ASSERT_TRUE(raw_frame(p.fd, &g));
		f = reply_to(&r, 0, sizeof(data));
		f.flags |= NET_SUM;
		ASSERT_TRUE(raw_head(p.fd, f) && raw_write(p.fd, data, sizeof(data)) && raw_write(p.fd, sum, cut));
		EXPECT_TRUE(!mux_poll(p.m, &r));
		mux_cancel(p.m, &r);
		ASSERT_TRUE(raw_write(p.fd, sum + cut, sizeof(sum) - cut));
		exchange(&p);
		pair_close(&p);
	}
}

/* The rest of a request that is partly out leaves with its checksum. */
TEST(cancel_partly_sent)
{
	size_t len = 600000, room;
	struct iovec iov = { malloc(len), len };
	struct mux_req r = { .type = 1, .out = &iov, .nr_out = 1, .sum_out = true }, next = { .type = 2 };
	uint8_t *got = malloc(len), head[NET_FRAME_BYTES], sum[NET_SUM_BYTES];
	struct net_frame f;
	struct pair p;
	int small = 1;

	fill(iov.iov_base, len);
	pair_open(&p);
	setsockopt(mux_fd(p.m), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	ASSERT_EQ(mux_submit(p.m, &r, false), 0);
	/* The peer takes so much that the rest fits the copy, but is not all gone. */
	ASSERT_TRUE(raw_read(p.fd, head, sizeof(head)));
	for (room = 0; len - (r.sent - NET_FRAME_BYTES) > MUX_TAIL_MAX - NET_SUM_BYTES; room += 1000) {
		ASSERT_TRUE(raw_read(p.fd, got + room, 1000));
		mux_poll(p.m, &r);
	}
	ASSERT_TRUE(r.state == MUX_QUEUED);
	mux_cancel(p.m, &r);
	EXPECT_TRUE(!mux_broken(p.m));
	ASSERT_EQ(mux_submit(p.m, &next, false), 0);
	for (; room < len; room += MIN((size_t)1000, len - room)) {
		ASSERT_TRUE(raw_read(p.fd, got + room, MIN((size_t)1000, len - room)));
		mux_poll(p.m, &next);
	}
	EXPECT_MEMEQ(got, iov.iov_base, len);
	ASSERT_TRUE(raw_read(p.fd, sum, sizeof(sum)));
	EXPECT_EQ(get_le32(sum), crc32c(0, iov.iov_base, len));
	ASSERT_TRUE(raw_frame(p.fd, &f) && f.id == next.id);
	ASSERT_TRUE(raw_head(p.fd, reply_to(&next, 0, 0)));
	EXPECT_EQ(mux_wait(p.m, &next, SOON), 0);
	pair_close(&p);
	free(iov.iov_base);
	free(got);
}
