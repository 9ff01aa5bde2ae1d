// SPDX-License-Identifier: Apache-2.0
/* Requests that their callers drive, against a conn server and against peers that misbehave. */
#include "net/net.h"

#include <sys/mman.h>

#include "mctest.h"
#include "unit/net_server.h"

#define SOON deadline_after_ms(5000)

static struct mux *mux_to(struct server *s, bool tcp)
{
	struct mux *m;

	return mux_open(server_connect(s, tcp), &m) ? NULL : m;
}

static void fill(uint8_t *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 13 + seed + (i >> 8));
}

static void echo_sizes(bool tcp)
{
	static const size_t sizes[] = { 0, 1, 31, 4096, 16383, 16384, 65536, 200000, 3 << 20 };
	uint8_t *out = malloc(4 * MiB), *in = malloc(4 * MiB);
	struct mux_req r = { .type = SRV_ECHO };
	struct server s;
	struct mux *m;

	server_start(&s);
	m = mux_to(&s, tcp);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (size_t j = 0; j < 5; j++) {
			struct iovec o[2] = { { out, sizes[i] / 3 }, { out + sizes[i] / 3, sizes[i] - sizes[i] / 3 } };
			struct iovec n[3] = { { in, sizes[i] / 2 }, { in, 0 }, { in + sizes[i] / 2, 3 * MiB } };

			fill(out, sizes[i] + sizes[j], (unsigned)(i + j));
			memset(in, 0, sizes[i] + 1);
			r.body = out + sizes[i];
			r.body_len = sizes[j];
			r.out = o;
			r.nr_out = 2;
			r.in = n;
			r.nr_in = 3;
			ASSERT_EQ(mux_call(m, &r, SOON), 0);
			EXPECT_EQ(r.got, sizes[i]);
			EXPECT_EQ(r.reply.len, sizes[j]);
			if (sizes[j])
				EXPECT_MEMEQ(r.reply.data, out + sizes[i], sizes[j]);
			EXPECT_MEMEQ(in, out, sizes[i]);
			EXPECT_EQ(in[sizes[i]], 0);
		}
	}
	buf_fini(&r.reply);
	mux_close(m);
	server_stop(&s);
	free(out);
	free(in);
}

TEST(echo_unix)
{
	echo_sizes(false);
}

TEST(echo_tcp)
{
	echo_sizes(true);
}

/* ---- answers other than the plain one ---- */

TEST(statuses_pass_and_the_stream_goes_on)
{
	uint8_t data[5000];
	struct iovec iov = { data, sizeof(data) };
	struct mux_req r = { .type = SRV_ERROR };
	struct server s;
	struct mux *m;

	server_start(&s);
	m = mux_to(&s, true);
	EXPECT_EQ(mux_call(m, &r, SOON), -ENOENT);
	r = (struct mux_req){ .type = SRV_REFUSE, .out = &iov, .nr_out = 1 };
	EXPECT_EQ(mux_call(m, &r, SOON), -EPERM);
	r = (struct mux_req){ .type = SRV_ECHO, .body = "x", .body_len = 1 };
	EXPECT_EQ(mux_call(m, &r, SOON), 0);
	EXPECT_EQ(r.reply.len, 1u);
	buf_fini(&r.reply);
	EXPECT_TRUE(!mux_broken(m));
	mux_close(m);
	server_stop(&s);
}

TEST(payload_that_does_not_fit)
{
	static uint8_t in[2000];
	struct iovec iov = { in, 1000 };
	uint64_t len = 300000;
	struct mux_req r = { .type = SRV_MAKE, .body = &len, .body_len = 8, .in = &iov, .nr_in = 1 };
	struct server s;
	struct mux *m;

	server_start(&s);
	m = mux_to(&s, false);
	EXPECT_EQ(mux_call(m, &r, SOON), -EMSGSIZE);
	for (size_t i = 0; i < sizeof(in); i++)
		ASSERT_EQ(in[i], 0);
	len = 1000;
	EXPECT_EQ(mux_call(m, &r, SOON), 0);
	EXPECT_EQ(r.got, 1000u);
	EXPECT_MEMEQ(in, s.made, 1000);
	EXPECT_EQ(in[1000], 0);
	buf_fini(&r.reply);
	mux_close(m);
	server_stop(&s);
}

