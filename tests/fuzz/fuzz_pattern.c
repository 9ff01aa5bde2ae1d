// SPDX-License-Identifier: Apache-2.0
/* Patterns that strangers send to the master: a line with the pattern, then the key. Neither may cost much time or memory. */
#include <mooncake/compat.h>

#include "base/pattern.h"
#include "proto/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint8_t *end = memchr(data, '\n', len);
	size_t first = end ? (size_t)(end - data) : len, rest = end ? len - first - 1 : 0;
	char text[PATTERN_MAX + 1], posix[PATTERN_MAX + 1];
	struct pattern *p;

	/* As callers of the Python module write them. */
	memcpy(text, data, MIN(first, (size_t)PATTERN_MAX));
	text[MIN(first, (size_t)PATTERN_MAX)] = 0;
	if (!mc_store_pattern(text, posix, sizeof(posix)) && !pattern_open(posix, strlen(posix), &p))
		pattern_close(p);
	if (rest > KEY_MAX || pattern_open(data, first, &p))
		return 0;
	pattern_find(p, end ? end + 1 : data, rest);
	pattern_close(p);
	return 0;
}
