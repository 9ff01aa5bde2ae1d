/* SPDX-License-Identifier: Apache-2.0 */
/* Existence, sizes, removal, listing: what needs no payload. The cluster's half; embedded.c has the other. */
#include "store/store.h"

#include "base/log.h"

/* ---- existence ------------------------------------------------------------------------------------------------------ */

static void query_flags(struct mc_query *q, uint32_t flags)
{
	q->flags = (flags & OBJ_HARD_PIN ? MC_PUT_HARD_PIN : 0) | (flags & OBJ_SOFT_PIN ? MC_PUT_SOFT_PIN : 0);
	q->data_type = (flags & OBJ_TYPE) >> OBJ_TYPE_SHIFT;
}

static bool exists_here(const struct pool_set *set, const struct key *key, struct mc_query *q)
{
	struct found f;

	for (unsigned i = 0; i < set->nr; i++) {
		struct spool *p = set->pool[i];

		if (!p->attached || atomic_load_explicit(&p->gone, memory_order_relaxed) ||
		    view_lookup(&p->view, key->data, key->len, &f))
			continue;
		view_touch(&p->view, &f);
		q->result = 1;
		q->bytes = f.size;
		q->replicas = 1;
		query_flags(q, f.flags);
		return true;
	}
	return false;
}

/*
 * The master knows of a put that its owner has not confirmed: it may have returned, or be in the middle. A byte of the object, read
 * as any object is, tells which. Return: 1, 0 or why it cannot be said.
 */
int store_look_there(struct mc_store *s, const struct key *key, uint64_t deadline_ns)
{
	uint8_t byte;
	struct mc_slice first = { .dst = &byte, .len = 1 };
	struct get_item it = { .key = *key, .slices = &first, .nr_slices = 1, .result = -ENOENT }, *one = &it;

	cluster_get_missing(s, &one, 1, deadline_ns);
	spool_put(it.pool);
	return it.result >= 0 ? 1 : it.result == -ENOENT || it.result == -ESTALE ? 0 : (int)it.result;
}

static int ask_exists(struct mc_store *s, struct mc_query **q, const struct key *keys, unsigned nr, uint64_t deadline_ns)
{
	struct ask a = ASK_INIT;
	int ret = store_ask_keys(s, MSG_EXISTS, keys, nr, false, deadline_ns, &a);

	for (unsigned i = 0; i < nr; i++)
		q[i]->result = ret ? ret : a.existing.found[i] < 2 ? a.existing.found[i] : store_look_there(s, &keys[i], deadline_ns);
	ask_end(&a);
	return ret;
}

static int ask_stat(struct mc_store *s, struct mc_query **q, const struct key *keys, unsigned nr, uint64_t deadline_ns)
{
	struct ask a = ASK_INIT;
	int ret = store_ask_keys(s, MSG_LOCATE, keys, nr, false, deadline_ns, &a);

	for (unsigned i = 0; i < nr; i++) {
		const struct located *l = ret ? NULL : &a.located.items[i];

		if (!ret && !l->status && l->flags & OBJ_PENDING && !q[i]->result)
			q[i]->result = store_look_there(s, &keys[i], deadline_ns);
		else if (ret || l->status != -ENOENT)
			q[i]->result = ret ? ret : l->status ? l->status : 1;
		if (ret || l->status) /* a master that is being refilled may not know yet what was found here */
			continue;
		q[i]->bytes = l->size;
		q[i]->replicas = l->nr_replicas;
		query_flags(q[i], l->flags);
	}
	ask_end(&a);
	return ret;
}

static int cluster_query(struct mc_store *s, struct mc_query **q, const struct key *keys, unsigned nr, bool sizes,
			 uint64_t deadline_ns)
{
	int ret = 0, one;

	for (unsigned at = 0, n; at < nr; at += n) {
		n = keys_fit(keys + at, nr - at);
		one = sizes ? ask_stat(s, q + at, keys + at, n, deadline_ns) : ask_exists(s, q + at, keys + at, n, deadline_ns);
		ret = ret ? ret : one;
	}
	return ret;
}

static const struct mc_key *query_key(const void *items, unsigned i)
{
	return &((const struct mc_query *)items)[i].key;
}

enum query { QUERY_EXISTS, QUERY_SIZE, QUERY_STAT }; /* only the last needs to know of every replica */

/* Answers from this node's directories where they can; @ask gets the rest, packed. Return: how many are left. */
static unsigned query_here(struct mc_store *s, struct mc_query *items, const struct keys *keys, unsigned nr, enum query what,
			   struct mc_query **ask, struct key *left, unsigned *bad)
{
	struct pool_set *set = pools_get(s);
	unsigned n = 0;

	/* From the last to the first, as reads are: the head of a chain of blocks is touched last. */
	for (unsigned i = nr; i-- > 0;) {
		items[i].result = keys->key[i].len ? 0 : -EINVAL;
		if (items[i].result) {
			++*bad;
		} else if (!exists_here(set, &keys->key[i], &items[i]) || what == QUERY_STAT) {
			ask[n] = &items[i];
			left[n++] = keys->key[i];
		}
	}
	pools_put(set);
	return n;
}

