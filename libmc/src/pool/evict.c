// SPDX-License-Identifier: Apache-2.0
/* The eviction policies by name. */
#include "pool/evict_inner.h"

const struct evict_ops *const evict_policies[] = { &evict_adaptive, &evict_twoq, &evict_lru, NULL };

const struct evict_ops *evict_find(const char *name)
{
	if (!name)
		return evict_policies[0];
	for (size_t i = 0; evict_policies[i]; i++)
		if (!strcmp(evict_policies[i]->name, name))
			return evict_policies[i];
	return NULL;
}
