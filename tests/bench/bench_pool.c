// SPDX-License-Identifier: Apache-2.0
/*
 * Layer pool: look-ups and reads beside memcpy, the owner's calls, and what a pool of a million
 * objects costs.
 */
#include "bench.h"
#include "pool_rig.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/copy.h"
#include "base/ring.h"

static uint64_t rnd_state = 1;

static uint64_t rnd(void)
{
	rnd_state = rnd_state * 6364136223846793005u + 1442695040888963407u;
	return rnd_state >> 33;
}

static void *memory(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	madvise(p, len, MADV_HUGEPAGE);
	memset(p, 1, len);
	return p;
}

static struct pool *pool_of(uint64_t bytes, uint64_t entries, unsigned flags)
{
	struct pool_opts o = {
		.name = "bench", .bytes = bytes, .entries = entries, .region_flags = flags
	};
	struct pool *p;

	if (pool_create(&o, &p))
		exit(1);
	return p;
}

static double ms_since(double start)
{
	return (bench_now() - start) * 1e3;
}

/* ---- reading: @nr objects of one size, in random order ---- */

struct gets {
	const struct pool_view *v;
	struct rig_key *keys;
	struct found *found;
	uint64_t nr, size;
	uint8_t *out;
	uint8_t *plain; /* as much ordinary memory, for memcpy */
};

static void do_get(void *arg, uint64_t n)
{
	struct gets *g = arg;
	struct found f;

	for (; n; n--) {
		const struct key *k = &g->keys[rnd() % g->nr].key;

		if (view_lookup(g->v, k->data, k->len, &f) ||
		    view_read(g->v, &f.loc, f.size, 0, g->out, f.size))
			abort();
		view_touch(g->v, &f);
	}
}

static void do_lookup(void *arg, uint64_t n)
{
	struct gets *g = arg;
	struct found f;

	for (; n; n--) {
		const struct key *k = &g->keys[rnd() % g->nr].key;

		if (view_lookup(g->v, k->data, k->len, &f))
			abort();
	}
}

static void do_miss(void *arg, uint64_t n)
{
	struct gets *g = arg;
	struct rig_key k = { 0 };
	struct found f;

	rig_key(&k, 1);
	for (; n; n--) {
		uint64_t x = rnd();

		memcpy(k.text + 1, &x, sizeof(x));
		if (view_lookup(g->v, k.text, 24, &f) != -ENOENT)
			abort();
	}
}

static void do_read(void *arg, uint64_t n)
{
	struct gets *g = arg;

	for (; n; n--) {
		const struct found *f = &g->found[rnd() % g->nr];

		if (view_read(g->v, &f->loc, f->size, 0, g->out, f->size))
			abort();
	}
}

static void do_memcpy(void *arg, uint64_t n)
{
	struct gets *g = arg;

	for (; n; n--) {
		memcpy(g->out, g->plain + rnd() % g->nr * g->size, g->size);
		bench_use(g->out);
	}
}

static void do_hash(void *arg, uint64_t n)
{
	struct gets *g = arg;
	uint64_t h[2];

	for (; n; n--) {
		const struct key *k = &g->keys[rnd() % g->nr].key;

		siphash128(&g->v->hash_key, k->data, k->len, h);
		bench_use(h);
	}
}

static void reads(uint64_t size, const char *label, uint64_t nr)
{
	struct pool *p;
	struct gets g = { .nr = nr, .size = size };
	char name[64];

	snprintf(name, sizeof(name), "pool read %s", label);
	if (!bench_wanted("pool read"))
		return;
	p = pool_of(nr * extent_bytes(size, 32) + 16 * MiB, 0, REGION_POPULATE | REGION_HUGE);
	g.v = pool_view(p);
	g.keys = calloc(nr, sizeof(*g.keys));
	g.found = calloc(nr, sizeof(*g.found));
	g.out = memory(size);
	g.plain = memory(nr * size);
	for (uint64_t i = 0; i < nr; i++) {
		struct key *k = rig_key(&g.keys[i], i);

		if (rig_put(p, k, g.plain + i * size, size, 0) ||
		    view_lookup(g.v, k->data, k->len, &g.found[i]))
			abort();
	}
	bench_case(name, size >= MiB ? size : 0, do_read, &g, "memcpy", do_memcpy, &g);
	if (size < MiB) {
		snprintf(name, sizeof(name), "pool read with lookup and touch %s", label);
		bench_case(name, 0, do_get, &g, "memcpy", do_memcpy, &g);
	}
	pool_close(p);
	munmap(g.plain, nr * size);
	munmap(g.out, size);
	free(g.keys);
	free(g.found);
}

/* ---- a pool of a million objects ---- */

