// SPDX-License-Identifier: Apache-2.0
/* A pool's life: making its regions and directory, the owner's private state, and the end. */
#include "pool/inner.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"

#define ENTRIES_MIN 1024
#define ENTRIES_MAX ((uint64_t)1 << 31)
#define PAGE	    4096 /* buckets and entries start on pages of their own */
#define HUGE_PAGE   (2 * MiB)
#define SPREAD_LEAST (32 * MiB) /* a memory node's part; smaller pools are not worth dividing */

static uint64_t pow2_up(uint64_t v)
{
	return v < 2 ? 1 : (uint64_t)1 << (64 - __builtin_clzll(v - 1));
}

/* The memory nodes that @o's regions are to lie on, in turn; 0: no matter. */
static unsigned spread_over(const struct pool_opts *o, int *ids, unsigned max)
{
	struct topo t;
	unsigned nr = 0;

	if (!o->spread || topo_read(NULL, &t))
		return 0;
	for (int i = 0; i < t.nr_nodes && nr < max; i++)
		if (t.nodes[i].mem_bytes)
			ids[nr++] = t.nodes[i].id;
	topo_free(&t);
	return nr > 1 && o->bytes / nr >= SPREAD_LEAST ? nr : 0;
}

/* What the caller mapped is the pool's one region. */
static int take_memory(const struct pool_opts *o, struct pool_view *v)
{
	v->region[0] = *o->memory;
	*o->memory = (struct region){ .fd = -1 };
	v->nr_regions = 1;
	return v->region[0].size < POOL_MIN_BYTES || v->region[0].size >> 47 ? -EINVAL : 0;
}

int pool_make_regions(const struct pool_opts *o, struct pool_view *v)
{
	int node[POOL_REGIONS_MAX];
	unsigned nr_nodes = spread_over(o, node, POOL_REGIONS_MAX);
	uint64_t bytes = align_up(o->bytes, PAGE),
		 most = o->region_max ? align_up(o->region_max, PAGE) : bytes;
	uint64_t nr = 0;
	char name[64];

	if (nr_nodes)
		most = MIN(most, align_up(bytes / nr_nodes, HUGE_PAGE));
	if (o->bytes >= POOL_MIN_BYTES && !(o->bytes >> 47)) /* else the sums wrap */
		nr = (bytes + most - 1) / most;
	if (!nr || nr > POOL_REGIONS_MAX) {
		log_err("pool of %llu bytes in regions of %llu: at least %llu, and at most %d "
			"regions",
			(unsigned long long)o->bytes, (unsigned long long)most,
			(unsigned long long)POOL_MIN_BYTES, POOL_REGIONS_MAX);
		return -EINVAL;
	}
	for (uint64_t i = 0; i < nr; i++) {
		int ret;

		snprintf(name, sizeof(name), "mc-%.40s-%u", o->name ? o->name : "pool",
			 (unsigned)i);
		ret = region_create(name, MIN(most, bytes - i * most),
				    o->region_flags | (o->keep ? REGION_KEEP : 0),
				    nr_nodes ? node[i % nr_nodes] : -1, &v->region[i]);
		if (ret)
			return ret;
		v->nr_regions++;
		if (o->keep)
			ret = keep_region(o, &v->region[i], (unsigned)i);
		if (ret)
			return ret;
	}
	return 0;
}

struct dir_shape {
	uint64_t entries, buckets, buckets_off, entries_off, extras_off;
};

static struct dir_shape dir_shape(const struct pool_opts *o)
{
	struct dir_shape s = { .entries = pow2_up(o->entries ? o->entries : o->bytes / KiB) };

	s.entries = MAX(s.entries, (uint64_t)ENTRIES_MIN);
	s.buckets = s.entries / 2;
	s.buckets_off = align_up(sizeof(struct dir_header), PAGE);
	s.entries_off = s.buckets_off + align_up(s.buckets * sizeof(struct dir_bucket), PAGE);
	s.extras_off = s.entries_off + align_up(s.entries * sizeof(struct dir_entry), PAGE);
	return s;
}

uint64_t pool_dir_bytes(const struct pool_opts *o)
{
	struct dir_shape s = dir_shape(o);

	return s.entries > ENTRIES_MAX ? 0 : s.extras_off + s.entries * sizeof(struct dir_extra);
}

