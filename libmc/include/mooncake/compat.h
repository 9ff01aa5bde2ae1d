/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers that existing callers expect, from the errnos that everything here speaks (mc_store_code(3) lists them). */
#ifndef MOONCAKE_COMPAT_H
#define MOONCAKE_COMPAT_H

#include <mooncake/mooncake.h>

#ifdef __cplusplus
extern "C" {
#endif

/** mc_store_code - the store code (0, -200, -704 …) for 0 or a negative errno. Unknown ones: -1. Positive values pass through. */
MC_API int64_t mc_store_code(int64_t err);

/** mc_engine_code - the engine code (0, -1, -7 …) for 0 or a negative errno. */
MC_API int mc_engine_code(int err);

/** mc_store_code_name - "OBJECT_NOT_FOUND" for -704; "UNKNOWN_ERROR" for what has no name. */
MC_API const char *mc_store_code_name(int code);

/**
 * mc_store_pattern - a regular expression as callers write it (ECMAScript's: "^id-\\d+$", "(?:a|b)+?") in the form that
 * mc_store_remove_matching() and mc_store_list() take.
 * @size: of @out; 4097 bytes hold all that those take.
 * Return: 0; -EINVAL no expression, or one that looks ahead, looks behind or refers back: those take unbounded time.
 */
MC_API int mc_store_pattern(const char *pattern, char *out, size_t size);

/**
 * mc_parse_size - bytes from text as callers write it: "4gb", "64 MiB", "1.5 GB", "1e9", "infinite".
 * Units are binary multiples in any case: B K KB M MB G GB T TB; none means bytes.
 * Return: 0; -EINVAL.
 */
MC_API int mc_parse_size(const char *text, uint64_t *bytes);

#ifdef __cplusplus
}
#endif

#endif
