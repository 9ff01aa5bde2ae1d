// SPDX-License-Identifier: Apache-2.0
/* A machine that is cut off is told from a process that is slow: a filter on its socket drops what arrives, as a cut cable does. */
#include <linux/filter.h>

#include "unit/mux_pair.h"

static void pair_over_tcp(struct pair *p)
{
	int fd[2];

	tcp_pair(fd);
	if (mux_open(fd[0], &p->m))
		abort();
	p->fd = fd[1];
}

static bool cut(int fd)
{
	struct sock_filter none = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog prog = { 1, &none };

	return !setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));
}

/* What one thread saw. */
struct outcome {
	int ret;
	uint64_t ms;
	bool broken;
};

static void finish(struct outcome *o, struct pair *p, uint64_t start)
{
	o->ms = (clock_now_ns() - start) / NSEC_PER_MSEC;
	o->broken = mux_broken(p->m);
	pair_close(p);
}

static void *cut_before(void *arg)
{
	struct mux_req r = { .type = 1 };
	uint64_t start = clock_now_ns();
	struct outcome *o = arg;
	struct pair p;

	pair_over_tcp(&p);
	o->ret = cut(p.fd) ? mux_call(p.m, &r, deadline_after_ms(9000)) : -1;
	finish(o, &p, start);
	return NULL;
}

/* The request arrived; nothing is under way but the answer, of which a part came. */
static void *cut_within(void *arg)
{
	static uint8_t in[LEN], part[1000];
	struct iovec iov = { in, LEN };
	struct mux_req r = { .type = 1, .in = &iov, .nr_in = 1 };
	uint64_t start = clock_now_ns();
	struct outcome *o = arg;
	struct net_frame f;
	struct pair p;

	pair_over_tcp(&p);
	o->ret = mux_submit(p.m, &r, false);
	if (!o->ret && raw_frame(p.fd, &f) && raw_head(p.fd, reply_to(&r, 0, LEN)) && raw_write(p.fd, part, sizeof(part)) && cut(p.fd))
		o->ret = mux_wait(p.m, &r, deadline_after_ms(9000));
	finish(o, &p, start);
	return NULL;
}

/* Nobody reads, as when the process is stopped; its kernel answers. */
static void *slow_answer(void *arg)
{
	struct mux_req r = { .type = 1 };
	uint64_t start = clock_now_ns();
	struct outcome *o = arg;
	struct pair p;

	pair_over_tcp(&p);
	o->ret = mux_submit(p.m, &r, false);
	if (mux_progress(p.m, &r, deadline_after_ms(3500)) || !raw_head(p.fd, reply_to(&r, 0, 0)))
		o->ret = -1;
	else
		o->ret = mux_wait(p.m, &r, SOON);
	finish(o, &p, start);
	return NULL;
}

static void *full_socket(void *arg)
{
	struct iovec iov = { calloc(1, 16 * MiB), 16 * MiB };
	struct mux_req r = { .type = 1, .out = &iov, .nr_out = 1 };
	uint64_t start = clock_now_ns();
	struct outcome *o = arg;
	struct pair p;

	pair_over_tcp(&p);
	o->ret = mux_call(p.m, &r, start + 4000 * NSEC_PER_MSEC);
	finish(o, &p, start);
	free(iov.iov_base);
	return NULL;
}

static void log_nothing(void *arg, enum mc_log_level level, const char *text)
{
}

TEST(cut_off_or_slow)
{
	void *(*const cases[])(void *) = { cut_before, cut_within, slow_answer, full_socket };
	struct outcome o[ARRAY_SIZE(cases)] = { 0 };
	pthread_t t[ARRAY_SIZE(cases)];

	mc_log_set(log_nothing, NULL, MC_LOG_WARN); /* from several threads */
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		ASSERT_EQ(pthread_create(&t[i], NULL, cases[i], &o[i]), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		pthread_join(t[i], NULL);
	mc_log_set(NULL, NULL, MC_LOG_WARN);
	for (unsigned i = 0; i < 2; i++) {
		EXPECT_EQ(o[i].ret, -ETIMEDOUT);
		EXPECT_TRUE(o[i].broken);
		EXPECT_GE(o[i].ms, 900);
		EXPECT_LT(o[i].ms, 5000);
	}
	EXPECT_EQ(o[2].ret, 0);
	EXPECT_TRUE(!o[2].broken);
	EXPECT_EQ(o[3].ret, -ETIMEDOUT);
	EXPECT_GE(o[3].ms, 4000); /* its deadline, not earlier */
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		printf("# case %u: %d after %llu ms\n", i, o[i].ret, (unsigned long long)o[i].ms);
}
