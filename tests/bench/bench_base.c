// SPDX-License-Identifier: Apache-2.0
/* Layer base: allocator, ring, hashes, checksum, copies, table, loop; each beside what the machine gives without us. */
#include "bench.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/copy.h"
#include "base/hash.h"
#include "base/htab.h"
#include "base/loop.h"
#include "base/range.h"
#include "base/ring.h"

static uint64_t rnd_state = 1;

static uint64_t rnd(void)
{
	rnd_state = rnd_state * 6364136223846793005u + 1442695040888963407u;
	return rnd_state >> 33;
}

/* ---- copies: cold ones walk more memory than the cache holds ---- */

struct copy {
	uint8_t *src, *dst;
	size_t len, span, at;
};

#define DEFINE_COPY(name, call)                                                 \
	static void name(void *arg, uint64_t n)                                 \
	{                                                                       \
		struct copy *c = arg;                                           \
                                                                                \
		for (; n; n--) {                                                \
			c->at = c->at + c->len >= c->span ? 0 : c->at + c->len; \
			call(c->dst + c->at, c->src + c->at, c->len);           \
		}                                                               \
	}

static uint32_t sum;

#define WITH_CRC(d, s, l)  (sum = copy_crc32c(d, s, l, 0))
#define CRC_AFTER(d, s, l) (memcpy(d, s, l), sum = crc32c(0, d, l))

DEFINE_COPY(run_memcpy, memcpy)
DEFINE_COPY(run_copy, copy_bytes)
DEFINE_COPY(run_racy, copy_racy)
DEFINE_COPY(run_copy_crc, WITH_CRC)
DEFINE_COPY(run_crc_after, CRC_AFTER)

static void *map(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		exit(1);
	memset(p, 1, len);
	return p;
}

static void copies(void)
{
	static const struct {
		const char *name;
		size_t len;
	} sizes[] = { { "4k", 4096 }, { "64k", 65536 }, { "1m", 1 << 20 }, { "16m", 16 << 20 } };
	struct copy c = { .span = 256 << 20 }, hot = { .len = 65536, .span = 65536 };
	char name[64];

	if (!bench_wanted("copy"))
		return;
	c.src = hot.src = map(c.span);
	c.dst = hot.dst = map(c.span);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		c.len = sizes[i].len;
		c.at = 0;
		snprintf(name, sizeof(name), "copy_bytes/cold/%s", sizes[i].name);
		bench_case(name, c.len, run_copy, &c, "memcpy", run_memcpy, &c);
		snprintf(name, sizeof(name), "copy_racy/cold/%s", sizes[i].name);
		bench_case(name, c.len, run_racy, &c, "memcpy", run_memcpy, &c);
		snprintf(name, sizeof(name), "copy_crc32c/cold/%s", sizes[i].name);
		bench_case(name, c.len, run_copy_crc, &c, "memcpy", run_memcpy, &c);
	}
	bench_case("copy_bytes/hot/64k", hot.len, run_copy, &hot, "memcpy", run_memcpy, &hot);
	bench_case("copy_crc32c/hot/64k", hot.len, run_copy_crc, &hot, "memcpy", run_memcpy, &hot);
	bench_case("copy_crc32c/cold/in_two_passes/16m", c.len, run_crc_after, &c, "memcpy",
		   run_memcpy, &c);
	munmap(c.src, c.span);
	munmap(c.dst, c.span);
}

/* ---- checksums and hashes ---- */

struct bytes {
	uint8_t *p;
	size_t len;
};

static void run_crc(void *arg, uint64_t n)
{
	struct bytes *b = arg;

	for (; n; n--)
		sum = crc32c(sum, b->p, b->len);
}

/* What reading costs: the C library's search for a byte that is not there. */
static void run_read(void *arg, uint64_t n)
{
	struct bytes *b = arg;

	for (; n; n--)
		bench_use(memchr(b->p, 0xff, b->len));
}

static const struct hash_key key = { { 1, 2 } };
static uint64_t hash;

static void run_siphash(void *arg, uint64_t n)
{
	struct bytes *b = arg;

	for (; n; n--)
		hash ^= siphash64(&key, b->p, b->len);
}

static void run_siphash128(void *arg, uint64_t n)
{
	struct bytes *b = arg;
	uint64_t out[2];

	for (; n; n--) {
		siphash128(&key, b->p, b->len, out);
		hash ^= out[0];
	}
}

