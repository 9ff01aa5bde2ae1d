// SPDX-License-Identifier: Apache-2.0
/* One shard's table: linear probing in the order of the hash, deletion by shifting back, no markers left behind. */
#include "table.h"

#include "base/log.h"

#define BITS_MIN 4
#define BITS_MAX 40

/* User space ends below 2^48 on every machine we build for; the upper 16 bits carry the hash's last 16. */
#define PTR_MASK (((uint64_t)1 << 48) - 1)

static uint64_t entry(const struct object *o)
{
	return (uint64_t)(uintptr_t)o | o->hash << 48;
}

static struct object *entry_object(uint64_t e)
{
	return (struct object *)(uintptr_t)(e & PTR_MASK);
}

static uint64_t places(const struct shard *s)
{
	return (uint64_t)1 << s->bits;
}

/* The bits that follow those which chose the shard. */
static uint64_t home(const struct shard *s, uint64_t hash)
{
	return hash << s->shard_bits >> (64 - s->bits);
}

static uint64_t next_place(const struct shard *s, uint64_t i)
{
	return (i + 1) & (places(s) - 1);
}

void shard_init(struct shard *s, unsigned shard_bits)
{
	pthread_mutexattr_t attr;

	*s = (struct shard){ .bits = BITS_MIN, .shard_bits = (uint8_t)shard_bits };
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(&s->lock, &attr);
	pthread_mutexattr_destroy(&attr);
}

void shard_fini(struct shard *s)
{
	for (uint64_t i = 0; s->table && i < places(s); i++) {
		struct object *o = entry_object(s->table[i]);

		if (!o)
			continue;
		while (o->more) {
			struct rep_more *m = o->more;

			o->more = m->next;
			free(m);
		}
		free(o);
	}
	free(s->table);
	free(s->graves);
	pthread_mutex_destroy(&s->lock);
}

struct object *shard_find(const struct shard *s, uint64_t hash, const struct key *key)
{
	if (unlikely(!s->table))
		return NULL;
	for (uint64_t i = home(s, hash); s->table[i]; i = next_place(s, i)) {
		struct object *o;

		if (s->table[i] >> 48 != (hash & 0xffff))
			continue;
		o = entry_object(s->table[i]);
		if (o->hash == hash && o->key_len == key->len && !memcmp(o->key, key->data, key->len))
			return o;
	}
	return NULL;
}

static void place(struct shard *s, uint64_t e, uint64_t hash)
{
	uint64_t i = home(s, hash);

	while (s->table[i])
		i = next_place(s, i);
	s->table[i] = e;
}

static int grow(struct shard *s)
{
	unsigned bits = s->table ? s->bits + 1 : BITS_MIN;
	uint64_t *old = s->table, *table, nr = old ? places(s) : 0;

	if (bits > BITS_MAX)
		return -ENOMEM;
	table = calloc((size_t)1 << bits, sizeof(*table));
	if (!table)
		return -ENOMEM;
	/* shard_prefetch() looks without the lock */
	__atomic_store_n(&s->bits, (uint8_t)bits, __ATOMIC_RELAXED);
	__atomic_store_n(&s->table, table, __ATOMIC_RELAXED);
	for (uint64_t i = 0; i < nr; i++) {
		if (i + 8 < nr)
			__builtin_prefetch(entry_object(old[i + 8]));
		if (old[i])
			place(s, old[i], entry_object(old[i])->hash);
	}
	free(old);
	return 0;
}

int shard_insert(struct shard *s, struct object *o)
{
	int ret;

	if (!s->table || s->count + 1 > places(s) / 4 * 3) {
		ret = grow(s);
		if (ret)
			return ret;
	}
	place(s, entry(o), o->hash);
	s->count++;
	return 0;
}

void shard_remove(struct shard *s, struct object *o)
{
	uint64_t mask = places(s) - 1, hole = home(s, o->hash), i;

	while (s->table[hole] != entry(o))
		hole = next_place(s, hole);
	/* Whoever was pushed beyond the hole by it may move into it, unless its home lies after the hole. */
	for (i = next_place(s, hole); s->table[i]; i = next_place(s, i)) {
		uint64_t h = home(s, entry_object(s->table[i])->hash);

		if (((i - h) & mask) >= ((i - hole) & mask)) {
			s->table[hole] = s->table[i];
			hole = i;
		}
	}
	s->table[hole] = 0;
	if (--s->count)
		return;
	/* Emptied: what it once needed is given back. */
	free(s->table);
	__atomic_store_n(&s->table, NULL, __ATOMIC_RELAXED);
	__atomic_store_n(&s->bits, BITS_MIN, __ATOMIC_RELAXED);
}

