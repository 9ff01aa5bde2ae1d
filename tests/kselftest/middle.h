/* SPDX-License-Identifier: GPL-2.0-only */
/* Calls on large regions, killed in their middle. When that is, only trying tells. */
#ifndef MIDDLE_H
#define MIDDLE_H

#include "harness.h"

#define LARGE (128 * MIB)

/* Of small pages, all there. */
static inline int region_large(void)
{
	struct mc_ioc_region_create a = CREATE(.length = LARGE, .backing = MC_BACKING_SHMEM, .flags = MC_REGION_POPULATE);
	int ctx = ctx_open();

	ASSERT_EQ(SYS(ioctl(ctx, MC_IOC_REGION_CREATE, &a)), 0);
	close(ctx);
	return a.out_fd;
}

/* Kill a process @delay into @call; what is left of @r, -1: it had ended. */
static inline long long left_when_killed(int r, long (*call)(int r), useconds_t delay)
{
	int status, go[2];
	char c = 0;
	pid_t pid;

	ASSERT_EQ(SYS(pipe(go)), 0);
	pid = fork();
	if (!pid) {
		ASSERT_EQ(SYS(write(go[1], &c, 1)), 1);
		_exit(call(r) != 0);
	}
	ASSERT_EQ(SYS(read(go[0], &c, 1)), 1);
	usleep(delay);
	kill(pid, SIGKILL);
	ASSERT_EQ(SYS(waitpid(pid, &status, 0)), pid);
	close(go[0]);
	close(go[1]);
	return WIFSIGNALED(status) ? (long long)info(r).resident : -1;
}

/* A region_large() of which @call left some and freed some; a failed test when that cannot be had. *@last is its last page. */
static inline int killed_in_the_middle(long (*call)(int r), char **last)
{
	useconds_t from = 0, to = 2000000, delay = 20000;
	long long left = 0;
	int i, r = -1;

	for (i = 0; i < 40; i++) {
		if (i) {
			munmap(*last, 4096);
			close(r);
		}
		r = region_large();
		*last = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r, LARGE - 4096);
		ASSERT_EQ(*last == MAP_FAILED, 0);
		**last = 1;
		left = left_when_killed(r, call, delay);
		if (left > 0 && left < (long long)LARGE)
			break;
		if (left == LARGE)
			from = delay;
		else
			to = delay;
		/* On a machine that has other things to do, the middle moves. */
		delay = i % 8 == 7 ? delay / 2 + 1 : (from + to) / 2;
		if (to - from < 100) {
			from /= 2;
			to *= 2;
		}
	}
	printf("# %lld MiB left after %u us, try %d\n", left / (long long)MIB, delay, i);
	EXPECT_GE(left, 1);
	EXPECT_LE(left, LARGE - 1);
	return r;
}

#endif