TEST(absurd_requests_are_refused_before_they_start)
{
	struct iovec huge[2] = { { NULL, SIZE_MAX }, { NULL, 2 } }, big = { NULL, NET_PAYLOAD_MAX + 1 };
	int fds[NET_FDS_MAX + 1] = { 0 };
	struct mux_req r = { .out = huge, .nr_out = 2 };
	struct server s;
	struct mux *m;

	server_start(&s);
	m = mux_to(&s, true);
	EXPECT_EQ(mux_submit(m, &r, false), -EINVAL);
	r = (struct mux_req){ .out = &big, .nr_out = 1 };
	EXPECT_EQ(mux_submit(m, &r, false), -EMSGSIZE);
	r = (struct mux_req){ .body = fds, .body_len = NET_BODY_MAX + 1 };
	EXPECT_EQ(mux_submit(m, &r, false), -EMSGSIZE);
	r = (struct mux_req){ .out_fds = fds, .nr_out_fds = 1 }; /* over TCP */
	EXPECT_EQ(mux_submit(m, &r, false), -EINVAL);
	r = (struct mux_req){ .nr_out = -1 };
	EXPECT_EQ(mux_submit(m, &r, false), -EINVAL);
	r = (struct mux_req){ .type = SRV_ECHO };
	EXPECT_EQ(mux_wait(m, &r, SOON), -EINVAL); /* never submitted */
	mux_close(m);
	server_stop(&s);
}

TEST(descriptors_both_ways)
{
	int fds[NET_FDS_MAX], before = count_fds();
	struct mux_req r = { .type = SRV_FDS, .out_fds = fds };
	struct server s;
	struct mux *m;

	server_start(&s);
	m = mux_to(&s, false);
	for (int i = 0; i < NET_FDS_MAX; i++) {
		fds[i] = memfd_create("x", MFD_CLOEXEC);
		ASSERT_EQ(write(fds[i], &i, sizeof(i)), (ssize_t)sizeof(i));
	}
	for (int nr = 1; nr <= NET_FDS_MAX; nr += NET_FDS_MAX - 1) {
		r.nr_out_fds = nr;
		ASSERT_EQ(mux_call(m, &r, SOON), 0);
		ASSERT_EQ(r.nr_fds, nr);
		for (int i = 0; i < nr; i++) {
			int v = -1;

			EXPECT_EQ(pread(r.fds[i], &v, sizeof(v), 0), (ssize_t)sizeof(v));
			EXPECT_EQ(v, i);
			EXPECT_EQ(fcntl(r.fds[i], F_GETFD), FD_CLOEXEC);
			close(r.fds[i]);
		}
	}
	for (int i = 0; i < NET_FDS_MAX; i++)
		close(fds[i]);
	mux_close(m);
	server_stop(&s);
	EXPECT_EQ(count_fds(), before);
}

/* Frames with and without descriptors in one go: each must get its own. */
TEST(descriptors_find_their_frames)
{
	struct mux_req r[40];
	int fds[40];
	struct server s;
	struct mux *m;

	server_start(&s);
	m = mux_to(&s, false);
	for (int i = 0; i < 40; i++) {
		fds[i] = memfd_create("x", MFD_CLOEXEC);
		ASSERT_EQ(write(fds[i], &i, sizeof(i)), (ssize_t)sizeof(i));
		r[i] = (struct mux_req){ .type = SRV_FDS, .body = &fds[i], .body_len = 4, .out_fds = &fds[i], .nr_out_fds = i % 3 == 0 };
		ASSERT_EQ(mux_submit(m, &r[i], i < 39), 0);
	}
	for (int i = 0; i < 40; i++) {
		int v = -1;

		ASSERT_EQ(mux_wait(m, &r[i], SOON), 0);
		ASSERT_EQ(r[i].nr_fds, i % 3 == 0);
		EXPECT_MEMEQ(r[i].reply.data, &fds[i], 4);
		buf_fini(&r[i].reply);
		close(fds[i]);
		if (!r[i].nr_fds)
			continue;
		EXPECT_EQ(pread(r[i].fds[0], &v, sizeof(v), 0), (ssize_t)sizeof(v));
		EXPECT_EQ(v, i);
		close(r[i].fds[0]);
	}
	mux_close(m);
	server_stop(&s);
}

