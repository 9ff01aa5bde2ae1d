/* SPDX-License-Identifier: Apache-2.0 */
/* Peers by name: their descriptors, and the ways to each. */
#include "engine/engine.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

#define FETCH_PAUSE_NS (100 * NSEC_PER_MSEC) /* a fetch that failed is not repeated earlier */

void way_put(struct way *w)
{
	/* Acquire and release: the last one sees what the others did with the peer. */
	if (atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) != 1)
		return;
	way_ops(w)->disconnect(w->peer);
	free(w);
}

static void drop_ways(struct mc_segment *seg)
{
	for (unsigned i = 0; i < ENGINE_TRANSPORTS_MAX; i++) {
		if (seg->way[i])
			way_put(seg->way[i]);
		seg->way[i] = NULL;
		seg->tried[i] = false;
	}
}

static void segment_free(struct mc_segment *seg)
{
	drop_ways(seg);
	segment_desc_fini(&seg->desc);
	pthread_cond_destroy(&seg->fetched);
	pthread_mutex_destroy(&seg->lock);
	free(seg->name);
	free(seg);
}

/* ---- ways ------------------------------------------------------------------------------------ */

static int try_way(struct mc_segment *seg, unsigned i)
{
	struct transport *t = seg->eng->transport[i];
	struct way *w;
	int ret;

	if (seg->way[i])
		return 0;
	if (seg->tried[i])
		return -EOPNOTSUPP;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	ret = t->ops->connect(t, &seg->desc, &w->peer, &w->cost);
	if (ret) {
		free(w);
		seg->tried[i] = ret == -EOPNOTSUPP;
		return ret;
	}
	w->refs = 1;
	seg->way[i] = w;
	log_debug("peer %s: by %s", seg->name, t->ops->name);
	return 0;
}

/* The first transport of the table that reaches the peer. With the segment's lock. */
static int choose_way(struct mc_segment *seg, const char *name, struct way **out)
{
	int ret = -EOPNOTSUPP, last;

	for (unsigned i = 0; i < seg->eng->nr_transports; i++) {
		if (name && strcmp(name, seg->eng->transport[i]->ops->name))
			continue;
		last = try_way(seg, i);
		if (!last) {
			*out = seg->way[i];
			return 0;
		}
		if (last != -EOPNOTSUPP)
			ret = last;
	}
	err_note("peer %s: %s%sno transport reaches it", seg->name, name ? name : "",
		 name ? ": " : "");
	return ret;
}

int segment_way(struct mc_segment *seg, const char *name, struct way **out, uint64_t *gen)
{
	int ret;

	pthread_mutex_lock(&seg->lock);
	ret = choose_way(seg, name, out);
	if (!ret)
		atomic_fetch_add_explicit(&(*out)->refs, 1, memory_order_relaxed);
	*gen = seg->gen;
	pthread_mutex_unlock(&seg->lock);
	return ret;
}

