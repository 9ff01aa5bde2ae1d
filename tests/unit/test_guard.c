// SPDX-License-Identifier: Apache-2.0
/* Mappings that are taken away: zeroes in their place, in the middle of a copy; faults elsewhere are passed on. */
#include "mctest.h"
#include "dev/region.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES (256 * KiB)

/* A mapping of a file: truncating it is what revoking a region is to its mappings. */
static uint8_t *mapping(int *fd, int prot)
{
	void *p;

	*fd = memfd_create("guarded", MFD_CLOEXEC);
	if (*fd < 0 || ftruncate(*fd, BYTES))
		return NULL;
	p = mmap(NULL, BYTES, prot, MAP_SHARED, *fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void drop(uint8_t *p, int fd)
{
	munmap(p, BYTES);
	close(fd);
}

TEST(zeroes_take_its_place)
{
	uint8_t got[BYTES];
	uint16_t g;
	uint8_t *p;
	int fd;

	p = mapping(&fd, PROT_READ | PROT_WRITE);
	ASSERT_TRUE(p);
	memset(p, 7, BYTES);
	g = guard_add(p, BYTES, true);
	ASSERT_TRUE(g);
	EXPECT_TRUE(!guard_tripped(g));
	ASSERT_EQ(ftruncate(fd, 0), 0);
	memcpy(got, p, BYTES);
	for (size_t i = 0; i < BYTES; i++)
		if (got[i])
			MCTEST_FAIL("byte %zu is %d", i, got[i]);
	EXPECT_TRUE(guard_tripped(g));
	memset(p, 9, BYTES); /* goes nowhere, but goes */
	guard_del(g);
	drop(p, fd);
	EXPECT_TRUE(!guard_tripped(0));
	guard_del(0);
}

static void write_there(void *p)
{
	memset(p, 1, 1);
}

/* By the signal, or by what a sanitizer makes of it. */
static bool killed_by(void (*fn)(void *), void *arg)
{
	pid_t pid = fork();
	int st = 0;

	if (!pid) {
		fn(arg);
		_exit(0);
	}
	waitpid(pid, &st, 0);
	return WIFSIGNALED(st) ? WTERMSIG(st) == SIGBUS : WEXITSTATUS(st) != 0;
}

TEST(faults_elsewhere_end_the_process)
{
	uint8_t *p, *q;
	uint16_t g;
	int fd, other;

	p = mapping(&fd, PROT_READ | PROT_WRITE);
	q = mapping(&other, PROT_READ | PROT_WRITE);
	ASSERT_TRUE(p && q);
	g = guard_add(p, BYTES, true);
	ASSERT_EQ(ftruncate(other, 0), 0);
	EXPECT_TRUE(killed_by(write_there, q));
	guard_del(g);
	ASSERT_EQ(ftruncate(fd, 0), 0);
	EXPECT_TRUE(killed_by(write_there, p)); /* guarded no longer */
	drop(p, fd);
	drop(q, other);
}

static void raise_it(void *unused)
{
	kill(getpid(), SIGBUS);
}

TEST(a_signal_that_was_sent_still_kills)
{
	uint8_t *p;
	uint16_t g;
	int fd;

	p = mapping(&fd, PROT_READ);
	ASSERT_TRUE(p);
	g = guard_add(p, BYTES, false);
	EXPECT_TRUE(killed_by(raise_it, NULL));
	guard_del(g);
	drop(p, fd);
}

struct reader {
	uint8_t *p;
	atomic_bool stop, zero;
};

static void *read_on(void *arg)
{
	struct reader *r = arg;
	static _Thread_local uint8_t got[BYTES];

	while (!atomic_load(&r->stop)) {
		memcpy(got, r->p, BYTES);
		if (!got[BYTES / 2])
			atomic_store(&r->zero, true);
	}
	return NULL;
}

/* Several threads inside the mapping at the moment it goes; then many more such moments, slots used again. */
TEST(threads_in_the_middle)
{
	for (int round = 0; round < 50; round++) {
		struct reader r = { 0 };
		pthread_t thread[3];
		uint16_t g;
		int fd;

		r.p = mapping(&fd, PROT_READ | PROT_WRITE);
		ASSERT_TRUE(r.p);
		memset(r.p, 7, BYTES);
		g = guard_add(r.p, BYTES, true);
		for (int i = 0; i < 3; i++)
			pthread_create(&thread[i], NULL, read_on, &r);
		ASSERT_EQ(ftruncate(fd, 0), 0);
		while (!atomic_load(&r.zero))
			sched_yield();
		EXPECT_TRUE(guard_tripped(g));
		atomic_store(&r.stop, true);
		for (int i = 0; i < 3; i++)
			pthread_join(thread[i], NULL);
		guard_del(g);
		drop(r.p, fd);
	}
}

TEST(more_than_there_are_places_for)
{
	static uint16_t g[4096];
	unsigned nr = 0, some = 0;
	uint8_t *p;
	int fd;

	p = mapping(&fd, PROT_READ);
	ASSERT_TRUE(p);
	while (nr < 4096 && (g[nr] = guard_add(p + nr, 1, false)))
		nr++;
	EXPECT_TRUE(nr >= 1024 && nr < 4096);
	guard_del(g[100]);
	some = guard_add(p, 1, false);
	EXPECT_EQ(some, g[100]);
	for (unsigned i = 0; i < nr; i++)
		guard_del(g[i]);
	drop(p, fd);
}
