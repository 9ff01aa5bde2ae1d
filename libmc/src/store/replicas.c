/* SPDX-License-Identifier: Apache-2.0 */
/* The copies of objects: where they are, and clearing one's own. The cluster's half; embedded.c has the other. */
#include "store/store.h"

#include <mooncake/replicas.h>
#include <stdio.h>

/* ---- where they are ------------------------------------------------------------------------------------------------- */

static const struct mc_key *replicas_key(const void *items, unsigned i)
{
	return &((const struct mc_replicas *)items)[i].key;
}

int replicas_reserve(struct mc_replicas *it, unsigned nr)
{
	it->replica = calloc(nr ? nr : 1, sizeof(*it->replica));
	it->result = it->replica ? 0 : -ENOMEM;
	return it->result;
}

void replicas_add(struct mc_replicas *it, const char *segment, const struct region_info *r, const struct loc *loc, uint64_t bytes)
{
	struct mc_replica *out = &it->replica[it->result];

	if (!range_inside(loc->off, sizeof(struct extent_hdr), r->len))
		return;
	*out = (struct mc_replica){
		.addr = r->addr + loc->off + sizeof(struct extent_hdr), .bytes = bytes, .nr_extents = loc->nr_extents,
	};
	snprintf(out->segment, sizeof(out->segment), "%s", segment);
	it->result++;
}

static void take_located(const struct pool_set *set, const struct located *l, struct mc_replicas *it)
{
	if (replicas_reserve(it, l->nr_replicas))
		return;
	for (unsigned i = 0; i < l->nr_replicas; i++) {
		const struct spool *p = pools_by_index(set, l->replica[i].pool);
		const struct loc *loc = &l->replica[i].loc;

		if (p && loc->region < p->nr_regions)
			replicas_add(it, p->segment, &p->region[loc->region], loc, l->size);
	}
}

static int ask_replicas(struct mc_store *s, struct mc_replicas *items, const struct key *keys, unsigned nr, uint64_t deadline_ns)
{
	struct ask a = ASK_INIT;
	struct pool_set *set;
	int ret;

	ret = store_ask_keys(s, MSG_LOCATE, keys, nr, false, deadline_ns, &a);
	set = pools_for(s, ret ? NULL : &a.located, deadline_ns);
	for (unsigned i = 0; i < nr; i++) {
		const struct located *l = ret ? NULL : &a.located.items[i];
		int there = !l ? ret : l->status ? (l->status == -ENOENT ? 0 : l->status) : 1;

		if (there > 0 && l->flags & OBJ_PENDING)
			there = store_look_there(s, &keys[i], deadline_ns);
		items[i].result = MIN(there, 0);
		if (there > 0)
			take_located(set, l, &items[i]);
	}
	pools_put(set);
	ask_end(&a);
	return ret;
}

int cluster_replicas(struct mc_store *s, struct mc_replicas *items, const struct key *keys, unsigned nr, uint64_t deadline_ns)
{
	int ret = 0, one;

	for (unsigned at = 0, n; at < nr; at += n) {
		n = keys_fit(keys + at, nr - at);
		one = ask_replicas(s, items + at, keys + at, n, deadline_ns);
		ret = ret ? ret : one;
	}
	return ret;
}

int mc_store_replicas(struct mc_store *s, struct mc_replicas *items, unsigned nr, uint64_t deadline_ns)
{
	struct keys keys;
	int ret = keys_enter(s, items, nr, replicas_key, &keys), found = 0, one;

	for (unsigned i = 0; i < nr; i++) {
		items[i].replica = NULL;
		items[i].result = ret ? ret : -EINVAL;
	}
	if (ret)
		return ret;
	deadline_ns = store_deadline(s, deadline_ns);
	for (unsigned at = 0, n; at < nr; at += n + 1) {
		n = keys_run(keys.key + at, nr - at);
		one = n ? s->ops->replicas(s, items + at, keys.key + at, n, deadline_ns) : 0;
		ret = ret ? ret : one;
	}
	for (unsigned i = 0; i < nr; i++) {
		if (items[i].result <= 0 && found == (int)i)
			note_asked("replicas of", &items[i].key, items[i].result ? (int)items[i].result : -ENOENT, 0);
		found += items[i].result > 0;
	}
	keys_leave(s, &keys);
	return found ? found : ret;
}

