/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What crc.c, its versions for single CPUs and copy.c share; other parts use hash.h and copy.h. A "state" here is the CRC
 * register: the published checksum inverted.
 */
#ifndef MC_CRC_H
#define MC_CRC_H

#include "base/base.h"

#define CRC_POLY 0x82f63b78u /* Castagnoli, bit-reflected */

/* Polynomials modulo CRC_POLY, bit-reflected. */
uint32_t crc_xpow(uint64_t n); /* x^n */
uint32_t crc_mul(uint32_t a, uint32_t b);

/* One way of computing; usable() looks at the CPU and prepares constants. */
struct crc_ops {
	const char *name;
	bool (*usable)(void);
	uint32_t (*update)(uint32_t state, const void *data, size_t len);
};

extern const struct crc_ops crc_table;
#if defined(__x86_64__)
extern const struct crc_ops crc_sse42;
extern const struct crc_ops crc_avx512;
#elif defined(__aarch64__)
extern const struct crc_ops crc_arm;
#endif

#endif