static void tell_unknown(const struct mc_query *items, unsigned nr, enum query what)
{
	for (unsigned i = 0; i < nr; i++)
		if (items[i].result < (what != QUERY_EXISTS)) {
			note_asked(what == QUERY_EXISTS ? "look for" : "size of", &items[i].key, items[i].result ? items[i].result : -ENOENT, 0);
			return;
		}
}

static int query(struct mc_store *s, struct mc_query *items, unsigned nr, enum query what, uint64_t deadline_ns)
{
	struct mc_query *small_ask[8], **ask = small_ask;
	struct key small_left[8], *left = small_left;
	struct keys keys;
	unsigned n, bad = 0;
	int ret, unasked, found = 0;

	ret = keys_enter(s, items, nr, query_key, &keys);
	if (ret)
		goto out;
	if (nr > ARRAY_SIZE(small_ask)) {
		ask = calloc(nr, sizeof(*ask));
		left = calloc(nr, sizeof(*left));
	}
	if (!ask || !left) {
		ret = -ENOMEM;
		goto out_free;
	}
	n = query_here(s, items, &keys, nr, what, ask, left, &bad);
	unasked = n ? s->ops->query(s, ask, left, n, what != QUERY_EXISTS, store_deadline(s, deadline_ns)) : 0;
	for (unsigned i = 0; i < nr; i++)
		found += items[i].result == 1;
	if (unasked && !found && n + bad == nr)
		found = unasked; /* nobody could be asked */
out_free:
	if (ask != small_ask) {
		free(ask);
		free(left);
	}
	keys_leave(s, &keys);
out:
	for (unsigned i = 0; i < nr && ret; i++)
		items[i].result = ret;
	if (found < (int)nr)
		tell_unknown(items, nr, what);
	return ret ? ret : found;
}

int mc_store_exists(struct mc_store *s, struct mc_query *items, unsigned nr, uint64_t deadline_ns)
{
	return query(s, items, nr, QUERY_EXISTS, deadline_ns);
}

int mc_store_size(struct mc_store *s, struct mc_query *items, unsigned nr, uint64_t deadline_ns)
{
	return query(s, items, nr, QUERY_SIZE, deadline_ns);
}

int mc_store_stat(struct mc_store *s, struct mc_query *items, unsigned nr, uint64_t deadline_ns)
{
	return query(s, items, nr, QUERY_STAT, deadline_ns);
}

/* ---- removal -------------------------------------------------------------------------------------------------------- */

static int remove_some(struct mc_store *s, struct mc_remove *items, const struct key *keys, unsigned nr, uint32_t flags,
		       uint64_t deadline_ns)
{
	struct ask a = ASK_INIT;
	int ret = store_ask_keys(s, MSG_REMOVE, keys, nr, flags & MC_REMOVE_FORCE, deadline_ns, &a), ok = 0;

	for (unsigned i = 0; i < nr; i++) {
		items[i].result = ret ? ret : a.statuses.status[i];
		ok += !items[i].result;
		if (s->cache)
			cache_drop(s->cache, &keys[i]);
	}
	ask_end(&a);
	return ok;
}

static int cluster_remove(struct mc_store *s, struct mc_remove *items, const struct key *keys, unsigned nr, uint32_t flags,
			  uint64_t deadline_ns)
{
	int ok = 0;

	for (unsigned at = 0, n; at < nr; at += n) {
		n = keys_fit(keys + at, nr - at);
		ok += remove_some(s, items + at, keys + at, n, flags, deadline_ns);
	}
	return ok;
}

static const struct mc_key *remove_key(const void *items, unsigned i)
{
	return &((const struct mc_remove *)items)[i].key;
}

static void tell_failed(const struct mc_remove *items, unsigned nr, unsigned ok)
{
	for (unsigned i = 0; i < nr && ok < nr; i++)
		if (items[i].result) {
			note_asked("remove", &items[i].key, items[i].result, nr - ok - 1);
			return;
		}
}

int mc_store_remove(struct mc_store *s, struct mc_remove *items, unsigned nr, uint32_t flags, uint64_t deadline_ns)
{
	struct keys keys;
	int ret = keys_enter(s, items, nr, remove_key, &keys), ok = 0;

	if (ret)
		goto out;
	deadline_ns = store_deadline(s, deadline_ns);
	for (unsigned at = 0, n; at < nr; at += n + 1) {
		n = keys_run(keys.key + at, nr - at);
		if (n)
			ok += s->ops->remove(s, items + at, keys.key + at, n, flags, deadline_ns);
		if (at + n < nr)
			items[at + n].result = -EINVAL;
	}
	keys_leave(s, &keys);
out:
	for (unsigned i = 0; i < nr && ret; i++)
		items[i].result = ret;
	tell_failed(items, nr, (unsigned)ok);
	return ok;
}

