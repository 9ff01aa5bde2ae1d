// SPDX-License-Identifier: Apache-2.0
/*
 * Eviction policies on real traces, without sockets or pools. A request looks up the longest
 * stored prefix of its blocks, touches those, and writes the rest; blocks are of one size. Traces
 * are JSON lines with "hash_ids", named in BENCH_TRACES (colons between); the public ones are in
 * the artefact of "Mooncake" (FAST '25). REPLAY_ORDER: two letters, order of touching and of
 * inserting a request's blocks, (f)orward or (r)everse; default rr, as the store does.
 */
#include "bench.h"

#include "base/base.h"
#include "pool/evict.h"

#define NONE UINT32_MAX

struct trace {
	uint32_t *ids;	 /* all requests, one after the other */
	uint64_t *start; /* of each request, and the end */
	uint64_t nr_ids, nr_requests, unique;
	uint32_t max_id;
};

static void *grown(void *p, uint64_t nr, size_t size)
{
	if (nr & (nr - 1)) /* at each power of two, room for as much again */
		return p;
	p = realloc(p, (nr ? 2 * nr : 1) * size);
	if (!p)
		abort();
	return p;
}

static void count_unique(struct trace *t)
{
	uint8_t *seen;

	for (uint64_t i = 0; i < t->nr_ids; i++)
		t->max_id = MAX(t->max_id, t->ids[i]);
	seen = calloc((size_t)t->max_id + 1, 1);
	if (!seen)
		abort();
	for (uint64_t i = 0; i < t->nr_ids; i++) {
		t->unique += !seen[t->ids[i]];
		seen[t->ids[i]] = 1;
	}
	free(seen);
}

static bool trace_read(const char *path, struct trace *t)
{
	FILE *f = fopen(path, "re");
	char *line = NULL, *p;
	size_t cap = 0;

	*t = (struct trace){ 0 };
	if (!f) {
		perror(path);
		return false;
	}
	while (getline(&line, &cap, f) > 0) {
		p = strstr(line, "\"hash_ids\"");
		p = p ? strchr(p, '[') : NULL;
		if (!p)
			continue;
		t->start = grown(t->start, t->nr_requests, sizeof(*t->start));
		t->start[t->nr_requests++] = t->nr_ids;
		while (*p == '[' || *p == ',') {
			char *end;
			unsigned long id = strtoul(p + 1, &end, 10);

			if (end == p + 1 || id >= NONE)
				break;
			t->ids = grown(t->ids, t->nr_ids, sizeof(*t->ids));
			t->ids[t->nr_ids++] = (uint32_t)id;
			p = end;
		}
	}
	free(line);
	fclose(f);
	t->start = grown(t->start, t->nr_requests, sizeof(*t->start));
	t->start[t->nr_requests] = t->nr_ids;
	count_unique(t);
	return t->nr_ids;
}

/* ---- a cache of blocks ---- */

struct cache {
	const struct evict_ops *ops;
	struct evict *e;
	uint32_t *entry_of; /* block → entry */
	uint32_t *block_of; /* entry → block */
	uint32_t *unused, nr_unused;
	uint64_t calls;
};

static uint64_t hash_of(uint32_t block)
{
	uint64_t x = block + 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static void cache_open(struct cache *c, const struct evict_ops *ops, uint32_t entries,
		       uint32_t max_block)
{
	*c = (struct cache){ .ops = ops };
	c->entry_of = malloc(((size_t)max_block + 1) * sizeof(*c->entry_of));
	c->block_of = malloc(entries * sizeof(*c->block_of));
	c->unused = malloc(entries * sizeof(*c->unused));
	if (!c->entry_of || !c->block_of || !c->unused || ops->open(entries, entries, &c->e))
		abort();
	memset(c->entry_of, 0xff, ((size_t)max_block + 1) * sizeof(*c->entry_of));
	while (entries--)
		c->unused[c->nr_unused++] = entries;
}

static void cache_close(struct cache *c)
{
	c->ops->close(c->e);
	free(c->entry_of);
	free(c->block_of);
	free(c->unused);
}

static void cache_insert(struct cache *c, uint32_t block)
{
	uint32_t i;

	if (c->entry_of[block] != NONE)
		return; /* twice in one request */
	if (!c->nr_unused) {
		i = (uint32_t)c->ops->victim(c->e);
		c->entry_of[c->block_of[i]] = NONE;
		c->unused[c->nr_unused++] = i;
		c->calls++;
	}
	i = c->unused[--c->nr_unused];
	c->entry_of[block] = i;
	c->block_of[i] = block;
	c->ops->insert(c->e, i, hash_of(block), 1);
	c->calls++;
}

/* Return: hits. */
static uint64_t request(struct cache *c, const uint32_t *ids, uint64_t nr, bool touch_reverse,
			bool insert_reverse)
{
	uint64_t hits = 0;

	while (hits < nr && c->entry_of[ids[hits]] != NONE)
		hits++;
	for (uint64_t i = 0; i < hits; i++)
		c->ops->touch(c->e, c->entry_of[ids[touch_reverse ? hits - 1 - i : i]]);
	for (uint64_t i = hits; i < nr; i++)
		cache_insert(c, ids[insert_reverse ? nr - 1 - (i - hits) : i]);
	c->calls += hits;
	return hits;
}

static void replay(const char *name, const struct trace *t, const struct evict_ops *ops,
		   unsigned percent, const char *order)
{
	uint64_t entries = t->unique * percent / 100, hits = 0;
	struct cache c;
	double start, ns;

	cache_open(&c, ops, (uint32_t)(entries ? entries : 1), t->max_id);
	start = bench_now();
	for (uint64_t r = 0; r < t->nr_requests; r++)
		hits += request(&c, t->ids + t->start[r], t->start[r + 1] - t->start[r],
				order[0] == 'r', order[1] == 'r');
	ns = (bench_now() - start) * 1e9 / (double)c.calls;
	printf("{\"case\": \"replay %s %s %u%%\", \"value\": %.2f, \"unit\": \"%% hits\", "
	       "\"limit\": %.2f, "
	       "\"limit_name\": \"no eviction\", \"ns_per_call\": %.0f}\n",
	       name, ops->name, percent, 100.0 * (double)hits / (double)t->nr_ids,
	       100.0 * (double)(t->nr_ids - t->unique) / (double)t->nr_ids, ns);
	cache_close(&c);
}

static void replay_all(const char *path)
{
	static const unsigned percents[] = { 1, 2, 5, 10, 20 };
	const char *order = getenv("REPLAY_ORDER"), *name = strrchr(path, '/');
	struct trace t;

	name = name ? name + 1 : path;
	if (!order || strlen(order) != 2)
		order = "rr";
	if (!trace_read(path, &t)) {
		fprintf(stderr, "%s: no requests\n", path);
		exit(1);
	}
	for (size_t p = 0; evict_policies[p]; p++)
		for (size_t i = 0; i < ARRAY_SIZE(percents); i++)
			if (bench_wanted(evict_policies[p]->name))
				replay(name, &t, evict_policies[p], percents[i], order);
	free(t.ids);
	free(t.start);
}

int main(int argc, char **argv)
{
	const char *traces = getenv("BENCH_TRACES");
	char *list, *save, *path;

	bench_init(argc, argv);
	if (!traces || !*traces) {
		fprintf(stderr, "replay: BENCH_TRACES names no traces; skipped\n");
		return 0;
	}
	list = strdup(traces);
	for (path = strtok_r(list, ":", &save); path; path = strtok_r(NULL, ":", &save))
		replay_all(path);
	free(list);
	return 0;
}
