// SPDX-License-Identifier: Apache-2.0
/* SipHash-2-4 (Aumasson and Bernstein 2012; 128 bits as in the authors' reference), and randomness. */
#include "base/hash.h"

#include <sys/random.h>

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, int by)
{
	return (x << by) | (x >> (64 - by));
}

static inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 = rotl(s->v0, 32) + s->v3;
	s->v2 += s->v1;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v2 = rotl(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t m)
{
	s->v3 ^= m;
	sip_round(s);
	sip_round(s);
	s->v0 ^= m;
}

static inline uint64_t sip_finish(struct sip *s)
{
	for (int i = 0; i < 4; i++)
		sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

static inline void sip_absorb(struct sip *s, const struct hash_key *key, const void *data,
			      size_t len)
{
	const uint8_t *p = data;
	uint64_t last = (uint64_t)len << 56;

	s->v0 = key->k[0] ^ 0x736f6d6570736575u; /* "somepseudorandomlygeneratedbytes" */
	s->v1 ^= key->k[1] ^ 0x646f72616e646f6du;
	s->v2 = key->k[0] ^ 0x6c7967656e657261u;
	s->v3 = key->k[1] ^ 0x7465646279746573u;
	for (; len >= 8; p += 8, len -= 8)
		sip_word(s, get_le64(p));
	for (size_t i = 0; i < len; i++)
		last |= (uint64_t)p[i] << (8 * i);
	sip_word(s, last);
}

uint64_t siphash64(const struct hash_key *key, const void *data, size_t len)
{
	struct sip s = { .v1 = 0 };

	sip_absorb(&s, key, data, len);
	s.v2 ^= 0xff;
	return sip_finish(&s);
}

void siphash128(const struct hash_key *key, const void *data, size_t len, uint64_t out[2])
{
	struct sip s = { .v1 = 0xee };

	sip_absorb(&s, key, data, len);
	s.v2 ^= 0xee;
	out[0] = sip_finish(&s);
	s.v1 ^= 0xdd;
	out[1] = sip_finish(&s);
}

void random_bytes(void *out, size_t len)
{
	uint8_t *p = out;

	while (len) {
		ssize_t got = getrandom(p, len, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			abort();
		p += got;
		len -= (size_t)got;
	}
}
