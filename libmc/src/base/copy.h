/* SPDX-License-Identifier: Apache-2.0 */
/* The copy loops of the data path: the best one for the size and the CPU, chosen once at start. */
#ifndef MC_COPY_H
#define MC_COPY_H

#include "base/base.h"

/*
 * Like memcpy(). Large copies bypass the cache on the way out (non-temporal stores, then a store fence), because neither
 * cache blocks nor pool extents are read again soon by the core that wrote them.
 */
void copy_bytes(void *restrict dst, const void *restrict src, size_t len);

/* The same, and the CRC-32C of the bytes that were stored, continued from @crc, in one pass over the source. */
uint32_t copy_crc32c(void *restrict dst, const void *restrict src, size_t len, uint32_t crc);

/*
 * A copy that races with a writer on purpose: the reader of an extent validates generations afterwards and throws the bytes
 * away when they changed. Exempt from the thread sanitizer; the bytes may be any mixture.
 */
void copy_racy(void *restrict dst, const void *restrict src, size_t len);

#endif
