/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A neighbour's shared memory, mapped here: copying it then costs no system call, and no look-up of
 * each of its pages. Only memory that cannot shrink under us counts: anonymous shared memory and
 * sealed memfds.
 */
#ifndef MC_LOCAL_MAP_H
#define MC_LOCAL_MAP_H

#include "dev/dev.h"

struct map_cache;

int map_cache_open(pid_t pid, struct map_cache **out);
void map_cache_close(struct map_cache *c);

/*
 * Is all of @v mapped? Maps what can be. @seq: the number of the neighbour's table; what was mapped
 * under another may be something else by now and is dropped. After true, map_cache_at() works until
 * map_cache_end(). Thread-safe.
 */
bool map_cache_begin(struct map_cache *c, uint32_t seq, const struct process_vec *v, unsigned nr);
void *map_cache_at(const struct map_cache *c, uint64_t addr, uint64_t len);
void map_cache_end(struct map_cache *c);

#endif
