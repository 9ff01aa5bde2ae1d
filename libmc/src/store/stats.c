/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store has done. Counters lie in stripes, and a thread counts in one of its own, once per call, so no thread waits for
 * another's cache line, nor for a locked instruction. Who comes when all are taken shares one with others. Times are rare enough
 * on the fast path to be shared by all.
 */
#include "store/store.h"

#define STRIPES 64 /* and one more */
#define WAYS (MC_PATH_TCP + 1)
#define REASONS (MC_MISS_CALL + 1)
#define SAMPLE 32 /* of the calls that take less than a microsecond, one in so many is timed */

struct way {
	_Atomic uint64_t objects, bytes;
};

struct stripe {
	struct way get[WAYS], put[WAYS];
	_Atomic uint64_t retries, puts, puts_failed, miss[REASONS];
} __attribute__((aligned(128)));

/* Times in buckets: eight for each power of two, up to TOP. */
#define SUB_BITS 3
#define SUBS (1u << SUB_BITS)
#define TOP_BIT 40u
#define BUCKETS ((TOP_BIT - SUB_BITS + 2) << SUB_BITS)

struct times {
	_Atomic uint64_t nr[BUCKETS];
};

struct stats {
	struct stripe stripe[STRIPES + 1];
	struct times get[WAYS], put[WAYS];
};

int stats_open(struct stats **out)
{
	struct stats *st = aligned_alloc(_Alignof(struct stats), sizeof(*st));

	if (!st)
		return -ENOMEM;
	memset(st, 0, sizeof(*st));
	*out = st;
	return 0;
}

void stats_close(struct stats *st)
{
	free(st);
}

/* ---- counting ------------------------------------------------------------------------------------------------------- */

static struct {
	pthread_mutex_t lock;
	uint64_t taken; /* stripes, one bit each */
	pthread_key_t key;
	bool key_made;
} owners = { .lock = PTHREAD_MUTEX_INITIALIZER };

static _Thread_local struct {
	unsigned stripe; /* from 1 on; 0: none yet */
	unsigned calls;
} here;

_Static_assert(STRIPES == 64, "one bit for each");

/* A thread ends: the next one takes its stripe. */
static void leave_stripe(void *stripe)
{
	here.stripe = 0;
	pthread_mutex_lock(&owners.lock);
	owners.taken &= ~(UINT64_C(1) << ((uintptr_t)stripe - 1));
	pthread_mutex_unlock(&owners.lock);
}

__attribute__((destructor)) static void forget_owners(void)
{
	if (owners.key_made)
		pthread_key_delete(owners.key);
}

static void take_stripe(void)
{
	unsigned at = STRIPES;

	pthread_mutex_lock(&owners.lock);
	if (!owners.key_made)
		owners.key_made = !pthread_key_create(&owners.key, leave_stripe);
	if (owners.key_made && ~owners.taken)
		at = (unsigned)__builtin_ctzll(~owners.taken);
	if (at < STRIPES && !pthread_setspecific(owners.key, (void *)(uintptr_t)(at + 1)))
		owners.taken |= UINT64_C(1) << at;
	else
		at = STRIPES;
	pthread_mutex_unlock(&owners.lock);
	here.stripe = at + 1;
}

static inline struct stripe *stripe_of(struct stats *st)
{
	if (unlikely(!here.stripe))
		take_stripe();
	return &st->stripe[here.stripe - 1];
}

static inline void add(_Atomic uint64_t *to, uint64_t n)
{
	if (!n)
		return;
	if (likely(here.stripe <= STRIPES)) /* nobody else writes here */
		atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + n, memory_order_relaxed);
	else
		atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

uint64_t stats_sample_ns(void)
{
	return here.calls++ % SAMPLE ? 0 : clock_now_ns();
}

static unsigned bucket_of(uint64_t ns)
{
	unsigned top;

	if (ns < SUBS)
		return (unsigned)ns;
	top = 63 - (unsigned)__builtin_clzll(ns);
	if (top > TOP_BIT)
		return BUCKETS - 1;
	return (top - SUB_BITS + 1) << SUB_BITS | ((unsigned)(ns >> (top - SUB_BITS)) & (SUBS - 1));
}

/* The longest time that is in it. */
static uint64_t bucket_ns(unsigned b)
{
	if (b < SUBS)
		return b;
	return ((uint64_t)(SUBS + (b & (SUBS - 1)) + 1) << ((b >> SUB_BITS) - 1)) - 1;
}

