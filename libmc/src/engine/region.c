/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that peers may reach: in the table that transports look into, and in the published
 * descriptor. A range that others can find is always reachable: the table comes first when adding,
 * last when removing.
 */
#include "engine/engine.h"

#include "base/clock.h"
#include "base/log.h"

static struct mc_region *find(struct mc_engine *eng, uint64_t addr)
{
	struct mc_region *r;

	list_for_each_entry(r, &eng->regions, node) {
		if (r->addr == addr)
			return r;
	}
	return NULL;
}

/* ---- keys for NICs --------------------------------------------------------------------------- */

static void unkey(struct mc_engine *eng, struct segment_buffer *b)
{
	for (unsigned i = 0; i < eng->nr_transports; i++) {
		struct transport *t = eng->transport[i];

		if (t->ops->dereg && b->nr_keys)
			t->ops->dereg(t, b);
	}
	segment_buffer_fini(b);
}

/* Upstream's descriptors name the location, those of tcp the server. */
static int buffer_new(struct mc_engine *eng, const struct mc_region *r, const char *location, struct segment_buffer *out)
{
	struct segment_buffer b = { .addr = r->addr, .len = r->len };
	int ret;

	if (!strcmp(eng->desc.protocol, "tcp"))
		location = eng->address.name;
	b.name = strdup(location && *location ? location : "*");
	ret = b.name ? 0 : -ENOMEM;
	for (unsigned i = 0; i < eng->nr_transports && !ret; i++) {
		struct transport *t = eng->transport[i];

		if (t->ops->reg)
			ret = t->ops->reg(t, &b);
	}
	if (ret)
		unkey(eng, &b);
	else
		*out = b;
	return ret;
}

/* ---- the descriptor -------------------------------------------------------------------------- */

static int desc_add(struct mc_engine *eng, const struct segment_buffer *b)
{
	struct segment_desc *d = &eng->desc;
	struct segment_buffer *grown;

	pthread_mutex_lock(&eng->desc_lock);
	grown = reallocarray(d->buffers, d->nr_buffers + 1, sizeof(*grown));
	if (grown) {
		d->buffers = grown;
		grown[d->nr_buffers++] = *b;
	}
	pthread_mutex_unlock(&eng->desc_lock);
	return grown ? 0 : -ENOMEM;
}

/* The caller's then; empty: not there. */
static struct segment_buffer desc_del(struct mc_engine *eng, uint64_t addr)
{
	struct segment_desc *d = &eng->desc;
	struct segment_buffer b = { 0 };

	pthread_mutex_lock(&eng->desc_lock);
	for (uint32_t i = 0; i < d->nr_buffers; i++) {
		if (d->buffers[i].addr != addr)
			continue;
		b = d->buffers[i];
		d->nr_buffers--;
		memmove(&d->buffers[i], &d->buffers[i + 1],
			(d->nr_buffers - i) * sizeof(d->buffers[0]));
		break;
	}
	pthread_mutex_unlock(&eng->desc_lock);
	return b;
}

/* Without publishing. */
static int add_one(struct mc_engine *eng, const struct mc_range *range, const char *location, struct mc_region **out)
{
	uint64_t addr = (uintptr_t)range->addr;
	struct mc_region *r = calloc(1, sizeof(*r));
	struct segment_buffer b;
	int ret;

	if (!r)
		return -ENOMEM;
	*r = (struct mc_region){ .eng = eng, .addr = addr, .len = range->len };
	ret = reach_add(eng->reach, addr, range->len);
	if (ret) {
		if (ret == -EEXIST)
			log_err("memory [%p, +%zu) overlaps a registered range", range->addr,
				range->len);
		goto err_free;
	}
	ret = buffer_new(eng, r, location, &b);
	if (ret)
		goto err_reach;
	ret = desc_add(eng, &b);
	if (ret)
		goto err_unkey;
	list_append(&eng->regions, &r->node);
	*out = r;
	return 0;

err_unkey:
	unkey(eng, &b);
err_reach:
	reach_del(eng->reach, addr);
err_free:
	free(r);
	return ret;
}

/* Takes the region out of sight; its memory may still be in use until reach_del(). */
static void hide(struct mc_engine *eng, struct mc_region *r)
{
	struct segment_buffer b = desc_del(eng, r->addr);

	list_del(&r->node);
	unkey(eng, &b);
}

static void drop(struct mc_engine *eng, struct list *gone)
{
	struct mc_region *r, *tmp;

	list_for_each_entry_safe(r, tmp, gone, node) {
		list_del(&r->node);
		reach_del(eng->reach, r->addr);
		free(r);
	}
}

static int publish(struct mc_engine *eng)
{
	return engine_publish(eng, deadline_after_ns(ENGINE_META_NS));
}

static int add_many(struct mc_engine *eng, const struct mc_range *ranges, unsigned nr, const char *location,
		    struct mc_region **last)
{
	struct mc_region *r = NULL;
	struct list added;
	unsigned i;
	int ret = 0;

	pthread_mutex_lock(&eng->region_lock);
	for (i = 0; i < nr && !ret; i++)
		ret = add_one(eng, &ranges[i], location, &r);
	if (!ret)
		ret = publish(eng);
	else
		i--;
	if (ret) {
		/* The new ones are the last of the list. */
		list_init(&added);
		while (i--) {
			r = list_entry(eng->regions.prev, struct mc_region, node);
			hide(eng, r);
			list_append(&added, &r->node);
		}
		drop(eng, &added);
	} else if (last) {
		*last = r;
	}
	pthread_mutex_unlock(&eng->region_lock);
	return ret;
}

int mc_region_add(struct mc_engine *eng, void *addr, size_t len, const char *location,
		  struct mc_region **out)
{
	const struct mc_range range = { addr, len };

	if (engine_forked(eng))
		return engine_refuse_fork();
	return add_many(eng, &range, 1, location, out);
}

int mc_region_add_many(struct mc_engine *eng, const struct mc_range *ranges, unsigned nr,
		       const char *location)
{
	if (engine_forked(eng))
		return engine_refuse_fork();
	return nr ? add_many(eng, ranges, nr, location, NULL) : 0;
}

int mc_region_del_many(struct mc_engine *eng, void *const *addrs, unsigned nr)
{
	struct list gone;
	int ret = 0;

	if (engine_forked(eng))
		return engine_refuse_fork();
	list_init(&gone);
	pthread_mutex_lock(&eng->region_lock);
	for (unsigned i = 0; i < nr; i++) {
		struct mc_region *r = find(eng, (uintptr_t)addrs[i]);

		if (!r) {
			ret = -ENOENT;
			continue;
		}
		hide(eng, r);
		list_append(&gone, &r->node);
	}
	if (!list_empty(&gone) && publish(eng))
		log_warn("memory is unregistered here, but the metadata service could not be told");
	drop(eng, &gone);
	pthread_mutex_unlock(&eng->region_lock);
	if (ret)
		err_note("no registered range starts at one of the addresses");
	return ret;
}

int mc_region_del_addr(struct mc_engine *eng, void *addr)
{
	return mc_region_del_many(eng, &addr, 1);
}

void mc_region_del(struct mc_region *region)
{
	if (region)
		mc_region_del_addr(region->eng, (void *)(uintptr_t)region->addr);
}

void regions_free(struct mc_engine *eng)
{
	while (!list_empty(&eng->regions)) {
		struct mc_region *r = list_first(&eng->regions, struct mc_region, node);

		hide(eng, r);
		free(r);
	}
}