/* ---- many at once ---- */

static void pipeline(bool tcp)
{
	enum { NR = 2000 };
	struct mux_req *r = calloc(NR, sizeof(*r));
	uint32_t *in = calloc(NR, 4), *out = calloc(NR, 4);
	struct iovec *iov = calloc(2 * NR, sizeof(*iov));
	struct server s;
	struct mux *m;

	server_start(&s);
	m = mux_to(&s, tcp);
	for (uint32_t i = 0; i < NR; i++) {
		out[i] = i * 3;
		iov[2 * i] = (struct iovec){ &out[i], 4 };
		iov[2 * i + 1] = (struct iovec){ &in[i], 4 };
		r[i] = (struct mux_req){ .type = SRV_ECHO, .body = &out[i], .body_len = i % 5, .out = &iov[2 * i],
					 .nr_out = i % 2, .in = &iov[2 * i + 1], .nr_in = 1 };
		ASSERT_EQ(mux_submit(m, &r[i], i + 1 < NR), 0);
	}
	for (uint32_t j = 0; j < NR; j++) {
		uint32_t i = j % 2 ? j : NR - 2 - j; /* in an order of its own */

		ASSERT_EQ(mux_wait(m, &r[i], SOON), 0);
		EXPECT_EQ(r[i].reply.len, i % 5);
		EXPECT_EQ(in[i], i % 2 ? i * 3 : 0);
		buf_fini(&r[i].reply);
	}
	mux_close(m);
	server_stop(&s);
	free(r);
	free(in);
	free(out);
	free(iov);
}

TEST(pipeline_unix)
{
	pipeline(false);
}

TEST(pipeline_tcp)
{
	pipeline(true);
}

struct worker {
	pthread_t thread;
	struct mux *m;
	unsigned seed, wrong, rounds;
};

static void *work(void *arg)
{
	static const size_t sizes[] = { 0, 10, 4096, 20000, 100000 };
	struct worker *w = arg;
	uint8_t *out = malloc(200000), *in = malloc(200000);
	struct mux_req r = { .type = SRV_ECHO };

	for (unsigned i = 0; i < w->rounds; i++) {
		size_t len = sizes[(i + w->seed) % ARRAY_SIZE(sizes)];
		struct iovec o = { out, len }, n = { in, 200000 };

		fill(out, len, w->seed + i);
		r.body = &i;
		r.body_len = sizeof(i);
		r.out = &o;
		r.in = &n;
		r.nr_out = r.nr_in = 1;
		if (mux_call(w->m, &r, deadline_after_ms(30000)) || r.got != len || memcmp(in, out, len) ||
		    r.reply.len != sizeof(i) || memcmp(r.reply.data, &i, sizeof(i)))
			w->wrong++;
	}
	buf_fini(&r.reply);
	free(in);
	free(out);
	return NULL;
}