void mc_replicas_free(struct mc_replicas *items, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		free(items[i].replica);
		items[i].replica = NULL;
		items[i].result = 0;
	}
}

/* ---- clearing ------------------------------------------------------------------------------------------------------- */

/* Looks up what is to be cleared, without a lease. Return: how many are our puts; their items are in @ask. */
static unsigned our_puts(struct mc_store *s, struct mc_remove *items, const struct key *keys, unsigned nr, uint64_t deadline_ns,
			 struct drop_item *drop, struct mc_remove **ask)
{
	struct ask a = ASK_INIT;
	int ret = store_ask_keys_quietly(s, MSG_LOCATE, keys, nr, deadline_ns, &a);
	unsigned n = 0;

	for (unsigned i = 0; i < nr; i++) {
		const struct located *l = ret ? NULL : &a.located.items[i];

		items[i].result = ret ? ret : l->status;
		if (items[i].result)
			continue;
		items[i].result = -ENOENT;
		if (!store_put_is_ours(s, l->put_id))
			continue;
		drop[n] = (struct drop_item){ .key = keys[i], .gen = l->put_id };
		ask[n++] = &items[i];
	}
	ask_end(&a);
	return n;
}

static int clear_some(struct mc_store *s, struct mc_remove *items, const struct key *keys, unsigned nr, const char *segment,
		      uint64_t deadline_ns)
{
	struct msg_clear m = { .segment = { segment, (uint16_t)strlen(segment) } };
	struct mc_remove **asked = calloc(nr, sizeof(*asked));
	struct ask a = ASK_INIT;
	int ret = -ENOMEM, ok = 0;

	m.items = calloc(nr, sizeof(*m.items));
	if (!asked || !m.items)
		goto out;
	ret = 0;
	m.nr = our_puts(s, items, keys, nr, deadline_ns, m.items, asked);
	if (!m.nr)
		goto out;
	ret = store_ask_clear(s, &m, deadline_ns, &a);
	for (uint32_t i = 0; i < m.nr; i++) {
		asked[i]->result = ret ? ret : a.statuses.status[i];
		ok += !asked[i]->result;
		if (s->cache)
			cache_drop(s->cache, &m.items[i].key);
	}
	ret = 0;
out:
	for (unsigned i = 0; i < nr && ret; i++)
		items[i].result = ret;
	ask_end(&a);
	free(m.items);
	free(asked);
	return ok;
}

int cluster_clear(struct mc_store *s, struct mc_remove *items, const struct key *keys, unsigned nr, const char *segment,
		  uint64_t deadline_ns)
{
	int ok = 0;

	for (unsigned at = 0, n; at < nr; at += n) {
		n = keys_fit(keys + at, nr - at);
		ok += clear_some(s, items + at, keys + at, n, segment, deadline_ns);
	}
	return ok;
}

static const struct mc_key *clear_key(const void *items, unsigned i)
{
	return &((const struct mc_remove *)items)[i].key;
}

int mc_store_clear(struct mc_store *s, struct mc_remove *items, unsigned nr, const char *segment, uint64_t deadline_ns)
{
	struct keys keys;
	int ret, ok = 0;

	segment = segment ? segment : "";
	ret = strlen(segment) > TEXT_MAX ? -EINVAL : keys_enter(s, items, nr, clear_key, &keys);
	if (ret)
		goto out;
	deadline_ns = store_deadline(s, deadline_ns);
	for (unsigned at = 0, n; at < nr; at += n + 1) {
		n = keys_run(keys.key + at, nr - at);
		if (n)
			ok += s->ops->clear(s, items + at, keys.key + at, n, segment, deadline_ns);
		if (at + n < nr)
			items[at + n].result = -EINVAL;
	}
	keys_leave(s, &keys);
out:
	for (unsigned i = 0; i < nr && ret; i++)
		items[i].result = ret;
	for (unsigned i = 0; i < nr && ok < (int)nr; i++)
		if (items[i].result) {
			note_asked("clear", &items[i].key, items[i].result, nr - (unsigned)ok - 1);
			break;
		}
	return ok;
}