/* An unkeyed hash, byte by byte (FNV-1a). */
static void run_fnv(void *arg, uint64_t n)
{
	struct bytes *b = arg;

	for (; n; n--) {
		uint64_t h = 0xcbf29ce484222325u;

		for (size_t i = 0; i < b->len; i++)
			h = (h ^ b->p[i]) * 0x100000001b3u;
		hash ^= h;
		bench_use(b->p);
	}
}

static void run_join(void *arg, uint64_t n)
{
	for (; n; n--)
		sum = crc32c_join(sum, (uint32_t)n, 65536 + n);
}

static void hashes(void)
{
	struct bytes b = { .p = map(1 << 20) };

	b.len = 64;
	bench_case("crc32c/64", 64, run_crc, &b, "memchr", run_read, &b);
	b.len = 4096;
	bench_case("crc32c/4k", 4096, run_crc, &b, "memchr", run_read, &b);
	b.len = 1 << 20;
	bench_case("crc32c/1m", 1 << 20, run_crc, &b, "memchr", run_read, &b);
	bench_case("crc32c_join", 0, run_join, NULL, NULL, NULL, NULL);
	b.len = 24;
	bench_case("siphash64/24", 0, run_siphash, &b, "fnv1a", run_fnv, &b);
	bench_case("siphash128/24", 0, run_siphash128, &b, "fnv1a", run_fnv, &b);
	munmap(b.p, 1 << 20);
}

/* ---- allocator: a pool that is full and changes one object at a time ---- */

#define OBJECTS 200000

struct churn {
	struct range_alloc *a;
	struct range held[OBJECTS];
	void *mem[OBJECTS];
	uint64_t failed;
};

/* Blocks of a few sizes, as caches hold them. */
static uint64_t object_bytes(void)
{
	static const uint64_t sizes[] = { 4160, 4160, 8256, 16448 };

	return sizes[rnd() % ARRAY_SIZE(sizes)];
}

static void run_churn(void *arg, uint64_t n)
{
	struct churn *c = arg;

	for (; n; n--) {
		struct range *r = &c->held[rnd() % OBJECTS];

		if (r->len)
			range_put(c->a, r->off, r->len);
		r->len = object_bytes();
		if (range_get(c->a, r->len, &r->off)) {
			r->len = 0;
			c->failed++;
		}
	}
}

static void run_malloc(void *arg, uint64_t n)
{
	struct churn *c = arg;

	for (; n; n--) {
		void **p = &c->mem[rnd() % OBJECTS];

		free(*p);
		*p = malloc(object_bytes());
	}
}

static void allocator(void)
{
	struct churn *c;

	if (!bench_wanted("range"))
		return;
	c = calloc(1, sizeof(*c));
	if (range_alloc_open((uint64_t)OBJECTS * 8256 / 64 * 64, 64, &c->a))
		exit(1);
	run_churn(c, 4 * OBJECTS);
	run_malloc(c, 4 * OBJECTS);
	bench_case("range_put+get/full", 0, run_churn, c, "free+malloc", run_malloc, c);
	for (size_t i = 0; i < OBJECTS; i++)
		free(c->mem[i]);
	range_alloc_close(c->a);
	free(c);
}

/* ---- ring ---- */

#define PLACES 4096u

struct rings {
	struct lossy_ring *r;
	uint64_t tail;
	_Atomic uint64_t counter;
};

static void run_push(void *arg, uint64_t n)
{
	struct rings *s = arg;

	for (; n; n--)
		lossy_ring_push(s->r, PLACES - 1, n);
}

static void run_push_drain(void *arg, uint64_t n)
{
	struct rings *s = arg;
	uint64_t out[64];

	for (uint64_t i = 0; i < n; i++) {
		lossy_ring_push(s->r, PLACES - 1, i + 1);
		if (i % 64 == 63)
			lossy_ring_drain(s->r, PLACES - 1, &s->tail, out, 64);
	}
}

static void run_fetch_add(void *arg, uint64_t n)
{
	struct rings *s = arg;

	for (; n; n--)
		atomic_fetch_add_explicit(&s->counter, 1, memory_order_relaxed);
}

