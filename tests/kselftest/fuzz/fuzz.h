/* SPDX-License-Identifier: GPL-2.0-only */
/* Random calls to /dev/mooncake: what the workers of fuzz_calls share. */
#ifndef MC_FUZZ_H
#define MC_FUZZ_H

#include <errno.h>
#include <fcntl.h>
#include <linux/mooncake.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEV "/dev/mooncake"
#define PAGE 4096ull
#define UPTR(p) ((uint64_t)(uintptr_t)(p))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define SYS(call) ({ long r_ = (long)(call); r_ == -1 ? -(long)errno : r_; })

/* Counted by everybody, shown at the end. */
struct tally {
	unsigned long calls, done, wild, faults, workers, killed, wrong;
};

extern struct tally *tally;

#define COUNT(what) __atomic_fetch_add(&tally->what, 1, __ATOMIC_RELAXED)

/* xorshift64*: the same numbers for the same seed, everywhere. */
struct rnd {
	uint64_t s;
};

static inline uint64_t rnd_next(struct rnd *r)
{
	r->s ^= r->s >> 12;
	r->s ^= r->s << 25;
	r->s ^= r->s >> 27;
	return r->s * 0x2545f4914f6cdd1dull;
}

static inline uint32_t below(struct rnd *r, uint32_t n)
{
	return n ? (rnd_next(r) >> 33) % n : 0;
}

static inline bool chance(struct rnd *r, unsigned int percent)
{
	return below(r, 100) < percent;
}

/* The signal that touching @p gives, or 0. Any thread. */
int touch(volatile char *p, bool write, char value);
void touch_init(void);

/* A descriptor through a socket, to whoever reads the other end. -1 nothing there. */
int fd_send(int sock, int fd);
int fd_receive(int sock);

/* Knows what each call must say and what memory must hold; exit status 0, or 1 with a report. Nobody else gets its objects. */
int fuzz_model(uint64_t seed, unsigned int ops);
/* Knows nothing: any call, any file, several threads, descriptors to and from strangers through @post and @mail. */
int fuzz_wild(uint64_t seed, unsigned int ops, int mail, const int *post, unsigned int nr_post);

#endif
