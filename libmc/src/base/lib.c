// SPDX-License-Identifier: Apache-2.0
/* The library as a whole: its version, and deadlines for callers that have no clock.h. */
#include <mooncake/mooncake.h>

#include "base/clock.h"

const char *mc_version(void)
{
	return MC_VERSION;
}

uint64_t mc_deadline_ms(uint64_t ms)
{
	return deadline_after_ms(ms);
}
