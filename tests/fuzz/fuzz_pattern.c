// SPDX-License-Identifier: Apache-2.0
/* Patterns that strangers send to the master: a line with the pattern, then the key. Neither may cost much time or memory. */
#include "../../daemon/master/master.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint8_t *end = memchr(data, '\n', len);
	size_t first = end ? (size_t)(end - data) : len, rest = end ? len - first - 1 : 0;
	struct key pattern = { data, (uint16_t)first }, key = { end ? end + 1 : data, (uint16_t)rest };
	regex_t re;

	if (first > UINT16_MAX || rest > KEY_MAX)
		return 0;
	if (pattern_compile(&pattern, &re))
		return 0;
	pattern_matches(&re, &key);
	regfree(&re);
	return 0;
}
