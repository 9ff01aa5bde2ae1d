/* SPDX-License-Identifier: Apache-2.0 */
/* Storing. Each replica of each object is a task; tasks go to pools in rounds. What a pool could not take is tried in another. */
#include "store/store.h"

#include <unistd.h>

#include "base/hash.h"
#include "base/opts.h"

bool put_check(const struct mc_put *it, uint64_t *bytes)
{
	uint64_t sum = 0;

	if (!it->key.len || it->key.len > KEY_MAX)
		return false;
	for (unsigned i = 0; i < it->nr_iov; i++)
		if (check_add(sum, it->iov[i].len, &sum) || (!it->iov[i].addr && it->iov[i].len))
			return false;
	*bytes = sum;
	return sum && sum <= NET_PAYLOAD_MAX;
}

uint32_t put_object_flags(const struct mc_put_opts *o)
{
	uint32_t flags = OBJ_CRC | o->data_type << OBJ_TYPE_SHIFT;

	flags |= o->flags & MC_PUT_HARD_PIN ? OBJ_HARD_PIN : 0;
	flags |= o->flags & MC_PUT_SOFT_PIN ? OBJ_SOFT_PIN : 0;
	flags |= o->flags & MC_PUT_REPLACE ? OBJ_REPLACE : 0;
	if (o->flags & MC_PUT_REPLACE && !(o->flags & (MC_PUT_SOFT_PIN | MC_PUT_SOFT_UNPIN)))
		flags |= OBJ_KEEP_PIN;
	return flags;
}

/* Two names of one number would be evicted together, which is all it is used for, and seldom. */
uint32_t put_group(const struct mc_store *s, const struct mc_key *name)
{
	static const struct hash_key same_for_all = { { 1, 2 } };
	uint64_t tenant;
	uint32_t nr;

	if (!name->len)
		return 0;
	tenant = siphash64(&same_for_all, s->tenant, strlen(s->tenant));
	nr = (uint32_t)siphash64(&(struct hash_key){ { tenant, 3 } }, name->data, name->len);
	return nr ? nr : 1;
}

/* ---- choosing ------------------------------------------------------------------------------------------------------- */

static bool is_preferred(const struct spool *p, const struct mc_put_opts *o)
{
	for (unsigned i = 0; i < o->nr_preferred; i++)
		if (!strcmp(o->preferred[i], p->segment))
			return true;
	return false;
}

struct chooser {
	struct pool_set *set;
	struct candidate *cand;
	uint64_t random;
};

static int chooser_open(struct chooser *c, struct mc_store *s, const struct mc_put_opts *o)
{
	c->set = pools_get(s);
	c->cand = calloc(c->set->nr + 1, sizeof(*c->cand));
	c->random = store_put_id(s); /* unlike others', without a system call */
	if (!c->cand)
		return -ENOMEM;
	for (unsigned i = 0; i < c->set->nr; i++) {
		struct spool *p = c->set->pool[i];

		c->cand[i] = (struct candidate){
			.usable = !atomic_load(&p->gone) && !(atomic_load(&p->flags) & POOL_DRAINING) &&
				  (p->attached || (s->remote_ok && p->addr[0])),
			.same_node = p->same_node,
			.preferred = is_preferred(p, o),
			.capacity = atomic_load(&p->capacity),
			.used = atomic_load(&p->used),
		};
	}
	return 0;
}

static void chooser_close(struct chooser *c)
{
	free(c->cand);
	pools_put(c->set);
}

/*
 * A pool that @used[] does not mark yet and that @bytes may fit into; marks it. By chance, or always the same for a @group.
 * Return: its index; -ENOSPC: those that are left are too small, and nothing shall be evicted for nothing; -ECONNREFUSED: none is
 * left.
 */
