/* SPDX-License-Identifier: Apache-2.0 */
/* Memory: regions of the engine, and ranges that are registered for this process alone, which nothing of ours needs to know. */
#include <stdlib.h>
#include <string.h>

#include "capi/capi.h"

/* ---- for this process alone ---------------------------------------------------------------------------------------------- */

static int local_add(struct te *te, void *addr, size_t len)
{
	struct local_range *grown;
	int ret = -ENOMEM;

	if (!addr || !len || (uintptr_t)addr + len < (uintptr_t)addr)
		return -EINVAL;
	pthread_mutex_lock(&te->lock);
	for (size_t i = 0; i < te->nr_ranges; i++)
		if ((char *)addr < (char *)te->range[i].addr + te->range[i].len &&
		    (char *)te->range[i].addr < (char *)addr + len) {
			ret = -EEXIST;
			goto out;
		}
	grown = reallocarray(te->range, te->nr_ranges + 1, sizeof(*grown));
	if (grown) {
		te->range = grown;
		grown[te->nr_ranges++] = (struct local_range){ addr, len };
		ret = 0;
	}
out:
	pthread_mutex_unlock(&te->lock);
	return ret;
}

static int local_del(struct te *te, const void *addr)
{
	int ret = -ENOENT;

	pthread_mutex_lock(&te->lock);
	for (size_t i = 0; i < te->nr_ranges; i++)
		if (te->range[i].addr == addr) {
			te->range[i] = te->range[--te->nr_ranges];
			ret = 0;
			break;
		}
	pthread_mutex_unlock(&te->lock);
	return ret;
}

/* ---- the calls ----------------------------------------------------------------------------------------------------------- */

int registerLocalMemory(transfer_engine_t engine, void *addr, size_t length, const char *location, int remote_accessible)
{
	struct te *te = te_get(engine);
	int ret = -EINVAL;

	if (te && addr)
		ret = remote_accessible ? mc_region_add(te->engine, addr, length, location, NULL) :
					  local_add(te, addr, length);
	te_put(te);
	return mc_engine_code(ret);
}

int unregisterLocalMemory(transfer_engine_t engine, void *addr)
{
	return unregisterLocalMemoryBatch(engine, &addr, 1);
}

/* Return: 0, or a negative errno. */
static int add_many(struct te *te, const buffer_entry_t *list, size_t nr, const char *location)
{
	struct mc_range *range;
	int ret;

	if (!te || (!list && nr) || nr > UINT32_MAX)
		return -EINVAL;
	if (!nr)
		return 0;
	range = calloc(nr, sizeof(*range));
	if (!range)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++)
		range[i] = (struct mc_range){ list[i].addr, list[i].length };
	ret = mc_region_add_many(te->engine, range, (unsigned)nr, location);
	free(range);
	return ret;
}

int registerLocalMemoryBatch(transfer_engine_t engine, buffer_entry_t *buffer_list, size_t buffer_len, const char *location)
{
	struct te *te = te_get(engine);
	int ret = add_many(te, buffer_list, buffer_len, location);

	te_put(te);
	return mc_engine_code(ret);
}

static int del_many(struct te *te, void *const *addr, size_t nr)
{
	void **shared;
	unsigned n = 0;
	int ret = 0;

	if (!te || (!addr && nr) || nr > UINT32_MAX)
		return -EINVAL;
	if (!nr)
		return 0;
	shared = calloc(nr, sizeof(*shared));
	if (!shared)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++)
		if (local_del(te, addr[i]))
			shared[n++] = addr[i];
	if (n)
		ret = mc_region_del_many(te->engine, shared, n);
	free(shared);
	return ret;
}

int unregisterLocalMemoryBatch(transfer_engine_t engine, void **addr_list, size_t addr_len)
{
	struct te *te = te_get(engine);
	int ret = del_many(te, addr_list, addr_len);

	te_put(te);
	return mc_engine_code(ret);
}