static int make_match(struct mc_store *s, struct msg_match *m, const char *regex)
{
	size_t len = regex ? strlen(regex) : 0;

	if (len > KEY_MAX)
		return -EINVAL;
	m->tenant = (struct key){ s->tenant, (uint16_t)strlen(s->tenant) };
	m->pattern = (struct key){ regex, (uint16_t)len };
	return 0;
}

static int64_t cluster_remove_matching(struct mc_store *s, const char *regex, uint32_t flags, uint64_t deadline_ns)
{
	struct msg_match m = { .force = flags & MC_REMOVE_FORCE };
	struct ask a = ASK_INIT;
	int64_t ret = make_match(s, &m, regex);

	if (!ret)
		ret = store_ask_match(s, MSG_REMOVE_MATCH, &m, deadline_ns, &a);
	if (!ret)
		ret = (int64_t)a.count.count;
	ask_end(&a);
	return ret;
}

int64_t mc_store_remove_matching(struct mc_store *s, const char *regex, uint32_t flags, uint64_t deadline_ns)
{
	int64_t ret = store_enter(s);

	if (ret)
		return ret;
	ret = s->ops->remove_matching(s, regex, flags, store_deadline(s, deadline_ns));
	store_leave(s);
	return ret;
}

/* ---- listing -------------------------------------------------------------------------------------------------------- */

#define LIST_STEP 1024

/* The items of one answer. Return: calls of @fn; *stop when it said so. -EBADMSG: no full key. */
static int64_t list_some(const struct msg_list_reply *list, int (*fn)(void *, const struct mc_list_item *), void *arg, bool *stop)
{
	struct key tenant, key;
	int64_t count = 0;

	for (uint32_t i = 0; i < list->nr && !*stop; i++) {
		struct mc_list_item it = { .bytes = list->items[i].size, .replicas = list->items[i].nr_replicas };

		if (key_split(&list->items[i].key, &tenant, &key))
			return -EBADMSG;
		it.key = (struct mc_key){ key.data, key.len };
		count++;
		*stop = fn(arg, &it);
	}
	return count;
}

static int64_t cluster_list(struct mc_store *s, const char *regex, int (*fn)(void *, const struct mc_list_item *), void *arg,
			    uint64_t deadline_ns)
{
	struct msg_match m = { .max = LIST_STEP };
	struct ask a = ASK_INIT;
	int64_t count = 0, ret = make_match(s, &m, regex);
	bool stop = false;

	while (ret >= 0 && !stop) {
		ret = store_ask_match(s, MSG_LIST, &m, deadline_ns, &a);
		if (!ret)
			ret = list_some(&a.list, fn, arg, &stop);
		if (ret < 0)
			break;
		count += ret;
		m.cursor = a.list.cursor;
		stop |= !m.cursor;
	}
	ask_end(&a);
	return ret < 0 ? ret : count;
}

int64_t mc_store_list(struct mc_store *s, const char *regex, int (*fn)(void *arg, const struct mc_list_item *item), void *arg,
		      uint64_t deadline_ns)
{
	int64_t ret = store_enter(s);

	if (ret)
		return ret;
	ret = s->ops->list(s, regex, fn, arg, store_deadline(s, deadline_ns));
	store_leave(s);
	return ret;
}

/* ---- health and status ---------------------------------------------------------------------------------------------- */

static int cluster_status(struct mc_store *s, struct buf *json, uint64_t deadline_ns)
{
	return link_call(&s->master, MSG_STATUS, NULL, deadline_ns, json);
}

static int cluster_health(struct mc_store *s, uint64_t deadline_ns)
{
	struct ask a = ASK_INIT;
	int ret = store_ask_pools(s, deadline_ns, &a);

	ask_end(&a);
	return ret;
}

int mc_store_health(struct mc_store *s)
{
	int ret = store_enter(s);

	if (ret)
		return ret;
	ret = s->ops->health(s, MIN(store_deadline(s, 0), deadline_after_ms(2000)));
	store_leave(s);
	return ret;
}

char *mc_store_status_json(struct mc_store *s, uint64_t deadline_ns, int *err)
{
	struct buf json = BUF_INIT;
	char *text = NULL;
	int ret = store_enter(s);

	if (!ret) {
		ret = s->ops->status(s, &json, store_deadline(s, deadline_ns));
		store_leave(s);
	}
	if (!ret) {
		text = strndup((const char *)json.data, json.len);
		ret = text ? 0 : -ENOMEM;
	}
	buf_fini(&json);
	if (err)
		*err = ret;
	return text;
}

const struct store_ops cluster_ops = {
	.put = cluster_put,
	.get_missing = cluster_get_missing,
	.locate = cluster_locate,
	.query = cluster_query,
	.remove = cluster_remove,
	.remove_matching = cluster_remove_matching,
	.list = cluster_list,
	.replicas = cluster_replicas,
	.clear = cluster_clear,
	.status = cluster_status,
	.health = cluster_health,
};
