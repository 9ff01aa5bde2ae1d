/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layout of the shared table of reachable ranges. The owner writes entries under a sequence lock;
 * neighbours only read them, and count themselves in and out in a slot of their own while they
 * write to the owner's memory. Whoever can open this table can write that memory anyway, so nothing
 * in it is a boundary; the owner reads only the counters, and waits for them with a limit.
 */
#ifndef MC_REACH_H
#define MC_REACH_H

#include <stdatomic.h>

#include "transport/transport.h"

#define REACH_MAGIC 0x31484341454d4d43ULL
#define REACH_SLOTS 128 /* neighbours at one time */

struct reach_slot {
	_Atomic uint64_t owner;	    /* pid and start time; 0: free */
	_Atomic uint32_t active[2]; /* writers that began in either phase */
	uint8_t pad[48];
};

struct reach_shared {
	uint64_t magic;
	_Atomic uint32_t seq;	/* odd while entries change */
	_Atomic uint32_t phase; /* the low bit chooses the counter that new writers use */
	_Atomic uint32_t nr;
	uint8_t pad0[4];
	uint64_t token_addr; /* of @token in the owner's memory */
	uint8_t token[REACH_TOKEN_BYTES];
	uint8_t pad1[16];
	struct reach_slot slot[REACH_SLOTS];
	struct {
		_Atomic uint64_t addr, len;
	} entry[REACH_MAX]; /* sorted, disjoint */
};

/*
 * Fences around plain copies and sequence numbers. The thread sanitizer does not know them;
 * everything they order in this process is atomic.
 */
#pragma GCC diagnostic push
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif
static inline void fence_acquire(void)
{
	atomic_thread_fence(memory_order_acquire);
}

static inline void fence_release(void)
{
	atomic_thread_fence(memory_order_release);
}

static inline void fence_full(void)
{
	atomic_thread_fence(memory_order_seq_cst);
}
#pragma GCC diagnostic pop

/*
 * Linux pids have at most 22 bits; start times count clock ticks since boot, 42 bits are a thousand
 * years.
 */
static inline uint64_t reach_owner_word(int pid, uint64_t start_time)
{
	return start_time << 22 | (uint64_t)pid;
}

#endif