static int choose(struct chooser *c, uint64_t bytes, uint32_t group, bool *used)
{
	bool saved[c->set->nr + 1], small = false;
	int at;

	for (unsigned i = 0; i < c->set->nr; i++) {
		saved[i] = c->cand[i].usable;
		c->cand[i].usable = saved[i] && !used[i];
		if (c->cand[i].usable && c->cand[i].capacity && bytes > c->cand[i].capacity) {
			c->cand[i].usable = false;
			small = true;
		}
	}
	c->random = c->random * 6364136223846793005ULL + 1442695040888963407ULL;
	at = place_pick(c->cand, c->set->nr, group ? group * 0x9e3779b97f4a7c15ULL >> 16 : c->random >> 16);
	for (unsigned i = 0; i < c->set->nr; i++)
		c->cand[i].usable = saved[i];
	if (at < 0)
		return small ? -ENOSPC : -ECONNREFUSED;
	used[at] = true;
	return at;
}

/* ---- the call ------------------------------------------------------------------------------------------------------- */

struct put_item {
	uint64_t bytes, put_id;
	unsigned stored;  /* replicas that are there */
	int error;	  /* of the last failure */
	unsigned twin;	  /* another item of the key counts, and this one has its result: that index + 1; 0: none */
	bool exists, bad;
};

struct put_call {
	struct mc_store *s;
	struct mc_put *items;
	unsigned nr, replicas;
	void *memory; /* of the next four; one block, for batches are large and frequent */
	struct put_item *state;
	struct put_task *tasks;
	struct put_task **todo;
	struct put_room *rooms; /* one per task */
	bool *used; /* nr × pools: where a replica of the item was tried */
	struct chooser ch;
	struct tally *tally;
};

/* Errors that another pool may not have. */
static bool elsewhere(int err)
{
	return err == -ENOSPC || err == -ESHUTDOWN || err == -ECONNRESET || err == -ECONNREFUSED || err == -EHOSTUNREACH ||
	       err == -EAGAIN || err == -ENOTCONN || err == -EPERM || err == -EPROTO;
}

/*
 * What of items [at, at + nr) this pool has already: nothing to send. The read of the directory is also the touch that protects the
 * object.
 */
static void stored_in(struct put_call *c, const struct spool *p, const struct keys *keys, unsigned at, unsigned nr)
{
	uint64_t hash[VIEW_FETCH][2];
	struct found f;

	for (unsigned i = 0; i < nr; i++)
		view_hash(&p->view, &keys->key[at + i], hash[i]);
	view_fetch(&p->view, hash, nr);
	for (unsigned i = 0; i < nr; i++) {
		struct put_item *st = &c->state[at + i];

		if (st->bad || st->exists || view_lookup_hash(&p->view, hash[i], &f))
			continue;
		view_touch(&p->view, &f);
		st->exists = true;
	}
}

static void stored_here(struct put_call *c, const struct keys *keys)
{
	for (unsigned k = 0; k < c->ch.set->nr; k++) {
		const struct spool *p = c->ch.set->pool[k];

		for (unsigned i = 0; i < c->nr && p->attached && !atomic_load(&p->gone); i += VIEW_FETCH)
			stored_in(c, p, keys, i, MIN(c->nr - i, (unsigned)VIEW_FETCH));
	}
}

static bool *used_of(struct put_call *c, unsigned item)
{
	return &c->used[(size_t)item * (c->ch.set->nr + 1)];
}

/* Gives every unfinished replica a pool. Return: tasks to run. */
static unsigned assign(struct put_call *c, const struct keys *keys, const struct mc_put_opts *o)
{
	uint32_t obj = put_object_flags(o);
	unsigned nr = 0;

	for (unsigned i = 0; i < c->nr; i++) {
		struct put_item *st = &c->state[i];

		for (unsigned r = st->stored; r < c->replicas && !st->bad && !st->exists && !st->twin; r++) {
			uint32_t group = o->groups ? put_group(c->s, &o->groups[i]) : 0;
			int at = choose(&c->ch, extent_bytes(st->bytes, keys->key[i].len), group, used_of(c, i));

			if (at < 0) {
				if (!st->error)
					st->error = at;
				break;
			}
			c->tasks[nr] = (struct put_task){ .it = &c->items[i],
							  .key = keys->key[i],
							  .bytes = st->bytes,
							  .put_id = st->put_id,
							  .flags = obj,
							  .soft_pin_ms = (uint32_t)MIN(o->soft_pin_ms, UINT32_MAX),
							  .group = group,
							  .item = i,
							  .at = (unsigned)at,
							  .pool = c->ch.set->pool[at],
							  .room = &c->rooms[nr] };
			c->todo[nr] = &c->tasks[nr];
			nr++;
		}
	}
	return nr;
}

