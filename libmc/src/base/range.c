// SPDX-License-Identifier: Apache-2.0
/*
 * The range allocator. Books are kept of free runs only, in units: a node each, found by its start through a hash and by
 * any place in it through a set of starts; and in bins by length, 64 to a doubling. Runs are cut at their end, which
 * leaves start, hash and set as they are.
 */
#include "base/range.h"

#include "base/bits.h"
#include "base/log.h"

#define NIL	 UINT32_MAX
#define SUB_BITS 6
#define SUBS	 (1u << SUB_BITS)
#define TOPS	 (64 - SUB_BITS + 1)

/* Nodes of a bin that are looked at before we are content with a larger bin, or give up. */
#define LOOK_MAX 16

struct run {
	uint64_t start, len;
	uint32_t prev, next; /* in its bin, or the list of unused nodes */
};

struct range_alloc {
	uint64_t unit, units, free_units;
	int unit_shift;

	struct run *runs;
	uint32_t nr_runs, cap_runs, unused; /* nr_runs: nodes ever used; unused: those given back */

	uint32_t *hash; /* of starts; linear probing; at most half full */
	uint32_t hash_mask, hash_count;

	struct bits starts;

	uint64_t tops; /* which tops have a bin that is not empty */
	uint64_t subs[TOPS];
	uint32_t bins[TOPS][SUBS];
};

/* ---- nodes ---- */