void shard_account(struct shard *s, const struct object *o, bool add)
{
	s->bytes += add ? o->size : -o->size;
	if (o->flags & OBJ_SOFT_PIN)
		s->soft_pinned += add ? 1 : -1u;
}

void shard_prefetch(const struct shard *s, uint64_t hash)
{
	const uint64_t *table = __atomic_load_n(&s->table, __ATOMIC_RELAXED);
	unsigned bits = __atomic_load_n(&s->bits, __ATOMIC_RELAXED);

	/* Table and bits may not belong together for a moment: then another line is fetched, nothing more. */
	__builtin_prefetch((const void *)((uintptr_t)table + (hash << s->shard_bits >> (64 - bits)) * sizeof(*table)));
}

void shard_prefetch_object(const struct shard *s, uint64_t hash)
{
	if (unlikely(!s->table))
		return;
	for (uint64_t i = home(s, hash); s->table[i]; i = next_place(s, i))
		if (s->table[i] >> 48 == (hash & 0xffff)) {
			/* Head with hash and lease, and the line that ends with the key. */
			__builtin_prefetch(entry_object(s->table[i]), 1);
			__builtin_prefetch((const char *)entry_object(s->table[i]) + 64);
			return;
		}
}

/* ---- walking ---- */

/* The lowest hash from @from to @last among the objects that may have their home at @h; false: none. */
static bool lowest(const struct shard *s, uint64_t h, uint64_t from, uint64_t last, uint64_t *out)
{
	bool any = false;

	for (uint64_t i = h; s->table[i]; i = next_place(s, i)) {
		uint64_t hash = entry_object(s->table[i])->hash;

		if (hash < from || hash > last || (any && hash >= *out))
			continue;
		*out = hash;
		any = true;
	}
	return any;
}

static bool show_hash(const struct shard *s, uint64_t h, uint64_t hash, bool (*fn)(void *arg, struct object *o), void *arg)
{
	for (uint64_t i = h; s->table[i]; i = next_place(s, i)) {
		struct object *o = entry_object(s->table[i]);

		if (o->hash == hash && !fn(arg, o))
			return false;
	}
	return true;
}

uint64_t shard_walk(const struct shard *s, uint64_t cursor, unsigned *steps, bool *more, bool (*fn)(void *arg, struct object *o),
		    void *arg)
{
	unsigned shift = 64 - s->shard_bits;
	uint64_t shard_last = cursor | (((uint64_t)1 << shift) - 1), width = (uint64_t)1 << (shift - s->bits);

	if (!s->table || !s->count) {
		(*steps)--;
		return shard_last + 1;
	}
	for (; *steps; (*steps)--) {
		uint64_t last = cursor | (width - 1), h = home(s, cursor), hash = 0;

		while (lowest(s, h, cursor, last, &hash)) {
			if (!show_hash(s, h, hash, fn, arg)) {
				*more = false;
				return hash;
			}
			if (hash == last)
				break;
			cursor = hash + 1;
		}
		cursor = last + 1;
		if (last == shard_last) {
			(*steps)--;
			return cursor;
		}
	}
	return cursor;
}

/* ---- graves ---- */

struct graves {
	unsigned nr, next;
	uint64_t name[GRAVES_MAX]; /* hash of the key ^ put_id */
};

bool shard_buried(const struct shard *s, uint64_t hash, uint64_t put_id)
{
	const struct graves *g = s->graves;

	for (unsigned i = 0; g && i < g->nr; i++)
		if (g->name[i] == (hash ^ put_id))
			return true;
	return false;
}

void shard_bury(struct shard *s, uint64_t hash, uint64_t put_id)
{
	struct graves *g = s->graves;

	if (shard_buried(s, hash, put_id))
		return;
	if (!g) {
		g = s->graves = calloc(1, sizeof(*g));
		if (!g) {
			log_err_limited("no memory to remember what was removed: a pool that is away may bring it back");
			return;
		}
	}
	g->name[g->next] = hash ^ put_id;
	g->next = (g->next + 1) % GRAVES_MAX;
	g->nr = MIN(g->nr + 1, (unsigned)GRAVES_MAX);
}