void segment_leave_way(struct mc_segment *seg, const struct way *w)
{
	pthread_mutex_lock(&seg->lock);
	for (unsigned i = 0; i < ENGINE_TRANSPORTS_MAX; i++) {
		if (seg->way[i] != w)
			continue;
		log_info("peer %s: some of its memory cannot be reached by %s", seg->name, way_ops(w)->name);
		seg->tried[i] = true;
		seg->way[i] = NULL;
		way_put((struct way *)w); /* not the last one: the caller has another */
	}
	pthread_mutex_unlock(&seg->lock);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static int fetch(struct mc_engine *eng, const char *name, uint64_t deadline_ns,
		 struct segment_desc *out)
{
	struct segment_desc self;
	int ret = engine_describe(eng, &self);

	if (ret)
		return ret;
	ret = meta_get_segment(eng->meta, name, &self, deadline_ns, out);
	segment_desc_fini(&self);
	return ret;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool same_nics(const struct segment_desc *a, const struct segment_desc *b)
{
	bool same = a->nr_nics == b->nr_nics;

	for (uint32_t i = 0; same && i < a->nr_nics; i++)
		same = same_text(a->nics[i].name, b->nics[i].name) && same_text(a->nics[i].gid, b->nics[i].gid) &&
		       a->nics[i].lid == b->nics[i].lid;
	return same;
}

static bool same_keys(const struct segment_desc *a, const struct segment_desc *b)
{
	bool same = a->nr_buffers == b->nr_buffers;

	for (uint32_t i = 0; same && i < a->nr_buffers; i++) {
		const struct segment_buffer *x = &a->buffers[i], *y = &b->buffers[i];

		same = x->addr == y->addr && x->len == y->len && x->nr_keys == y->nr_keys &&
		       (!x->nr_keys || !memcmp(x->keys, y->keys, x->nr_keys * sizeof(*x->keys)));
	}
	return same;
}

/*
 * Would both be reached in the same way? Registered ranges matter to NICs alone, which need their keys: else the peer itself
 * looks them up.
 */
static bool same_process(const struct segment_desc *a, const struct segment_desc *b)
{
	return same_nics(a, b) && (!a->nr_nics || same_keys(a, b)) && a->tcp_data_port == b->tcp_data_port &&
	       a->tcp_proto_version == b->tcp_proto_version && same_text(a->host, b->host) &&
	       same_text(a->protocol, b->protocol) && a->mc.present == b->mc.present &&
	       a->mc.version == b->mc.version && a->mc.pid == b->mc.pid &&
	       a->mc.start_time == b->mc.start_time && a->mc.pid_ns == b->mc.pid_ns &&
	       a->mc.reach_fd == b->mc.reach_fd &&
	       !memcmp(a->mc.node, b->mc.node, sizeof(a->mc.node));
}

/* With the segment's lock, which is released meanwhile. Return: did somebody else fetch by the deadline? */
static bool others_fetched(struct mc_segment *seg, uint64_t deadline_ns)
{
	bool waited = seg->fetching;
	int ret = 0;

	while (seg->fetching && !ret)
		ret = cond_wait_until(&seg->fetched, &seg->lock, deadline_ns);
	return waited && !seg->fetching;
}

/* The same: transfers go their ways while the description is fetched. */
static int refresh(struct mc_segment *seg, uint64_t deadline_ns)
{
	struct segment_desc fresh;
	int ret;

	if (others_fetched(seg, deadline_ns))
		return seg->failed;
	if (seg->fetching)
		return -ETIMEDOUT;
	seg->fetching = true;
	pthread_mutex_unlock(&seg->lock);
	ret = fetch(seg->eng, seg->name, deadline_ns, &fresh);
	pthread_mutex_lock(&seg->lock);
	seg->fetching = false;
	pthread_cond_broadcast(&seg->fetched);
	if (ret) {
		seg->failed = ret;
		seg->failed_ns = clock_now_ns();
		return ret;
	}
	seg->failed = 0;
	if (!same_process(&seg->desc, &fresh)) {
		drop_ways(seg);
		seg->gen++;
	}
	segment_desc_fini(&seg->desc);
	seg->desc = fresh;
	return 0;
}

int segment_changed(struct mc_segment *seg, uint64_t gen, uint64_t deadline_ns)
{
	int ret = 0;

	pthread_mutex_lock(&seg->lock);
	if (seg->gen == gen) {
		if (seg->failed && clock_now_ns() - seg->failed_ns < FETCH_PAUSE_NS)
			ret = seg->failed;
		else
			ret = refresh(seg, deadline_ns);
	}
	if (!ret)
		ret = seg->gen != gen;
	pthread_mutex_unlock(&seg->lock);
	return ret;
}

/* ---- the calls ------------------------------------------------------------------------------- */

uint64_t segment_gen(struct mc_segment *seg)
{
	uint64_t gen;

	pthread_mutex_lock(&seg->lock);
	gen = seg->gen;
	pthread_mutex_unlock(&seg->lock);
	return gen;
}

void segment_get(struct mc_segment *seg)
{
	pthread_mutex_lock(&seg->eng->seg_lock);
	seg->refs++;
	pthread_mutex_unlock(&seg->eng->seg_lock);
}

static struct mc_segment *find(struct mc_engine *eng, const char *name)
{
	struct mc_segment *seg;

	list_for_each_entry(seg, &eng->segments, node) {
		if (!strcmp(seg->name, name)) {
			seg->refs++;
			return seg;
		}
	}
	return NULL;
}

static int segment_new(struct mc_engine *eng, const char *name, uint64_t deadline_ns,
		       struct mc_segment **out)
{
	struct mc_segment *seg = calloc(1, sizeof(*seg));
	struct way *w;
	int ret;

	if (!seg)
		return -ENOMEM;
	seg->eng = eng;
	seg->refs = 1;
	pthread_mutex_init(&seg->lock, NULL);
	pthread_cond_init(&seg->fetched, NULL);
	seg->name = strdup(name);
	ret = seg->name ? fetch(eng, name, deadline_ns, &seg->desc) : -ENOMEM;
	if (!ret)
		ret = choose_way(seg, NULL, &w);
	if (ret) {
		segment_free(seg);
		return ret;
	}
	*out = seg;
	return 0;
}

int mc_segment_open(struct mc_engine *eng, const char *name, uint64_t deadline_ns,
		    struct mc_segment **out)
{
	struct mc_segment *seg, *other;
	int ret;

	if (engine_forked(eng))
		return engine_refuse_fork();
	if (!name || !*name || strlen(name) >= ENGINE_NAME_MAX) {
		log_err("a peer's name has 1 to %d characters", ENGINE_NAME_MAX - 1);
		return -EINVAL;
	}
	pthread_mutex_lock(&eng->seg_lock);
	seg = find(eng, name);
	pthread_mutex_unlock(&eng->seg_lock);
	if (!seg) {
		ret = segment_new(eng, name, deadline_ns, &seg);
		if (ret)
			return ret;
		/* Another thread may have been faster. */
		pthread_mutex_lock(&eng->seg_lock);
		other = find(eng, name);
		if (!other)
			list_append(&eng->segments, &seg->node);
		pthread_mutex_unlock(&eng->seg_lock);
		if (other) {
			segment_free(seg);
			seg = other;
		}
	}
	*out = seg;
	return 0;
}

void mc_segment_close(struct mc_segment *seg)
{
	bool last;

	if (!seg || engine_forked(seg->eng))
		return;
	pthread_mutex_lock(&seg->eng->seg_lock);
	last = !--seg->refs;
	if (last)
		list_del(&seg->node);
	pthread_mutex_unlock(&seg->eng->seg_lock);
	if (last)
		segment_free(seg);
}

int mc_segment_refresh(struct mc_segment *seg, uint64_t deadline_ns)
{
	struct way *w;
	int ret;

	if (engine_forked(seg->eng))
		return engine_refuse_fork();
	pthread_mutex_lock(&seg->lock);
	ret = refresh(seg, deadline_ns);
	if (!ret)
		ret = choose_way(seg, NULL, &w);
	pthread_mutex_unlock(&seg->lock);
	return ret;
}

int mc_segment_buffer(const struct mc_segment *seg, unsigned i, uint64_t *addr, uint64_t *len)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)&seg->lock;
	int ret = -ENOENT;

	pthread_mutex_lock(lock);
	if (i < seg->desc.nr_buffers) {
		*addr = seg->desc.buffers[i].addr;
		*len = seg->desc.buffers[i].len;
		ret = 0;
	}
	pthread_mutex_unlock(lock);
	return ret;
}

const char *mc_segment_transport(const struct mc_segment *seg)
{
	struct way *w;
	uint64_t gen;
	const char *name;

	if (segment_way((struct mc_segment *)seg, NULL, &w, &gen))
		return "none";
	name = way_ops(w)->name;
	way_put(w);
	return name;
}