struct outcome {
	bool again;    /* there is something to try elsewhere */
	bool progress; /* something was stored, or a pool is out of the question */
};

/* Takes in what a round did. */
static struct outcome settle(struct put_call *c, unsigned nr)
{
	struct outcome o = { false, false };

	for (unsigned i = 0; i < nr; i++) {
		const struct put_task *t = c->todo[i];
		struct put_item *st = &c->state[t->item];

		o.progress |= t->result != -EAGAIN;
		if (!t->result) {
			st->stored++;
			tally_add(c->tally, t->pool->attached ? MC_PATH_MAPPED : MC_PATH_TCP, t->bytes);
		} else if (t->result == -EEXIST) {
			st->exists = true;
		} else {
			st->error = t->result;
			o.again |= elsewhere(t->result);
			st->bad |= !elsewhere(t->result);
			/* The same pool may have room for it once this round's objects are stored. */
			if (t->result == -EAGAIN)
				used_of(c, t->item)[t->at] = false;
		}
	}
	return o;
}

static const struct mc_key *key_at(const void *items, unsigned i)
{
	return &((const struct mc_put *)items)[i].key;
}

#define IDLE_ROUNDS 12 /* that only heard "later", with pauses that double from 0.1 ms */

static void run_rounds(struct put_call *c, const struct keys *keys, const struct mc_put_opts *o, uint64_t deadline_ns)
{
	struct outcome out;
	/* Several replicas are one put to the master, and one that replaces has what is there to see to: not in the same breath. */
	bool announce = c->replicas == 1 && !(o->flags & MC_PUT_REPLACE);
	unsigned idle = 0, nr;

	while (idle < IDLE_ROUNDS && !atomic_load(&c->s->closing)) {
		nr = assign(c, keys, o);
		if (!nr)
			break;
		put_round(c->todo, nr, announce, deadline_ns);
		announce = false; /* what went wrong with it does so once */
		out = settle(c, nr);
		if (!out.again || deadline_passed(deadline_ns))
			break;
		if (out.progress)
			idle = 0;
		else
			usleep(100u << MIN(idle++, 6u));
	}
}

/* Nothing of an item is stored because pools could not be reached: there may be others by now. */
static bool lost_pools(const struct put_call *c)
{
	for (unsigned i = 0; i < c->nr; i++) {
		const struct put_item *st = &c->state[i];

		if (!st->stored && !st->exists && !st->bad && !st->twin && st->error && st->error != -ENOSPC && st->error != -EAGAIN)
			return true;
	}
	return false;
}

/*
 * A key that a batch has twice: of those that replace the last one counts, else the first, as if they were put one after the
 * other. One pool sees to that by itself, but two would race.
 */
static void find_twins(struct put_call *c, const struct keys *keys, bool last)
{
	static const struct hash_key any = { { 1, 2 } };
	uint32_t places = 4, *table;

	while (places < 2 * (uint64_t)c->nr)
		places *= 2;
	table = c->nr > 1 ? calloc(places, sizeof(*table)) : NULL;
	for (unsigned i = 0; table && i < c->nr; i++) {
		const struct key *k = &keys->key[i];
		uint64_t at = siphash64(&any, k->data, k->len);

		if (c->state[i].bad)
			continue;
		for (;; at++) {
			uint32_t *t = &table[at & (places - 1)];
			const struct key *other = *t ? &keys->key[*t - 1] : NULL;

			if (other && (other->len != k->len || memcmp(other->data, k->data, k->len)))
				continue;
			if (other && last)
				c->state[*t - 1].twin = i + 1;
			else if (other)
				c->state[i].twin = *t;
			if (!other || last)
				*t = i + 1;
			break;
		}
	}
	free(table); /* without memory they race */
}