#define MILLION 1000000u

struct client {
	struct pool *p;
	struct rig_client c;
	uint64_t next;
	uint8_t data[4096];
};

/* As a client in another process, and the owner's part of the commit. */
static void put_one(struct client *c, uint64_t nr, uint64_t size)
{
	struct iovec iov = { c->data, size };
	struct publish_item it;
	struct staged *s;
	struct extents x;
	struct rig_key k;

	rig_key(&k, nr);
	while (!c->c.gens || extents_carve(c->c.runs, 1, size, k.key.len, c->c.gen, &x))
		if (rig_grant(c->p, &c->c, MiB))
			abort();
	c->c.gen += 2;
	c->c.gens--;
	x.put_id = x.gen;
	extents_fill(pool_view(c->p), &x, &k.key, 0, &iov, 1);
	it = rig_item(&x, &k.key, 0);
	if (pool_stage(c->p, &c->c.holder, &it, &s))
		abort();
	pool_publish(c->p, s);
}

static void do_put(void *arg, uint64_t n)
{
	struct client *c = arg;

	for (; n; n--)
		put_one(c, c->next++, 4096);
}

static void fill(struct client *c, uint64_t nr, uint64_t size)
{
	memset(c, 0, sizeof(*c));
	c->p = pool_of(nr * extent_bytes(size, 16) + 64 * MiB, nr, 0);
	for (uint64_t i = 0; i < nr; i++)
		put_one(c, i, size);
	rig_client_fini(c->p, &c->c);
	c->next = nr;
}

static void million_lookups(struct pool *p)
{
	struct gets g = { .v = pool_view(p), .nr = MILLION };

	g.keys = calloc(MILLION, sizeof(*g.keys));
	for (unsigned i = 0; i < MILLION; i++)
		rig_key(&g.keys[i], i);
	bench_case("pool million lookup", 0, do_lookup, &g, "hash alone", do_hash, &g);
	bench_case("pool million miss", 0, do_miss, &g, "hash alone", do_hash, &g);
	free(g.keys);
}

static void walk(struct pool *p)
{
	struct publish_item *items = malloc(4096 * sizeof(*items));
	uint64_t cursor = 0, nr = 0, bytes = 0;
	double start = bench_now();

	do {
		uint32_t got = pool_walk(p, &cursor, 4096, items);

		for (uint32_t i = 0; i < got; i++)
			bytes += items[i].key.len;
		nr += got;
	} while (cursor);
	bench_use(&bytes);
	bench_row("pool million walk", ms_since(start), "ms", "allowed", 1000);
	if (nr != MILLION)
		abort();
	free(items);
}

static void adopt(struct pool *p)
{
	int dir = dup(pool_view(p)->dir_region.fd), region = dup(pool_view(p)->region[0].fd);
	uint64_t kept, lost;
	struct pool *q;
	double start = bench_now();

	if (pool_adopt(dir, &region, 1, NULL, &q, &kept, &lost) || kept != MILLION)
		abort();
	bench_row("pool million adopt", ms_since(start), "ms", "allowed", 2000);
	pool_close(q);
}

static void million(void)
{
	struct client c;
	double start;

	if (!bench_wanted("pool million"))
		return;
	fill(&c, MILLION, 100);
	million_lookups(c.p);
	walk(c.p);
	adopt(c.p);
	start = bench_now();
	if (pool_drop_prefix(c.p, NULL, 0, true, 0, 0) != MILLION)
		abort();
	bench_row("pool million drop all", ms_since(start), "ms", "allowed", 250);
	pool_close(c.p);
	fill(&c, MILLION, 100);
	start = bench_now();
	if (pool_drop_prefix(c.p, "\0key-", 5, true, 0, 0) != MILLION)
		abort();
	bench_row("pool million drop prefix", ms_since(start), "ms", "allowed", 250);
	pool_close(c.p);
}

static void puts_4k(void)
{
	struct gets g = { .nr = 16384, .size = 4096 };
	struct client c;

	if (!bench_wanted("pool put"))
		return;
	fill(&c, 16384, 4096);
	g.out = memory(4096);
	g.plain = memory(64 * MiB);
	/* The pool is full: each put evicts one. */
	bench_case("pool put 4K, evicting", 0, do_put, &c, "memcpy", do_memcpy, &g);
	rig_client_fini(c.p, &c.c);
	pool_close(c.p);
}

int main(int argc, char **argv)
{
	bench_init(argc, argv);
	reads(4096, "4K, warm", 64);
	reads(4096, "4K", 16384);
	reads(65536, "64K", 1024);
	reads(MiB, "1M", 256);
	reads(16 * MiB, "16M", 16);
	puts_4k();
	million();
	return 0;
}