static void many_threads(bool tcp)
{
	struct worker w[6];
	struct server s;
	struct mux *m;

	server_start(&s);
	m = mux_to(&s, tcp);
	for (unsigned i = 0; i < ARRAY_SIZE(w); i++) {
		w[i] = (struct worker){ .m = m, .seed = i, .rounds = 500 };
		pthread_create(&w[i].thread, NULL, work, &w[i]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(w); i++) {
		pthread_join(w[i].thread, NULL);
		EXPECT_EQ(w[i].wrong, 0u);
	}
	mux_close(m);
	server_stop(&s);
}

TEST(many_threads_unix)
{
	many_threads(false);
}

TEST(many_threads_tcp)
{
	many_threads(true);
}

/* More than all socket buffers hold, both ways at once. */
TEST(large_both_ways_does_not_deadlock)
{
	enum { NR = 6, LEN = 6 << 20 };
	struct mux_req r[NR];
	struct iovec out[NR], in[NR];
	struct server s;
	struct mux *m;

	server_start(&s);
	m = mux_to(&s, true);
	for (unsigned i = 0; i < NR; i++) {
		out[i] = (struct iovec){ malloc(LEN), LEN };
		in[i] = (struct iovec){ malloc(LEN), LEN };
		fill(out[i].iov_base, LEN, i);
		r[i] = (struct mux_req){ .type = SRV_ECHO, .out = &out[i], .nr_out = 1, .in = &in[i], .nr_in = 1 };
		ASSERT_EQ(mux_submit(m, &r[i], true), 0);
	}
	for (unsigned i = 0; i < NR; i++) {
		EXPECT_EQ(mux_wait(m, &r[i], deadline_after_ms(30000)), 0);
		EXPECT_MEMEQ(in[i].iov_base, out[i].iov_base, LEN);
		free(in[i].iov_base);
		free(out[i].iov_base);
	}
	mux_close(m);
	server_stop(&s);
}

static void *wait_for(void *arg)
{
	struct { struct mux *m; struct mux_req r; int ret; } *a = arg;

	a->ret = mux_call(a->m, &a->r, deadline_after_ms(10000));
	return NULL;
}

/* The reader leaves; somebody else must read on. */
TEST(reading_is_handed_on)
{
	struct { struct mux *m; struct mux_req r; int ret; } held[3];
	struct mux_req r = { .type = SRV_RELEASE };
	pthread_t thread[3];
	struct server s;
	struct mux *m;

	server_start(&s);
	m = mux_to(&s, true);
	for (unsigned i = 0; i < 3; i++) {
		memset(&held[i], 0, sizeof(held[i]));
		held[i].m = m;
		held[i].r.type = i ? SRV_HOLD : SRV_ECHO; /* the first one reads for a moment, then goes */
		pthread_create(&thread[i], NULL, wait_for, &held[i]);
	}
	pthread_join(thread[0], NULL);
	EXPECT_EQ(held[0].ret, 0);
	EXPECT_TRUE(EVENTUALLY(atomic_load(&s.requests) == 3));
	EXPECT_EQ(mux_call(m, &r, SOON), 0); /* its answer is the last of three, read by whoever reads */
	for (unsigned i = 1; i < 3; i++) {
		pthread_join(thread[i], NULL);
		EXPECT_EQ(held[i].ret, 0);
	}
	mux_close(m);
	server_stop(&s);
}

TEST(poll_makes_progress_without_waiting)
{
	static uint8_t in[300000];
	struct iovec iov = { in, sizeof(in) };
	uint64_t len = sizeof(in);
	struct mux_req hold = { .type = SRV_HOLD };
	struct mux_req r = { .type = SRV_MAKE, .body = &len, .body_len = 8, .in = &iov, .nr_in = 1 };
	struct server s;
	struct mux *m;

	server_start(&s);
	m = mux_to(&s, true);
	ASSERT_EQ(mux_submit(m, &hold, true), 0);
	ASSERT_EQ(mux_submit(m, &r, false), 0);
	EXPECT_TRUE(EVENTUALLY(mux_poll(m, &r)));
	EXPECT_EQ(mux_wait(m, &r, 0), 0); /* done: the deadline does not matter */
	EXPECT_MEMEQ(in, s.made, sizeof(in));
	EXPECT_TRUE(!mux_poll(m, &hold));
	mux_cancel(m, &hold);
	EXPECT_TRUE(mux_poll(m, &hold));
	EXPECT_EQ(hold.status, -ECANCELED);
	mux_cancel(m, &hold);
	buf_fini(&r.reply);
	mux_close(m);
	server_stop(&s);
}
