// SPDX-License-Identifier: Apache-2.0
/* Which memory may be reached: the owner's table, and what neighbours see of it. */
#include "mctest.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "dev/dev.h"
#include "transport/transport.h"

static struct reach_table *table(void)
{
	struct reach_table *t = NULL;

	EXPECT_EQ(reach_open(&t), 0);
	return t;
}

TEST(ranges_do_not_overlap)
{
	struct reach_table *t = table();

	EXPECT_EQ(reach_add(t, 1000, 100), 0);
	EXPECT_EQ(reach_add(t, 1100, 100), 0);
	EXPECT_EQ(reach_add(t, 900, 100), 0);
	EXPECT_EQ(reach_add(t, 899, 2), -EEXIST);
	EXPECT_EQ(reach_add(t, 1199, 1), -EEXIST);
	EXPECT_EQ(reach_add(t, 500, 5000), -EEXIST);
	EXPECT_EQ(reach_add(t, 1050, 10), -EEXIST);
	EXPECT_EQ(reach_add(t, 0, 10), -EINVAL);
	EXPECT_EQ(reach_add(t, 10, 0), -EINVAL);
	EXPECT_EQ(reach_add(t, 10, UINT64_MAX), -EINVAL);
	EXPECT_EQ(reach_del(t, 1001), -ENOENT);
	EXPECT_EQ(reach_del(t, 1000), 0);
	EXPECT_EQ(reach_add(t, 1000, 100), 0);
	reach_close(t);
}

TEST(holding_is_for_whole_ranges)
{
	struct reach_table *t = table();

	EXPECT_EQ(reach_add(t, 1000, 100), 0);
	EXPECT_EQ(reach_add(t, 1100, 100), 0);
	EXPECT_TRUE(reach_get(t, 1000, 100));
	EXPECT_TRUE(reach_get(t, 1099, 1));
	EXPECT_TRUE(!reach_get(t, 1099, 2)); /* two neighbours are not one range */
	EXPECT_TRUE(!reach_get(t, 999, 2));
	EXPECT_TRUE(!reach_get(t, 1200, 1));
	EXPECT_TRUE(!reach_get(t, 1001, UINT64_MAX));
	reach_put(t, 1000);
	reach_put(t, 1099);
	EXPECT_EQ(reach_del(t, 1000), 0);
	reach_close(t);
}

static struct iovec at(uint64_t addr, size_t len)
{
	return (struct iovec){ (void *)(uintptr_t)addr, len };
}

TEST(many_are_held_together_or_not_at_all)
{
	struct iovec good[] = { at(1000, 100), at(1199, 1), at(1100, 100), at(1010, 1), at(1020, 80) };
	struct iovec bad[] = { at(1000, 100), at(1150, 50), at(1050, 51), at(1000, 1) };
	struct reach_table *t = table();

	EXPECT_EQ(reach_add(t, 1000, 100), 0);
	EXPECT_EQ(reach_add(t, 1100, 100), 0);
	EXPECT_EQ(reach_get_all(t, good, 5), 5u);
	EXPECT_EQ(reach_get_all(t, bad, 4), 2u);
	EXPECT_EQ(reach_get_all(t, bad + 3, 1), 1u);
	reach_put_all(t, bad + 3, 1);
	bad[2].iov_len = 0;
	EXPECT_EQ(reach_get_all(t, bad, 4), 2u);
	reach_put_all(t, good, 5);
	/* Would wait for whoever still holds one. */
	EXPECT_EQ(reach_del(t, 1100), 0);
	EXPECT_EQ(reach_del(t, 1000), 0);
	reach_close(t);
}

struct left {
	struct reach_table *t;
	uint64_t addr, len;
	unsigned nr;
	bool reachable;
};

static void note_left(void *arg, uint64_t addr, uint64_t len)
{
	struct left *l = arg;

	l->addr = addr;
	l->len = len;
	l->nr++;
	l->reachable |= reach_get(l->t, addr, 1);
}

/* Who has to do with a range learns that it leaves, when nobody finds it any more. */
TEST(leaving_is_told)
{
	struct left l = { .t = table() };
	uint64_t start = 0, len = 0;

	reach_on_leave(l.t, note_left, &l);
	EXPECT_EQ(reach_add(l.t, 1000, 100), 0);
	EXPECT_EQ(reach_add(l.t, 2000, 50), 0);
	EXPECT_TRUE(!reach_hold(l.t, 1100, &start, &len));
	EXPECT_TRUE(reach_hold(l.t, 1099, &start, &len));
	EXPECT_EQ(start, 1000u);
	EXPECT_EQ(len, 100u);
	reach_put(l.t, 1000);
	EXPECT_EQ(reach_del(l.t, 1000), 0);
	EXPECT_EQ(l.addr, 1000u);
	EXPECT_EQ(l.len, 100u);
	EXPECT_EQ(l.nr, 1u);
	EXPECT_TRUE(!l.reachable);
	reach_on_leave(l.t, NULL, NULL);
	EXPECT_EQ(reach_del(l.t, 2000), 0);
	EXPECT_EQ(l.nr, 1u);
	reach_close(l.t);
}

