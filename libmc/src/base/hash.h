/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums (CRC-32C, RFC 3720) and the keyed hash (SipHash-2-4, 64 and 128 bits) that hostile keys cannot steer. */
#ifndef MC_HASH_H
#define MC_HASH_H

#include "base/base.h"

/* CRC-32C of @len bytes continued from @crc (0 to start). CPU instruction where there is one, else a table. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/* The CRC of A followed by B, from both CRCs and the length of B. */
uint32_t crc32c_join(uint32_t crc_a, uint32_t crc_b, uint64_t len_b);

struct hash_key {
	uint64_t k[2];
};

uint64_t siphash64(const struct hash_key *key, const void *data, size_t len);
void siphash128(const struct hash_key *key, const void *data, size_t len, uint64_t out[2]);

/* @len bytes of kernel randomness; aborts when the kernel has none, which Linux does not do after boot. */
void random_bytes(void *out, size_t len);

#endif
