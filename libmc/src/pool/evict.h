/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of eviction, behind one small interface, driven by entry numbers so that a trace can drive it without a pool
 * (tests/bench/replay). O(1) per call, no scans. Pins are the pool's business: a policy is told to skip.
 */
#ifndef MC_EVICT_H
#define MC_EVICT_H

#include "base/base.h"

struct evict;

struct evict_ops {
	const char *name;
	/* @max: entry numbers are below it; @weight_max: capacity in bytes, for policies that size their queues. */
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

/* By name; NULL: the one that won the replay (docs/performance.md has the table). NULL result: unknown. */
const struct evict_ops *evict_find(const char *name);
extern const struct evict_ops *const evict_policies[]; /* ends with NULL */

#endif
