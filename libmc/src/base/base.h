/* SPDX-License-Identifier: Apache-2.0 */
/* What every file needs: sizes, checked arithmetic, alignment, reading and writing little endian. */
#ifndef MC_BASE_H
#define MC_BASE_H

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define MIN(a, b)                      \
	({                             \
		__typeof__(a) a_ = (a); \
		__typeof__(b) b_ = (b); \
		a_ < b_ ? a_ : b_;     \
	})
#define MAX(a, b)                      \
	({                             \
		__typeof__(a) a_ = (a); \
		__typeof__(b) b_ = (b); \
		a_ > b_ ? a_ : b_;     \
	})

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define mc_printf(fmt, args) __attribute__((format(printf, fmt, args)))
#define mc_must_check __attribute__((warn_unused_result))

#define KiB ((uint64_t)1 << 10)
#define MiB ((uint64_t)1 << 20)
#define GiB ((uint64_t)1 << 30)

/* All three return true when the result does not fit; *out is written only when it does. */
#define check_(op, a, b, out)                                                  \
	({                                                                     \
		__typeof__(*(out)) check_r_;                                   \
		bool check_o_ = __builtin_##op##_overflow(a, b, &check_r_);    \
		if (!check_o_)                                                 \
			*(out) = check_r_;                                     \
		check_o_;                                                      \
	})
#define check_add(a, b, out) check_(add, a, b, out)
#define check_sub(a, b, out) check_(sub, a, b, out)
#define check_mul(a, b, out) check_(mul, a, b, out)

/* @align is a power of two; the caller knows that @v + @align does not wrap. */
static inline uint64_t align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

static inline bool is_pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}

/* Does [@off, @off + @len) lie inside [0, @size)? No addition, so nothing wraps. */
static inline bool range_inside(uint64_t off, uint64_t len, uint64_t size)
{
	return len <= size && off <= size - len;
}

/* What a lower-case hexadecimal digit stands for; -1: it is none. */
static inline int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Two such digits a byte: @out has room for 2 * @nr + 1 characters, and is returned. */
static inline char *hex_text(char *out, const void *bytes, size_t nr)
{
	const uint8_t *from = bytes;

	for (size_t i = 0; i < nr; i++) {
		out[2 * i] = "0123456789abcdef"[from[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[from[i] & 15];
	}
	out[2 * nr] = 0;
	return out;
}

/* Little endian in memory of any alignment: wire formats are read and written through these alone. */
#define MC_DEFINE_LE(bits)                                          \
	static inline uint##bits##_t get_le##bits(const void *p)    \
	{                                                           \
		uint##bits##_t v;                                   \
                                                                    \
		memcpy(&v, p, sizeof(v));                           \
		return le##bits##toh(v);                            \
	}                                                           \
	static inline void put_le##bits(void *p, uint##bits##_t v)  \
	{                                                           \
		v = htole##bits(v);                                 \
		memcpy(p, &v, sizeof(v));                           \
	}

MC_DEFINE_LE(16)
MC_DEFINE_LE(32)
MC_DEFINE_LE(64)

#endif
