/* SPDX-License-Identifier: Apache-2.0 */
/* The master's index with short names. */
#ifndef OBJECTS_RIG_H
#define OBJECTS_RIG_H

#include "../../daemon/master/objects.h"

#include <stdio.h>

#include "mctest.h"

#pragma GCC diagnostic ignored "-Wsign-compare" /* plain numbers beside counters */

#define LEASE 1000

static inline struct objects *index_new(unsigned shards)
{
	struct objects_opts o = { .shards = shards, .lease_ns = LEASE };
	struct objects *ix = NULL;

	EXPECT_EQ(objects_open(&o, &ix), 0);
	return ix;
}

static inline uint16_t slot_new(struct objects *ix, uint32_t pool)
{
	uint16_t s = 0;

	EXPECT_EQ(objects_slot_open(ix, pool, &s), 0);
	return s;
}

/* Keys of one test live as long as it: a ring of texts is enough. */
static inline struct key key_of(unsigned n)
{
	static char ring[64][64];
	static unsigned at;
	char *p = ring[at++ % 64];

	p[0] = 0; /* the default tenant */
	snprintf(p + 1, 63, "k%u", n);
	return (struct key){ p, (uint16_t)(1 + strlen(p + 1)) };
}

static inline int put(struct objects *ix, uint16_t slot, struct key key, uint64_t put_id, uint32_t flags, uint64_t gen,
		      unsigned *nr_old)
{
	struct publish_item it = {
		.key = key, .put_id = put_id, .size = 100 + put_id, .flags = flags,
		.loc = { .region = 1, .nr_extents = 1, .off = gen * 64, .gen = gen },
	};
	struct holder old[REPLICAS_MAX];
	unsigned nr;

	return objects_publish(ix, slot, &it, 0, old, nr_old ? nr_old : &nr);
}

static inline bool exists(struct objects *ix, struct key key)
{
	uint8_t found = 9;

	EXPECT_EQ(objects_exist(ix, &key, 1, false, 0, &found), found);
	return found == 1;
}

#endif