/* For the farthest way of the call. */
static void add_time(struct times *times, const struct tally_way *way, uint64_t ns)
{
	for (unsigned i = WAYS; i-- > 0;) {
		if (!way[i].objects)
			continue;
		atomic_fetch_add_explicit(&times[i].nr[bucket_of(ns)], 1, memory_order_relaxed);
		return;
	}
}

static void add_ways(struct way *to, const struct tally_way *from)
{
	for (unsigned i = 0; i < WAYS; i++) {
		add(&to[i].objects, from[i].objects);
		add(&to[i].bytes, from[i].bytes);
	}
}

void stats_got(struct mc_store *s, const struct tally *t, uint64_t start_ns)
{
	struct stripe *to = stripe_of(s->stats);

	add_ways(to->get, t->way);
	add(&to->retries, t->retries);
	for (unsigned i = 0; i < REASONS && t->missed; i++)
		add(&to->miss[i], t->miss[i]);
	if (start_ns)
		add_time(s->stats->get, t->way, clock_now_ns() - start_ns);
}

void stats_put(struct mc_store *s, const struct tally *t, uint64_t start_ns)
{
	struct stripe *to = stripe_of(s->stats);

	add_ways(to->put, t->way);
	add(&to->puts, t->puts);
	add(&to->puts_failed, t->missed);
	add_time(s->stats->put, t->way, clock_now_ns() - start_ns);
}

/* ---- reading -------------------------------------------------------------------------------------------------------- */

static uint64_t value(_Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

/* The time that @part of @of calls do not exceed. */
static uint64_t percentile(struct times *t, uint64_t calls, unsigned part, unsigned of)
{
	uint64_t seen = 0, want = (calls * part + of - 1) / of;

	for (unsigned i = 0; i < BUCKETS && want; i++) {
		seen += value(&t->nr[i]);
		if (seen >= want)
			return bucket_ns(i);
	}
	return 0;
}

static void read_times(struct times *t, struct mc_path_stats *out)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		out->timed += value(&t->nr[i]);
	out->p50_ns = percentile(t, out->timed, 1, 2);
	out->p99_ns = percentile(t, out->timed, 99, 100);
}

static void read_ways(struct way *from, struct mc_path_stats *out)
{
	for (unsigned i = 0; i < WAYS; i++) {
		out[i].objects += value(&from[i].objects);
		out[i].bytes += value(&from[i].bytes);
	}
}

static void read_stripe(struct stripe *from, struct mc_store_stats *out)
{
	read_ways(from->get, out->get);
	read_ways(from->put, out->put);
	out->retries += value(&from->retries);
	out->puts += value(&from->puts);
	out->puts_failed += value(&from->puts_failed);
	for (unsigned i = 0; i < REASONS; i++)
		out->miss[i] += value(&from->miss[i]);
}

int mc_store_stats(struct mc_store *s, struct mc_store_stats *out)
{
	struct mc_store_stats st = { .size = out->size };

	if (out->size < offsetof(struct mc_store_stats, hits))
		return -EINVAL;
	for (unsigned i = 0; i <= STRIPES; i++)
		read_stripe(&s->stats->stripe[i], &st);
	for (unsigned i = 0; i < WAYS; i++) {
		read_times(&s->stats->get[i], &st.get[i]);
		read_times(&s->stats->put[i], &st.put[i]);
		st.hits += st.get[i].objects;
	}
	for (unsigned i = 0; i < REASONS; i++)
		st.misses += st.miss[i];
	/* A caller of a newer library's header finds nothing in what this one does not count. */
	if (st.size > sizeof(st))
		memset((char *)out + sizeof(st), 0, st.size - sizeof(st));
	memcpy(out, &st, MIN(st.size, sizeof(st)));
	return 0;
}

const char *mc_path_name(unsigned path)
{
	static const char *const names[WAYS] = {
		[MC_PATH_MAPPED] = "mapped", [MC_PATH_LOCAL] = "local", [MC_PATH_TCP] = "tcp",
	};

	return path < WAYS ? names[path] : NULL;
}

const char *mc_miss_name(unsigned reason)
{
	static const char *const names[REASONS] = {
		[MC_MISS_ABSENT] = "absent", [MC_MISS_GONE] = "gone",	    [MC_MISS_MASTER] = "master", [MC_MISS_NODE] = "node",
		[MC_MISS_TIMEOUT] = "timeout", [MC_MISS_CORRUPT] = "corrupt", [MC_MISS_CALL] = "call",
	};

	return reason < REASONS ? names[reason] : NULL;
}
