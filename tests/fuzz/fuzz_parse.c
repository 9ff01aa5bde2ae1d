// SPDX-License-Identifier: Apache-2.0
/* Sizes, durations, truth values and suggestions from any text. */
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char *const known[] = { "rpc_port", "port", "metrics_port", "enable_ha", "v" };
	char *text = strndup((const char *)data, len);
	uint64_t v = 42;
	bool b;

	if (parse_size(text, &v) && v != 42)
		abort(); /* written on failure */
	v = 42;
	if (parse_duration_ns(text, 1000, &v) && v != 42)
		abort();
	parse_bool(text, &b);
	suggest(text, known, ARRAY_SIZE(known));
	free(text);
	return 0;
}