/* The item whose result is that of item @i. */
static unsigned counts_for(const struct put_call *c, unsigned i)
{
	while (c->state[i].twin)
		i = c->state[i].twin - 1;
	return i;
}

static int call_pools(struct put_call *c, const struct mc_put_opts *o)
{
	int ret = chooser_open(&c->ch, c->s, o);

	if (ret)
		return ret;
	c->used = calloc((size_t)c->nr * (c->ch.set->nr + 1), sizeof(*c->used));
	return c->used ? 0 : -ENOMEM;
}

static void call_pools_done(struct put_call *c)
{
	free(c->used);
	c->used = NULL;
	chooser_close(&c->ch);
}

static void run_call(struct put_call *c, const struct keys *keys, const struct mc_put_opts *o, uint64_t deadline_ns)
{
	if (!(o->flags & MC_PUT_REPLACE))
		stored_here(c, keys);
	run_rounds(c, keys, o, deadline_ns);
	if (!lost_pools(c) || deadline_passed(deadline_ns) || pools_refresh(c->s, true, deadline_ns))
		return;
	call_pools_done(c);
	if (call_pools(c, o))
		return; /* the errors of the first time stand */
	for (unsigned i = 0; i < c->nr; i++)
		c->state[i].bad |= c->state[i].stored > 0; /* that is enough */
	run_rounds(c, keys, o, deadline_ns);
}

/* In the words of mc_store_put(). */
static int put_result(const struct mc_store *s, const struct put_item *st, bool late)
{
	if (st->stored || st->exists)
		return 0;
	switch (st->error) {
	case -EAGAIN:
		return late ? -ETIMEDOUT : -ENOSPC;
	case -ESHUTDOWN: /* a pool that drains, unless it is us */
		return atomic_load(&s->closing) ? -ESHUTDOWN : -ECONNREFUSED;
	case -ENOTCONN: /* the pool has no master */
	case -EHOSTUNREACH:
		return -ECONNREFUSED;
	case -ECONNRESET:
	case -EBADMSG:
		return -EIO;
	default:
		return st->error;
	}
}

#define FIGURES_NS (2 * NSEC_PER_SEC) /* how old the figures for placing, and the list of pools, may be */
#define WANTING_NS NSEC_PER_MSEC /* the same for who asks for pools that are not known */

static bool knows_enough(struct mc_store *s, const struct mc_put_opts *o)
{
	struct pool_set *set = pools_get(s);
	bool found = !o->nr_preferred;
	unsigned nr = set->nr;

	for (unsigned i = 0; i < set->nr && !found; i++)
		found = is_preferred(set->pool[i], o);
	pools_put(set);
	return found && nr && nr >= MIN(o->replicas, (unsigned)REPLICAS_MAX);
}

static void refresh(struct mc_store *s, const struct mc_put_opts *o, uint64_t deadline_ns)
{
	uint32_t known = atomic_load(&s->view_known);
	uint64_t now = clock_now_ns(), age = now - atomic_load_explicit(&s->refreshed_ns, memory_order_relaxed);

	if (!known || atomic_load(&s->view_seen) != known)
		pools_refresh(s, false, deadline_ns);
	else if (age > FIGURES_NS || (age > WANTING_NS && !knows_enough(s, o)))
		pools_refresh(s, true, MIN(deadline_ns, now + FIGURES_NS / 10));
}

/* Where a replaced object was last seen, it is no more. */
static void forget_replaced(struct put_call *c, const struct keys *keys)
{
	for (unsigned i = 0; i < c->nr && c->s->cache; i++)
		if (c->state[i].stored)
			cache_drop(c->s->cache, &keys->key[i]);
}

static int call_memory(struct put_call *c)
{
	size_t nr = (size_t)c->nr * c->replicas;
	char *p = malloc(c->nr * sizeof(*c->state) + nr * (sizeof(*c->tasks) + sizeof(*c->rooms) + sizeof(*c->todo)));

	if (!p)
		return -ENOMEM;
	c->memory = c->state = (void *)p;
	c->tasks = (void *)(c->state + c->nr);
	c->rooms = (void *)(c->tasks + nr);
	c->todo = (void *)(c->rooms + nr);
	for (unsigned i = 0; i < c->nr; i++) {
		struct put_item *st = &c->state[i];

		*st = (struct put_item){ .put_id = store_put_id(c->s) };
		if (!put_check(&c->items[i], &st->bytes)) {
			st->bad = true;
			st->error = -EINVAL;
		}
	}
	return 0;
}