/* Room for one more node and its place in the hash. */
static int reserve_node(struct range_alloc *a)
{
	uint32_t cap = a->cap_runs ? a->cap_runs * 2 : 64;
	struct run *runs;

	if (a->unused != NIL || a->nr_runs < a->cap_runs)
		return 0;
	if (cap > NIL / 2)
		return -ENOMEM;
	runs = realloc(a->runs, cap * sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	a->runs = runs;
	a->cap_runs = cap;
	return 0;
}

static uint32_t node_new(struct range_alloc *a)
{
	uint32_t i = a->unused;

	if (i == NIL)
		return a->nr_runs++;
	a->unused = a->runs[i].next;
	return i;
}

static void node_free(struct range_alloc *a, uint32_t i)
{
	a->runs[i].next = a->unused;
	a->unused = i;
}

/* ---- by start ---- */

static uint32_t hash_at(const struct range_alloc *a, uint64_t start)
{
	return (uint32_t)((start * 0x9e3779b97f4a7c15u) >> 32) & a->hash_mask;
}

static void hash_insert(struct range_alloc *a, uint32_t node)
{
	uint32_t at = hash_at(a, a->runs[node].start);

	while (a->hash[at] != NIL)
		at = (at + 1) & a->hash_mask;
	a->hash[at] = node;
}

static int reserve_hash(struct range_alloc *a)
{
	uint32_t *old = a->hash, old_size = old ? a->hash_mask + 1 : 0;
	uint32_t size = old ? 2 * old_size : 128;

	if (old && a->hash_count < old_size / 2)
		return 0;
	a->hash = malloc(size * sizeof(*a->hash));
	if (!a->hash) {
		a->hash = old;
		return -ENOMEM;
	}
	memset(a->hash, 0xff, size * sizeof(*a->hash));
	a->hash_mask = size - 1;
	for (uint32_t i = 0; i < old_size; i++)
		if (old[i] != NIL)
			hash_insert(a, old[i]);
	free(old);
	return 0;
}

static uint32_t hash_place(const struct range_alloc *a, uint64_t start)
{
	uint32_t at = hash_at(a, start);

	while (a->runs[a->hash[at]].start != start)
		at = (at + 1) & a->hash_mask;
	return at;
}

/* @start is in a->starts, so it is found. */
static uint32_t by_start(const struct range_alloc *a, uint64_t start)
{
	return a->hash[hash_place(a, start)];
}

static void hash_remove(struct range_alloc *a, uint64_t start)
{
	uint32_t hole = hash_place(a, start), at = hole;

	/* Pull back what probing would no longer reach across the hole. */
	for (;;) {
		uint32_t home;

		at = (at + 1) & a->hash_mask;
		if (a->hash[at] == NIL)
			break;
		home = hash_at(a, a->runs[a->hash[at]].start);
		if (((at - home) & a->hash_mask) < ((at - hole) & a->hash_mask))
			continue;
		a->hash[hole] = a->hash[at];
		hole = at;
	}
	a->hash[hole] = NIL;
}

/* ---- by length ---- */

struct bin {
	unsigned top, sub;
};

/* The bin that @len lies in: exact below 64, then 64 to a doubling. */
static struct bin bin_of(uint64_t len)
{
	unsigned log2;

	if (len < SUBS)
		return (struct bin){ 0, (unsigned)len };
	log2 = 63 - (unsigned)__builtin_clzll(len);
	return (struct bin){ log2 - SUB_BITS + 1,
			     (unsigned)(len >> (log2 - SUB_BITS)) & (SUBS - 1) };
}

static void bin_add(struct range_alloc *a, uint32_t node)
{
	struct bin b = bin_of(a->runs[node].len);
	uint32_t *head = &a->bins[b.top][b.sub];

	a->runs[node].prev = NIL;
	a->runs[node].next = *head;
	if (*head != NIL)
		a->runs[*head].prev = node;
	*head = node;
	a->subs[b.top] |= (uint64_t)1 << b.sub;
	a->tops |= (uint64_t)1 << b.top;
}

static void bin_del(struct range_alloc *a, uint32_t node)
{
	struct run *r = &a->runs[node];
	struct bin b = bin_of(r->len);

	if (r->next != NIL)
		a->runs[r->next].prev = r->prev;
	if (r->prev != NIL) {
		a->runs[r->prev].next = r->next;
		return;
	}
	a->bins[b.top][b.sub] = r->next;
	if (r->next != NIL)
		return;
	a->subs[b.top] &= ~((uint64_t)1 << b.sub);
	if (!a->subs[b.top])
		a->tops &= ~((uint64_t)1 << b.top);
}

/* The first node of the smallest bin above @b; every run in there is longer than any in @b. */
static uint32_t bin_above(const struct range_alloc *a, struct bin b)
{
	uint64_t subs = b.sub == SUBS - 1 ? 0 : a->subs[b.top] & (UINT64_MAX << (b.sub + 1));
	uint64_t tops;

	if (!subs) {
		tops = a->tops & (UINT64_MAX << (b.top + 1));
		if (!tops)
			return NIL;
		b.top = (unsigned)__builtin_ctzll(tops);
		subs = a->subs[b.top];
	}
	return a->bins[b.top][__builtin_ctzll(subs)];
}

static uint32_t longest(const struct range_alloc *a)
{
	uint32_t best = NIL;
	unsigned top;
	int look = 0;

	if (!a->tops)
		return NIL;
	top = 63 - (unsigned)__builtin_clzll(a->tops);
	for (uint32_t i = a->bins[top][63 - __builtin_clzll(a->subs[top])];
	     i != NIL && look++ < LOOK_MAX; i = a->runs[i].next)
		if (best == NIL || a->runs[i].len > a->runs[best].len)
			best = i;
	return best;
}

/* A run of @len or more, tight when that costs little. */
static uint32_t find(const struct range_alloc *a, uint64_t len)
{
	struct bin b = bin_of(len);
	uint32_t best = NIL;
	int look = 0;

	for (uint32_t i = a->bins[b.top][b.sub]; i != NIL && look++ < LOOK_MAX;
	     i = a->runs[i].next) {
		if (a->runs[i].len == len)
			return i;
		if (a->runs[i].len > len && (best == NIL || a->runs[i].len < a->runs[best].len))
			best = i;
	}
	return best != NIL ? best : bin_above(a, b);
}

/* ---- free runs ---- */

static int reserve(struct range_alloc *a)
{
	int ret = reserve_node(a);

	return ret ? ret : reserve_hash(a);
}

/* After reserve(). */
static void run_add(struct range_alloc *a, uint64_t start, uint64_t len)
{
	uint32_t node = node_new(a);

	a->runs[node].start = start;
	a->runs[node].len = len;
	hash_insert(a, node);
	a->hash_count++;
	bits_set(&a->starts, start);
	bin_add(a, node);
}

static void run_del(struct range_alloc *a, uint32_t node)
{
	uint64_t start = a->runs[node].start;

	bin_del(a, node);
	bits_clear(&a->starts, start);
	hash_remove(a, start);
	a->hash_count--;
	node_free(a, node);
}

static void run_resize(struct range_alloc *a, uint32_t node, uint64_t len)
{
	if (!len) {
		run_del(a, node);
		return;
	}
	bin_del(a, node);
	a->runs[node].len = len;
	bin_add(a, node);
}

/* The free run that starts at or before @at, or NIL. */
static uint32_t run_before(const struct range_alloc *a, uint64_t at)
{
	uint64_t start = bits_at_or_before(&a->starts, at);

	return start == BITS_NONE ? NIL : by_start(a, start);
}

static uint64_t cut(struct range_alloc *a, uint32_t node, uint64_t len)
{
	uint64_t rest = a->runs[node].len - len, at = a->runs[node].start + rest;

	run_resize(a, node, rest);
	a->free_units -= len;
	return at;
}

/* ---- interface ---- */

int range_alloc_open(uint64_t size, uint64_t unit, struct range_alloc **out)
{
	struct range_alloc *a;
	int ret;

	if (!is_pow2(unit) || size < unit || size % unit)
		return -EINVAL;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->unit = unit;
	a->unit_shift = __builtin_ctzll(unit);
	a->units = size >> a->unit_shift;
	a->unused = NIL;
	memset(a->bins, 0xff, sizeof(a->bins));
	ret = bits_init(&a->starts, a->units);
	if (!ret)
		ret = reserve(a);
	if (ret) {
		range_alloc_close(a);
		return ret;
	}
	run_add(a, 0, a->units);
	a->free_units = a->units;
	*out = a;
	return 0;
}

void range_alloc_close(struct range_alloc *a)
{
	if (!a)
		return;
	bits_fini(&a->starts);
	free(a->hash);
	free(a->runs);
	free(a);
}

int range_get(struct range_alloc *a, uint64_t len, uint64_t *off)
{
	uint32_t node;

	if (!len || len % a->unit)
		return -EINVAL;
	len >>= a->unit_shift;
	node = find(a, len);
	if (node == NIL)
		return -ENOSPC;
	*off = cut(a, node, len) << a->unit_shift;
	return 0;
}

uint64_t range_get_some(struct range_alloc *a, uint64_t want, uint64_t least, uint64_t *off)
{
	uint32_t node;
	uint64_t len;

	if (!want || want % a->unit || least > want)
		return 0;
	if (!range_get(a, want, off))
		return want;
	node = longest(a);
	if (node == NIL)
		return 0;
	len = MIN(a->runs[node].len << a->unit_shift, want);
	if (len < least)
		return 0;
	*off = cut(a, node, len >> a->unit_shift) << a->unit_shift;
	return len;
}

int range_take(struct range_alloc *a, uint64_t off, uint64_t len)
{
	uint64_t at = off >> a->unit_shift, nr = len >> a->unit_shift, head, tail;
	uint32_t node;

	if (!len || (off | len) % a->unit || !range_inside(at, nr, a->units))
		return -EINVAL;
	node = run_before(a, at);
	if (node == NIL || !range_inside(at - a->runs[node].start, nr, a->runs[node].len))
		return -EBUSY;
	if (reserve(a))
		return -ENOMEM;
	head = at - a->runs[node].start;
	tail = a->runs[node].len - head - nr;
	run_resize(a, node, head);
	if (tail)
		run_add(a, at + nr, tail);
	a->free_units -= nr;
	return 0;
}

void range_put(struct range_alloc *a, uint64_t off, uint64_t len)
{
	uint64_t at = off >> a->unit_shift, nr = len >> a->unit_shift, start, end = at + nr;
	uint32_t before, after;

	if (!len)
		return;
	if ((off | len) % a->unit || !range_inside(at, nr, a->units))
		abort();
	before = run_before(a, end - 1); /* the last run that could touch [at, end) */
	if (before != NIL &&
	    (a->runs[before].start >= at || a->runs[before].start + a->runs[before].len > at))
		abort(); /* free already */
	after = bits_has(&a->starts, end) ? by_start(a, end) : NIL;
	a->free_units += nr;
	if (after != NIL) {
		nr += a->runs[after].len;
		run_del(a, after);
	}
	start = before == NIL ? BITS_NONE : a->runs[before].start;
	if (start != BITS_NONE && start + a->runs[before].len == at) {
		run_resize(a, before, a->runs[before].len + nr);
	} else if (!reserve(a)) {
		run_add(a, at, nr);
	} else {
		/* Unreachable books are worse than bytes that nobody gets: keep them as given out. */
		a->free_units -= nr;
		log_err("no memory to note a free range of %llu units; they are lost until restart",
			(unsigned long long)nr);
	}
}

uint64_t range_free_bytes(const struct range_alloc *a)
{
	return a->free_units << a->unit_shift;
}

uint64_t range_longest(const struct range_alloc *a)
{
	uint32_t node = longest(a);

	return node == NIL ? 0 : a->runs[node].len << a->unit_shift;
}