TEST(there_is_a_limit)
{
	struct reach_table *t = table();

	for (uint64_t i = 1; i <= REACH_MAX; i++)
		ASSERT_EQ(reach_add(t, i * 100, 100), 0);
	EXPECT_EQ(reach_add(t, 99, 1), -ENOSPC);
	reach_close(t);
}

static atomic_bool removed;

static void *remove_1000(void *arg)
{
	EXPECT_EQ(reach_del(arg, 1000), 0);
	removed = true;
	return NULL;
}

TEST(removal_waits_for_who_holds)
{
	struct reach_table *t = table();
	pthread_t thread;

	removed = false;
	EXPECT_EQ(reach_add(t, 1000, 100), 0);
	EXPECT_TRUE(reach_get(t, 1000, 1));
	EXPECT_TRUE(reach_get(t, 1050, 1));
	pthread_create(&thread, NULL, remove_1000, t);
	/* Nobody new gets it while it leaves, nor does another take its place. */
	while (reach_get(t, 1000, 1))
		reach_put(t, 1000);
	EXPECT_EQ(reach_add(t, 1000, 100), -EEXIST);
	reach_put(t, 1000);
	EXPECT_TRUE(!removed);
	reach_put(t, 1050);
	pthread_join(thread, NULL);
	EXPECT_TRUE(removed);
	EXPECT_EQ(reach_add(t, 1000, 100), 0);
	reach_close(t);
}

static struct reach_view *view(const struct reach_table *t)
{
	struct reach_view *v = NULL;
	struct process_id self;

	EXPECT_EQ(process_self(&self), 0);
	EXPECT_EQ(reach_view_open(&self, reach_fd(t), &v), 0);
	return v;
}

TEST(neighbours_see_changes)
{
	struct reach_table *t = table();
	struct reach_view *v = view(t);
	struct reach_access a;

	EXPECT_EQ(reach_add(t, 5000, 1000), 0);
	EXPECT_EQ(reach_add(t, 1000, 1000), 0);
	EXPECT_EQ(reach_view_begin(v, false, &a), 0);
	EXPECT_EQ(reach_view_has(v, &a, 1000, 1000), 0);
	EXPECT_EQ(reach_view_has(v, &a, 5999, 1), 0);
	EXPECT_EQ(reach_view_has(v, &a, 5999, 2), -EFAULT);
	EXPECT_EQ(reach_view_has(v, &a, 0, 1), -EFAULT);
	EXPECT_EQ(reach_view_has(v, &a, 1500, UINT64_MAX), -EFAULT);
	EXPECT_TRUE(reach_view_end(v, &a));
	EXPECT_EQ(reach_view_begin(v, false, &a), 0);
	EXPECT_EQ(reach_view_has(v, &a, 1000, 1), 0);
	EXPECT_EQ(reach_del(t, 1000), 0);
	EXPECT_EQ(reach_view_has(v, &a, 1000, 1), -EAGAIN);
	EXPECT_TRUE(!reach_view_end(v, &a));
	reach_view_close(v);
	reach_close(t);
}

TEST(removal_waits_for_neighbours_that_write)
{
	struct reach_table *t = table();
	struct reach_view *v = view(t);
	struct reach_access a;
	pthread_t thread;

	removed = false;
	EXPECT_EQ(reach_add(t, 1000, 100), 0);
	EXPECT_EQ(reach_view_begin(v, true, &a), 0);
	EXPECT_EQ(reach_view_has(v, &a, 1000, 100), 0);
	pthread_create(&thread, NULL, remove_1000, t);
	while (reach_view_has(v, &a, 1000, 100) == 0)
		; /* it is on its way out */
	EXPECT_TRUE(!removed);
	EXPECT_TRUE(!reach_view_end(v, &a));
	pthread_join(thread, NULL);
	reach_view_close(v);
	reach_close(t);
}

TEST(a_neighbour_that_died_writing_is_not_waited_for)
{
	struct reach_table *t = table();
	uint64_t began;
	int status;
	pid_t pid;

	EXPECT_EQ(reach_add(t, 1000, 100), 0);
	pid = fork();
	if (!pid) {
		struct process_id parent;
		struct reach_access a;
		struct reach_view *v;

		if (process_self(&parent))
			_exit(1);
		/* The descriptor was inherited, so this process has it too. */
		if (reach_view_open(&parent, reach_fd(t), &v) || reach_view_begin(v, true, &a))
			_exit(2);
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, &status, 0);
	EXPECT_TRUE(WIFSIGNALED(status));
	began = clock_now_ns();
	EXPECT_EQ(reach_del(t, 1000), 0);
	EXPECT_LT(clock_now_ns() - began, NSEC_PER_SEC);
	reach_close(t);
}

TEST(what_is_no_table_is_refused)
{
	struct process_id self;
	struct reach_view *v;
	int fd[2];

	EXPECT_EQ(process_self(&self), 0);
	EXPECT_EQ(pipe(fd), 0);
	EXPECT_NE(reach_view_open(&self, fd[0], &v), 0);
	EXPECT_NE(reach_view_open(&self, 12345, &v), 0);
	close(fd[0]);
	close(fd[1]);
}