int cluster_put(struct mc_store *s, struct mc_put *items, unsigned nr, const struct mc_put_opts *o, struct tally *t,
		uint64_t deadline_ns)
{
	struct put_call c = { .s = s, .items = items, .nr = nr, .tally = t };
	struct keys keys = { 0 };
	int ret, ok = 0;
	bool late;

	refresh(s, o, deadline_ns);
	ret = keys_make(s, items, nr, key_at, &keys);
	if (!ret)
		ret = call_pools(&c, o);
	if (ret)
		goto out;
	c.replicas = MIN(o->replicas, (unsigned)REPLICAS_MAX);
	c.replicas = MIN(c.replicas, c.ch.set->nr);
	c.replicas = MAX(c.replicas, 1u);
	ret = call_memory(&c);
	if (ret)
		goto out;
	if (c.ch.set->nr > 1)
		find_twins(&c, &keys, o->flags & MC_PUT_REPLACE);
	run_call(&c, &keys, o, deadline_ns);
	late = deadline_passed(deadline_ns);
	for (unsigned i = 0; i < nr; i++) {
		items[i].result = put_result(s, &c.state[counts_for(&c, i)], late);
		ok += !items[i].result;
	}
	if (o->flags & MC_PUT_REPLACE)
		forget_replaced(&c, &keys);
out:
	free(c.memory);
	if (c.ch.set)
		call_pools_done(&c);
	keys_free(&keys);
	for (unsigned i = 0; i < nr && ret; i++)
		items[i].result = ret;
	return ret ? 0 : ok;
}

int put_opts_take(const struct mc_put_opts *in, struct mc_put_opts *o)
{
	int ret;

	*o = (struct mc_put_opts){ .size = sizeof(*o) };
	ret = in ? opts_take(in, sizeof(in->size), o, sizeof(*o)) : 0;
	if (ret)
		return ret;
	if (o->flags & ~(MC_PUT_HARD_PIN | MC_PUT_SOFT_PIN | MC_PUT_REPLACE | MC_PUT_SOFT_UNPIN))
		return -EINVAL;
	if (o->flags & MC_PUT_SOFT_PIN && o->flags & MC_PUT_SOFT_UNPIN)
		return -EINVAL;
	return o->data_type > OBJ_TYPE >> OBJ_TYPE_SHIFT ? -EINVAL : 0;
}

static void count_put(struct mc_store *s, unsigned nr, unsigned ok, struct tally *t, uint64_t start_ns)
{
	t->puts = ok;
	t->missed = nr - ok;
	stats_put(s, t, start_ns);
}

static void tell_failed(const struct mc_put *items, unsigned nr, unsigned ok)
{
	for (unsigned i = 0; i < nr && ok < nr; i++)
		if (items[i].result) {
			note_put(&items[i].key, items[i].result, nr - ok - 1);
			return;
		}
}

int mc_store_put(struct mc_store *s, struct mc_put *items, unsigned nr, const struct mc_put_opts *opts, uint64_t deadline_ns)
{
	uint64_t start_ns = clock_now_ns();
	struct mc_put_opts o;
	struct tally tally;
	int ret = nr > BATCH_MAX ? -E2BIG : put_opts_take(opts, &o), ok = 0;

	if (!ret)
		ret = store_enter(s);
	for (unsigned i = 0; i < nr && ret; i++)
		items[i].result = ret;
	if (!ret) {
		tally_init(&tally);
		if (nr)
			ok = s->ops->put(s, items, nr, &o, &tally, store_deadline(s, deadline_ns));
		count_put(s, nr, (unsigned)ok, &tally, start_ns);
		store_leave(s);
	}
	tell_failed(items, nr, (unsigned)ok);
	return ok;
}