void pool_make_header(const struct pool_opts *o, struct pool_view *v)
{
	struct dir_header *h = v->dir_region.base;
	struct dir_shape s = dir_shape(o);
	struct region_stat st;

	*h = (struct dir_header){
		.layout = POOL_LAYOUT,
		.nr_regions = v->nr_regions,
		.nr_buckets = s.buckets,
		.nr_entries = s.entries,
		.buckets_off = s.buckets_off,
		.entries_off = s.entries_off,
		.extras_off = s.extras_off,
		.bytes = v->dir_region.size,
	};
	random_bytes(h->pool_id, sizeof(h->pool_id));
	random_bytes(&h->hash_key, sizeof(h->hash_key));
	node_id(h->node);
	for (uint32_t i = 0; i < v->nr_regions; i++) {
		h->region_bytes[i] = v->region[i].size;
		h->region_id[i] = region_stat(&v->region[i], &st) ? 0 : st.id;
	}
	atomic_store_explicit(&h->epoch, 1, memory_order_relaxed);
	atomic_store_explicit(&h->next_gen, 2, memory_order_relaxed);
	/* Last: who is killed before leaves no pool behind, rather than half of one. */
	__atomic_store_n(&h->magic, POOL_MAGIC, __ATOMIC_RELEASE);
}

static int create_directory(const struct pool_opts *o, struct pool_view *v)
{
	uint64_t bytes = pool_dir_bytes(o);
	char name[64];
	int ret;

	if (!bytes)
		return -EINVAL;
	snprintf(name, sizeof(name), "mc-%.40s-dir", o->name ? o->name : "pool");
	ret = region_create(name, bytes, 0, -1, &v->dir_region);
	if (ret)
		return ret;
	pool_make_header(o, v);
	/* Entries are used one after the other, buckets all over from the start. */
	if (o->region_flags & REGION_POPULATE)
		region_prefault(&v->dir_region, 0,
				((const struct dir_header *)v->dir_region.base)->entries_off);
	return 0;
}

/* The allocators, all free but the place that means "none". */
static int init_space(struct pool *p)
{
	for (unsigned i = 0; i < p->view.nr_regions; i++) {
		uint64_t size = p->view.region[i].size / POOL_UNIT * POOL_UNIT;
		int ret = range_alloc_open(size, POOL_UNIT, &p->space[i]);

		if (!ret && !i) {
			ret = range_take(p->space[i], 0, POOL_UNIT);
			size -= POOL_UNIT;
		}
		if (ret)
			return ret;
		p->capacity += size;
	}
	p->free = p->capacity;
	return 0;
}

int pool_init(struct pool *p, const char *policy)
{
	const struct evict_ops *ops = evict_find(policy);
	int ret;

	if (!ops) {
		log_err("eviction policy %s is unknown", policy);
		return -EINVAL;
	}
	p->dir = p->view.dir_region.base;
	p->buckets = (struct dir_bucket *)((char *)p->dir + p->view.buckets_off);
	p->entries = (struct dir_entry *)((char *)p->dir + p->view.entries_off);
	p->extras = p->view.extras_off ? (struct dir_extra *)((char *)p->dir + p->view.extras_off) : NULL;
	p->next_gen = atomic_load_explicit(&p->dir->next_gen, memory_order_relaxed);
	p->staged = HTAB_INIT;
	p->unused = p->soft_first = p->soft_last = NIL;
	ret = init_space(p);
	if (ret)
		return ret;
	p->slots = sparse_alloc(p->view.nr_entries, sizeof(*p->slots));
	if (!p->slots)
		return -ENOMEM;
	ret = ops->open((uint32_t)p->view.nr_entries, p->capacity, &p->evict);
	if (ret)
		return ret;
	ret = ring_init(&p->own_ring);
	if (ret)
		return ret;
	p->view.touches = p->own_ring.ring;
	p->view.touch_mask = p->own_ring.mask;
	return region_readonly_fd(&p->view.dir_region, &p->dir_fd);
}

struct pool *pool_new(void)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->dir_fd = -1;
	p->rules.soft_pin_ms = SOFT_PIN_MS;
	list_init(&p->writing);
	list_init(&p->lent);
	p->view.dir_region.fd = p->view.ring_region.fd = -1;
	for (unsigned i = 0; i < POOL_REGIONS_MAX; i++)
		p->view.region[i].fd = -1;
	return p;
}

