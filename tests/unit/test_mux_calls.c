// SPDX-License-Identifier: Apache-2.0
/* What a round trip costs in system calls: the library's are counted by standing in front of libc's. */
#include "net/net.h"

#include <poll.h>
#include <sys/syscall.h>

#include "mctest.h"
#include "unit/net_server.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTING 0 /* the sanitizers stand there themselves */
#else
#define COUNTING 1

static _Thread_local unsigned sends, recvs, polls;
static atomic_uint all_sends;

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	sends++;
	atomic_fetch_add(&all_sends, 1);
	return syscall(SYS_sendmsg, fd, m, flags);
}

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	ssize_t n = syscall(SYS_recvmsg, fd, m, flags);

	recvs += n >= 0 || !(flags & MSG_DONTWAIT); /* looking instead of sleeping is not counted */
	return n;
}

int ppoll(struct pollfd *p, nfds_t nr, const struct timespec *ts, const sigset_t *mask)
{
	struct timespec copy = ts ? *ts : (struct timespec){ 0 };

	polls++;
	return (int)syscall(SYS_ppoll, p, nr, ts ? &copy : NULL, mask, 8);
}
#endif

TEST(small_round_trip_is_two_calls)
{
#if COUNTING
	enum { NR = 200 };
	uint8_t data[4096] = { 1 }, back[4096];
	struct iovec out = { data, sizeof(data) }, in = { back, sizeof(back) };
	struct mux_req r = { .type = SRV_ECHO, .out = &out, .nr_out = 1, .in = &in, .nr_in = 1 };
	struct server s;
	struct mux *m;

	for (int tcp = 0; tcp < 2; tcp++) {
		server_start(&s);
		ASSERT_EQ(mux_open(server_connect(&s, tcp), &m), 0);
		sends = recvs = polls = 0;
		for (int i = 0; i < NR; i++)
			ASSERT_EQ(mux_call(m, &r, deadline_after_ms(10000)), 0);
		EXPECT_EQ(sends, (unsigned)NR);
		EXPECT_LE(recvs, (unsigned)NR + 10); /* a reply may come in two segments, or a slice may end */
		EXPECT_EQ(polls, 0u);
		mux_close(m);
		server_stop(&s);
	}
#else
	SKIP("system calls cannot be counted under a sanitizer");
#endif
}

TEST(corked_requests_and_their_replies_share_calls)
{
#if COUNTING
	enum { NR = 64 };
	struct mux_req r[NR];
	struct server s;
	struct mux *m;

	server_start(&s);
	ASSERT_EQ(mux_open(server_connect(&s, true), &m), 0);
	sends = recvs = 0;
	atomic_store(&all_sends, 0);
	for (int i = 0; i < NR; i++) {
		r[i] = (struct mux_req){ .type = SRV_ECHO, .body = "0123456789", .body_len = 10 };
		ASSERT_EQ(mux_submit(m, &r[i], i < NR - 1), 0);
	}
	for (int i = 0; i < NR; i++) {
		EXPECT_EQ(mux_wait(m, &r[i], deadline_after_ms(10000)), 0);
		buf_fini(&r[i].reply);
	}
	EXPECT_EQ(sends, 1u);
	EXPECT_LE(recvs, 4u);
	EXPECT_LE(atomic_load(&all_sends), 5u); /* ours and the server's */
	mux_close(m);
	server_stop(&s);
#else
	SKIP("system calls cannot be counted under a sanitizer");
#endif
}
