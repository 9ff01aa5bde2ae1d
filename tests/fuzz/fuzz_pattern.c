// SPDX-License-Identifier: Apache-2.0
/* Patterns that strangers send to the master: a line with the pattern, then the key. Neither may cost much time or memory. */
#include <mooncake/compat.h>

#include "../../daemon/master/master.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint8_t *end = memchr(data, '\n', len);
	size_t first = end ? (size_t)(end - data) : len, rest = end ? len - first - 1 : 0;
	struct key pattern = { data, (uint16_t)first }, key = { end ? end + 1 : data, (uint16_t)rest };
	char text[PATTERN_MAX + 1], posix[PATTERN_MAX + 1];
	regex_t re;

	/* As callers of the Python module write them. */
	memcpy(text, data, MIN(first, (size_t)PATTERN_MAX));
	text[MIN(first, (size_t)PATTERN_MAX)] = 0;
	if (!mc_store_pattern(text, posix, sizeof(posix))) {
		struct key taken = { posix, (uint16_t)strlen(posix) };

		if (!pattern_compile(&taken, &re))
			regfree(&re);
	}
	if (first > UINT16_MAX || rest > KEY_MAX)
		return 0;
	if (pattern_compile(&pattern, &re))
		return 0;
	pattern_matches(&re, &key);
	regfree(&re);
	return 0;
}
