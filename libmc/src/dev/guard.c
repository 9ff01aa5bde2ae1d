// SPDX-License-Identifier: Apache-2.0
/*
 * Mappings that can be taken away: after a revocation a touch of one is SIGBUS, in the middle of a copy on the caller's
 * thread. The handler puts zeroes in the mapping's place and lets the copy go on. Nothing believes them: an extent header
 * of zeroes carries no generation that a reader was promised, and a directory of zeroes has no entry. So whoever reads
 * finds a mismatch after the copy, as if the object had been evicted under it.
 *
 * The handler is installed with the first such mapping, never for memfd alone. A fault anywhere else is passed on to
 * whoever had the signal before. Who installs a handler later has to pass on what is not his, or this one is not asked.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "dev/region.h"

#define GUARDS_MAX 2048

struct guard {
	_Atomic uintptr_t base; /* 0: unused; set last, cleared first */
	uint64_t size;
	int prot;
	atomic_bool tripped;
};

static struct guard guards[GUARDS_MAX];
static atomic_uint nr_used; /* none is in use from here on */
static atomic_uint handling;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before;
static bool installed;

static struct guard *find(uintptr_t addr)
{
	unsigned nr = atomic_load(&nr_used);

	for (unsigned i = 0; i < nr; i++) {
		uintptr_t base = atomic_load(&guards[i].base);

		if (base && addr - base < guards[i].size)
			return &guards[i];
	}
	return NULL;
}

/*
 * Only system calls here: the thread may have been anywhere, in malloc() too. By number, for sanitizers look at mmap() as
 * a write, and other threads are reading there, which is the point.
 */
static bool replace(struct guard *g)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
	void *base = (void *)atomic_load(&g->base);

	atomic_store(&g->tripped, true);
	if (syscall(SYS_mmap, base, g->size, g->prot, flags, -1, 0L) < 0)
		return false;
	madvise(base, g->size, MADV_DONTFORK);
	madvise(base, g->size, MADV_DONTDUMP);
	return true;
}

static void pass_on(int sig, siginfo_t *si, void *context)
{
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(sig, si, context);
	} else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		before.sa_handler(sig);
	} else {
		/* The instruction is tried again, and ends the process as it would have without us. */
		signal(sig, SIG_DFL);
		if (si->si_code <= 0)
			raise(sig); /* somebody sent it */
	}
}

static void on_sigbus(int sig, siginfo_t *si, void *context)
{
	int saved = errno;
	bool done = false;
	struct guard *g;

	atomic_fetch_add(&handling, 1);
	g = si->si_code == BUS_ADRERR ? find((uintptr_t)si->si_addr) : NULL;
	if (g)
		done = replace(g);
	atomic_fetch_sub(&handling, 1);
	errno = saved;
	if (!done)
		pass_on(sig, si, context);
}

static bool install(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	if (!installed)
		installed = !sigaction(SIGBUS, &sa, &before);
	return installed;
}

uint16_t guard_add(void *base, uint64_t size, bool writable)
{
	unsigned i = 0;

	pthread_mutex_lock(&lock);
	while (i < GUARDS_MAX && atomic_load(&guards[i].base))
		i++;
	if (i < GUARDS_MAX && install()) {
		guards[i].size = size;
		guards[i].prot = PROT_READ | (writable ? PROT_WRITE : 0);
		atomic_store(&guards[i].tripped, false);
		atomic_store(&guards[i].base, (uintptr_t)base);
		if (i == atomic_load(&nr_used))
			atomic_store(&nr_used, i + 1);
	} else {
		i = GUARDS_MAX;
	}
	pthread_mutex_unlock(&lock);
	if (i == GUARDS_MAX)
		log_warn_limited("a mapping is not guarded: revoking its region will end this process");
	return i < GUARDS_MAX ? (uint16_t)(i + 1) : 0;
}

void guard_del(uint16_t g)
{
	if (!g)
		return;
	pthread_mutex_lock(&lock);
	atomic_store(&guards[g - 1].base, 0);
	/* A handler that found it may be about to map there, which must not come after our caller's munmap(). */
	while (atomic_load(&handling))
		sched_yield();
	pthread_mutex_unlock(&lock);
}

bool guard_tripped(uint16_t g)
{
	return g && atomic_load_explicit(&guards[g - 1].tripped, memory_order_relaxed);
}
