/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes as callers write them. */
#include <mooncake/compat.h>

#include "base/conf.h"

int mc_parse_size(const char *text, uint64_t *bytes)
{
	return parse_size(text, bytes);
}
