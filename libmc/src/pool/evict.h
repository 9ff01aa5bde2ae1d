/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of eviction, behind one small interface, driven by entry numbers so that a trace can
 * drive it without a pool (tests/bench/bench_replay). O(1) per call, no scans. Pins are the pool's
 * business: a policy is told to skip.
 *
 * Blocks of one request form a chain of which only a prefix is of use. Touch and insert them from
 * the last to the first, so that the tail goes before the head: it is worth up to 0.4 % of all
 * requests, and no policy loses by it.
 */
#ifndef MC_EVICT_H
#define MC_EVICT_H

#include "base/base.h"

struct evict;

struct evict_ops {
	const char *name;
	/*
	 * @max: entry numbers are below it; @weight_max: capacity in bytes, for policies that size
	 * their queues.
	 */
	int (*open)(uint32_t max, uint64_t weight_max, struct evict **out);
	void (*close)(struct evict *e);
	/* @hash: of the key, so that a policy can remember what it evicted. */
	void (*insert)(struct evict *e, uint32_t entry, uint64_t hash, uint64_t bytes);
	void (*touch)(struct evict *e, uint32_t entry);
	void (*remove)(struct evict *e, uint32_t entry); /* not by eviction */
	/* The next victim, removed from the order; -1: none left. */
	int64_t (*victim)(struct evict *e);
	/* Puts back a victim that cannot go now (pinned): as if just used. */
	void (*spare)(struct evict *e, uint32_t entry, uint64_t hash, uint64_t bytes);
};

struct evict {
	const struct evict_ops *ops;
};

/*
 * By name; NULL: the one that won the replay. NULL result: unknown. Hits in % at pools of 1, 2, 5,
 * 10, 20 % of the footprint:
 *
 *	            conversation (at most 36.6)      synthetic (at most 64.0)         bytes per entry
 *	adaptive     9.3  13.8  21.5  28.9  34.5      4.2   7.9  16.1  28.0  41.6     34, and 0.4 MB
 *	twoq         5.6   9.4  21.4  29.3  34.0      3.8   7.9  15.5  26.4  40.8     34
 *	lru          5.3   7.9  19.6  27.9  34.5      3.8   7.8  15.7  26.2  39.3      8
 */
const struct evict_ops *evict_find(const char *name);
extern const struct evict_ops *const evict_policies[]; /* ends with NULL */

#endif