static void rings(void)
{
	struct rings s = { .r = aligned_alloc(64, LOSSY_RING_BYTES(PLACES)) };

	lossy_ring_init(s.r, PLACES);
	bench_case("lossy_ring_push", 0, run_push, &s, "atomic add", run_fetch_add, &s);
	bench_case("lossy_ring_push+drain", 0, run_push_drain, &s, "atomic add", run_fetch_add, &s);
	free(s.r);
}

/* ---- hash table: a million nodes, looked up at random ---- */

#define NODES ((size_t)1 << 20)

struct table {
	struct htab t;
	struct hnode *nodes;
	uint64_t *array;
};

static uint64_t spread(uint64_t i)
{
	return siphash64(&key, &i, sizeof(i));
}

static void run_find(void *arg, uint64_t n)
{
	struct table *t = arg;

	for (; n; n--)
		bench_use(htab_first(&t->t, spread(rnd() % NODES)));
}

/* Two dependent cache misses: the slot and the node. */
static void run_misses(void *arg, uint64_t n)
{
	struct table *t = arg;

	for (; n; n--)
		hash ^= t->array[t->array[spread(rnd()) % NODES]];
}

static void tables(void)
{
	struct table t = { .t = HTAB_INIT };

	if (!bench_wanted("htab"))
		return;
	t.nodes = calloc(NODES, sizeof(*t.nodes));
	t.array = calloc(NODES, sizeof(*t.array));
	for (size_t i = 0; i < NODES; i++) {
		htab_add(&t.t, &t.nodes[i], spread(i));
		t.array[i] = rnd() % NODES;
	}
	bench_case("htab_first/1m", 0, run_find, &t, "two cache misses", run_misses, &t);
	htab_fini(&t.t);
	free(t.nodes);
	free(t.array);
}

/* ---- loop: there and back to another thread ---- */

static int nothing(void *arg)
{
	return 0;
}

static void run_call(void *arg, uint64_t n)
{
	for (; n; n--)
		loop_call(arg, nothing, NULL);
}

struct pingpong {
	int to, from;
};

static void *pong(void *arg)
{
	struct pingpong *p = arg;
	uint64_t v;

	while (read(p->to, &v, sizeof(v)) == sizeof(v) && v < UINT32_MAX)
		if (write(p->from, &v, sizeof(v)) < 0)
			break;
	return NULL;
}

static void run_pingpong(void *arg, uint64_t n)
{
	struct pingpong *p = arg;
	uint64_t v = 1;

	for (; n; n--)
		if (write(p->to, &v, sizeof(v)) < 0 || read(p->from, &v, sizeof(v)) < 0)
			exit(1);
}

struct posts {
	struct loop *l;
	struct loop_work work[1024];
};

static void ignore(struct loop_work *w)
{
}

/* Many posts to one wake-up: what a busy loop costs its callers. */
static void run_posts(void *arg, uint64_t n)
{
	struct posts *p = arg;

	for (uint64_t i = 0; i < n; i++) {
		struct loop_work *w = &p->work[i % ARRAY_SIZE(p->work)];

		w->fn = ignore;
		loop_post(p->l, w);
		if (i % ARRAY_SIZE(p->work) == ARRAY_SIZE(p->work) - 1)
			loop_call(p->l, nothing, NULL);
	}
	loop_call(p->l, nothing, NULL);
}

static void loops(void)
{
	struct pingpong p = { .to = eventfd(0, 0), .from = eventfd(0, 0) };
	struct posts *posts = calloc(1, sizeof(*posts));
	const uint64_t end = UINT32_MAX;
	struct loop *l;
	pthread_t t;

	if (!bench_wanted("loop"))
		return;
	if (loop_open(&l) || loop_start(l, "bench"))
		exit(1);
	pthread_create(&t, NULL, pong, &p);
	bench_case("loop_call/round_trip", 0, run_call, l, "two eventfds", run_pingpong, &p);
	posts->l = l;
	bench_case("loop_post/1024_at_once", 0, run_posts, posts, NULL, NULL, NULL);
	if (write(p.to, &end, sizeof(end)) < 0)
		exit(1);
	pthread_join(t, NULL);
	loop_close(l);
	free(posts);
	close(p.to);
	close(p.from);
}

int main(int argc, char **argv)
{
	bench_init(argc, argv);
	copies();
	hashes();
	allocator();
	rings();
	tables();
	loops();
	return 0;
}