int pool_create(const struct pool_opts *o, struct pool **out)
{
	struct pool *p = pool_new();
	int ret;

	if (!p)
		return -ENOMEM;
	ret = o->memory ? take_memory(o, &p->view) : o->keep ? -EINVAL : pool_make_regions(o, &p->view);
	if (!ret)
		ret = create_directory(o, &p->view);
	if (!ret)
		ret = view_init(&p->view);
	if (!ret)
		ret = pool_init(p, o->policy);
	if (ret) {
		pool_close(p);
		return ret;
	}
	*out = p;
	return 0;
}

static int free_staged(struct hnode *n, void *arg)
{
	struct staged *s = container_of(n, struct staged, node);

	if (s->layout != staged_single(s))
		free(s->layout);
	free(s);
	return 0;
}

static void free_slots(struct pool *p)
{
	uint64_t top = p->slots ? atomic_load_explicit(&p->dir->top, memory_order_relaxed) : 0;

	for (uint64_t i = 0; i < top; i++)
		free(p->slots[i].layout);
	sparse_free(p->slots, p->view.nr_entries, sizeof(*p->slots));
}

void pool_close(struct pool *p)
{
	if (!p)
		return;
	while (p->rings)
		pool_ring_close(p, p->rings);
	ring_fini(&p->own_ring);
	htab_walk(&p->staged, free_staged, NULL);
	htab_fini(&p->staged);
	staged_free_spare(p);
	if (p->evict)
		p->evict->ops->close(p->evict);
	lent_forget(p);
	groups_free(p);
	free_slots(p);
	for (unsigned i = 0; i < POOL_REGIONS_MAX; i++)
		range_alloc_close(p->space[i]);
	if (p->dir_fd >= 0)
		close(p->dir_fd);
	/* Everything this owner did is in the directory: the next one need not look for what was interrupted. */
	if (p->kept && !pool_revoked(p))
		region_clean(&p->view.dir_region);
	view_close(&p->view);
	free(p);
}

/* Only who touches a revoked mapping learns of it. */
static bool touch_revoked(const struct region *r)
{
	(void)*(volatile const uint8_t *)r->base;
	return region_revoked(r);
}

bool pool_revoked(const struct pool *p)
{
	bool gone = p->view.dir_region.base && touch_revoked(&p->view.dir_region);

	for (unsigned i = 0; i < p->view.nr_regions; i++)
		gone |= p->view.region[i].base && touch_revoked(&p->view.region[i]);
	return gone;
}

void pool_farewell(struct pool *p)
{
	atomic_store_explicit(&p->dir->dead, 1, memory_order_release);
}

const struct pool_view *pool_view(const struct pool *p)
{
	return &p->view;
}

void pool_stat(const struct pool *p, struct pool_stat *out)
{
	*out = (struct pool_stat){
		.capacity = p->capacity,
		.used = p->capacity - p->free - p->granted,
		.granted = p->granted,
		.objects = p->objects,
		.entries_free = p->view.nr_entries - p->objects - p->reserved,
		.evicted = p->evicted,
		.evicted_bytes = p->evicted_bytes,
		.pinned_bytes = p->pinned,
	};
}

void pool_set_rules(struct pool *p, const struct pool_rules *r)
{
	p->rules = *r;
}

void pool_on_evict(struct pool *p, pool_evicted_fn fn, void *arg)
{
	p->evicted_fn = fn;
	p->evicted_arg = arg;
}

int pool_fds(struct pool *p, int *dir_fd, int *region_fds, struct msg_attach_reply *info)
{
	*info = (struct msg_attach_reply){
		.epoch = atomic_load_explicit(&p->dir->epoch, memory_order_relaxed),
		.dir_bytes = p->view.dir_region.size,
		.nr_regions = (uint16_t)p->view.nr_regions,
	};
	memcpy(info->pool_id, p->dir->pool_id, sizeof(info->pool_id));
	for (unsigned i = 0; i < p->view.nr_regions; i++) {
		region_fds[i] = p->view.region[i].fd;
		info->region_bytes[i] = p->view.region[i].size;
	}
	*dir_fd = p->dir_fd;
	return 0;
}
