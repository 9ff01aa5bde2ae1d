/* SPDX-License-Identifier: Apache-2.0 */
/* What copy.c and its versions for single CPUs share; other parts use copy.h. */
#ifndef MC_COPY_IMPL_H
#define MC_COPY_IMPL_H

#include "base/base.h"

#define COPY_LINE 64

/* Copies past the cache. @dst is aligned to COPY_LINE and @len is a multiple of it; fenced on return. */
struct copy_stream {
	const char *name;
	bool (*usable)(void);
	void (*run)(void *dst, const void *src, size_t len);
};

/* Copies and continues a CRC state (see crc.h). @dst as above; @len is a multiple of granule and not 0. */
struct copy_crc {
	const char *name;
	bool (*usable)(void);
	uint32_t (*run)(uint32_t state, void *dst, const void *src, size_t len);
	size_t granule;
	size_t stream_min; /* from this length on run() goes past the cache; below, near() does not */
	uint32_t (*near)(uint32_t state, void *dst, const void *src, size_t len);
};

#if defined(__x86_64__)
extern const struct copy_stream copy_stream_avx2, copy_stream_sse2;
extern const struct copy_crc copy_crc_avx512, copy_crc_avx2, copy_crc_sse42;
#endif

#endif
