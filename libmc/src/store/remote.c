/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading from other nodes, one-sided: for every extent the header, the payload and the header again, in that order, in one
 * request. What arrives is the object only if both headers carry the promised generation; over a network its CRC must
 * agree as well.
 */
#include "store/store.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/log.h"

#define VECS_MAX 4096 /* of one request */

struct piece { /* one extent of one object */
	struct get_item *it;
	uint64_t addr;	       /* of its header, in the owner */
	uint64_t off;	       /* of its payload in the object */
	struct extent_hdr head, tail;
	bool summed; /* @crc is that of all that was read: head, payload, tail */
	uint32_t crc;
	struct mc_vec *vec;
	unsigned nr_vec, max_vec;
};

/* Object bytes [from, from+len) are at which of the caller's bytes? Adds vectors for those that are wanted. */
static int add_vec(struct piece *p, void *local, uint64_t remote, uint64_t len)
{
	struct mc_vec *more;
	unsigned max;

	if (p->nr_vec == p->max_vec) {
		max = p->max_vec ? 2 * p->max_vec : 4;
		more = realloc(p->vec, max * sizeof(*more));
		if (!more)
			return -ENOMEM;
		p->vec = more;
		p->max_vec = max;
	}
	p->vec[p->nr_vec++] = (struct mc_vec){ local, remote, len };
	return 0;
}

static int add_payload(struct piece *p, uint64_t len)
{
	const struct get_item *it = p->it;
	uint64_t base = p->addr + sizeof(struct extent_hdr), pos = 0, lo, hi;
	int ret = 0;

	for (unsigned i = 0; it->slices && i < it->nr_slices && !ret; i++) {
		const struct mc_slice *sl = &it->slices[i];

		if (!range_inside(sl->src_off, sl->len, it->size))
			continue;
		lo = MAX(sl->src_off, p->off);
		hi = MIN(sl->src_off + sl->len, p->off + len);
		if (lo < hi)
			ret = add_vec(p, (char *)sl->dst + (lo - sl->src_off), base + (lo - p->off), hi - lo);
	}
	for (unsigned i = 0; !it->slices && i < it->nr_iov && !ret && pos < p->off + len; i++) {
		lo = MAX(pos, p->off);
		hi = MIN(pos + it->iov[i].len, p->off + len);
		if (lo < hi)
			ret = add_vec(p, (char *)it->iov[i].addr + (lo - pos), base + (lo - p->off), hi - lo);
		pos += it->iov[i].len;
	}
	return ret;
}

static int plan(struct piece *p, uint64_t payload)
{
	int ret = add_vec(p, &p->head, p->addr, sizeof(p->head));

	if (!ret)
		ret = add_payload(p, payload);
	if (!ret)
		ret = add_vec(p, &p->tail, p->addr, sizeof(p->tail));
	return ret;
}

static bool held(const struct piece *p)
{
	uint64_t gen = p->it->loc.gen;

	return atomic_load_explicit(&p->head.gen, memory_order_relaxed) == gen &&
	       atomic_load_explicit(&p->tail.gen, memory_order_relaxed) == gen;
}

#define SUM_MIN (32 * KiB) /* so much payload is worth a checksum on the way, from which its own has to be told apart */

/* Only whole objects have a CRC to compare with. Piece by piece, because each extent has its own. */
static bool has_crc(const struct piece *p)
{
	return !p->it->slices && p->it->flags & OBJ_CRC;
}

static bool crc_holds(const struct piece *p)
{
	uint32_t crc = 0;

	if (!has_crc(p))
		return true;
	if (p->summed) {
		crc = crc32c_join(crc32c(0, &p->head, sizeof(p->head)), p->head.crc, p->head.len);
		return p->crc == crc32c_join(crc, crc32c(0, &p->tail, sizeof(p->tail)), sizeof(p->tail));
	}
	for (unsigned i = 1; i + 1 < p->nr_vec; i++)
		crc = crc32c(crc, p->vec[i].local, p->vec[i].len);
	return crc == p->head.crc;
}

static int verdict(const struct piece *p, int error, uint64_t payload)
{
	if (error)
		return error;
	if (!held(p))
		return -ESTALE;
	/* A generation is unique in its pool only; the put is unique everywhere. */
	if (p->it->put_id && p->head.put_id != p->it->put_id)
		return -ESTALE;
	if (p->head.len != payload || p->head.obj_len != p->it->size)
		return -EBADMSG;
	if (!crc_holds(p)) {
		log_err_limited("object in pool %s fails its checksum: bytes changed in memory or on the way", p->it->pool->segment);
		return -EBADMSG;
	}
	return 0;
}

static int remote_addr(const struct get_item *it, uint64_t place, uint64_t *addr)
{
	const struct spool *p = it->pool;
	uint16_t r = place_region(place);

	if (r >= p->nr_regions || !range_inside(place_off(place), sizeof(struct extent_hdr), p->region[r].len))
		return -EBADMSG;
	*addr = p->region[r].addr + place_off(place);
	return 0;
}

/* By which way its bytes come. */
static enum mc_path path_to(const struct mc_store *s, const struct mc_segment *seg)
{
	const char *way = s->transports[0] && !strchr(s->transports, ',') ? s->transports : mc_segment_transport(seg);

	return strcmp(way, "tcp") ? MC_PATH_LOCAL : MC_PATH_TCP;
}

static struct mc_request request_of(const struct mc_store *s, struct piece *p, struct mc_segment *seg)
{
	/* All of a large object at once: its checksum comes with it. */
	p->summed = has_crc(p) && p->nr_vec > 2 && p->nr_vec <= VECS_MAX && p->it->size >= SUM_MIN;
	return (struct mc_request){ .op = MC_READ,
				    .flags = p->summed ? MC_REQUEST_CRC : 0,
				    .segment = seg,
				    .vec = p->vec,
				    .nr_vec = p->nr_vec,
				    .transport = s->transports[0] && !strchr(s->transports, ',') ? s->transports : NULL };
}

static void settle_slices(struct get_item *it)
{
	for (unsigned i = 0; i < it->nr_slices; i++) {
		struct mc_slice *sl = &it->slices[i];

		sl->result = range_inside(sl->src_off, sl->len, it->size) ? (int64_t)sl->len : -ERANGE;
	}
}

#define CLOSING_NS (100 * NSEC_PER_MSEC) /* how long a closing store may wait for its reads */

/* Submits and waits. After it nothing touches the requests' memory. The result is the submission's; each request has its own. */
static int run_batch(struct mc_store *s, struct mc_batch *batch, const struct mc_request *req, unsigned nr, uint64_t deadline_ns)
{
	int ret = mc_batch_submit(batch, req, nr, deadline_ns), done;

	if (ret)
		return ret;
	do
		done = mc_batch_wait(batch, MIN(deadline_ns, deadline_after_ns(CLOSING_NS)));
	while (done == -EINPROGRESS && !deadline_passed(deadline_ns) && !atomic_load(&s->closing));
	mc_batch_cancel(batch);
	return 0;
}

static int status_of(struct mc_store *s, struct mc_batch *batch, unsigned i, struct piece *p)
{
	struct mc_status st = { .error = -EIO };

	mc_batch_status(batch, i, &st);
	p->crc = st.crc;
	return st.error != -ECANCELED ? st.error : atomic_load(&s->closing) ? -ESHUTDOWN : -ETIMEDOUT;
}

static int run_one(struct mc_store *s, struct mc_engine *eng, const struct mc_request *req, struct piece *p, uint64_t deadline_ns)
{
	struct mc_batch *batch;
	int ret = mc_batch_open(eng, 1, NULL, NULL, &batch);

	if (ret)
		return ret;
	ret = run_batch(s, batch, req, 1, deadline_ns);
	if (!ret)
		ret = status_of(s, batch, 0, p);
	mc_batch_close(batch);
	return ret;
}

/* Header, pieces, header: more pieces than one request may have go in several, each between headers of its own. */
static int run_piece(struct mc_store *s, struct mc_engine *eng, struct mc_segment *seg, struct piece *p, uint64_t payload,
		     uint64_t deadline_ns)
{
	struct mc_vec *all = p->vec, last = all[p->nr_vec - 1];
	unsigned nr = p->nr_vec - 2;
	struct mc_request req = request_of(s, p, seg);
	int ret = 0;

	for (unsigned at = 0, n; !ret && (at < nr || !at); at += n ? n : 1) {
		struct mc_vec saved[2];

		n = MIN(nr - at, VECS_MAX - 2u);
		/* The headers take the places beside this part, for as long as it is read. */
		saved[0] = all[at];
		saved[1] = all[at + n + 1];
		all[at] = (struct mc_vec){ &p->head, p->addr, sizeof(p->head) };
		all[at + n + 1] = last;
		req.vec = all + at;
		req.nr_vec = n + 2;
		ret = run_one(s, eng, &req, p, deadline_ns);
		all[at] = saved[0];
		all[at + n + 1] = saved[1];
		if (!ret && !held(p))
			ret = -ESTALE;
	}
	return verdict(p, ret, payload);
}

/*
 * An object in several extents: each header says where the next one is, so they are fetched in turn. Rare: only when the
 * pool is so full that no long run was left.
 */
static int read_chain(struct mc_store *s, struct get_item *it, struct mc_segment *seg, struct mc_engine *eng, uint64_t deadline_ns)
{
	uint64_t place = place_pack(it->loc.region, it->loc.off), off = 0, len;
	int ret = 0;

	for (unsigned n = 0; place && n < EXTENTS_MAX && !ret; n++) {
		struct piece p = { .it = it, .off = off };
		struct mc_request req;

		ret = remote_addr(it, place, &p.addr);
		if (ret)
			break;
		ret = add_vec(&p, &p.head, p.addr, sizeof(p.head));
		req = request_of(s, &p, seg);
		if (!ret)
			ret = run_one(s, eng, &req, &p, deadline_ns);
		len = p.head.len;
		if (!ret && atomic_load_explicit(&p.head.gen, memory_order_relaxed) != it->loc.gen)
			ret = -ESTALE;
		/* A first extent may have had room for the key only. */
		if (!ret && ((!len && n) || !range_inside(off, len, it->size)))
			ret = -EBADMSG;
		p.nr_vec = 0;
		if (!ret)
			ret = plan(&p, len);
		if (!ret)
			ret = run_piece(s, eng, seg, &p, len, deadline_ns);
		place = p.head.next;
		off += len;
		free(p.vec);
	}
	return ret ? ret : off == it->size ? 0 : -EBADMSG;
}

static int start_one(struct mc_store *s, struct piece *p, uint64_t deadline_ns, struct mc_request *req)
{
	struct mc_segment *seg;
	struct mc_engine *eng;
	int ret;

	p->off = 0;
	ret = remote_addr(p->it, place_pack(p->it->loc.region, p->it->loc.off), &p->addr);
	if (!ret)
		ret = spool_segment(p->it->pool, deadline_ns, &seg);
	if (ret)
		return ret;
	p->it->path = path_to(s, seg);
	if (p->it->loc.nr_extents > 1) {
		ret = store_engine(s, &eng);
		if (!ret)
			ret = read_chain(s, p->it, seg, eng, deadline_ns);
		if (!ret)
			ret = 1; /* done already */
		return ret;
	}
	ret = plan(p, p->it->size);
	if (!ret && p->nr_vec > VECS_MAX) {
		ret = store_engine(s, &eng);
		if (!ret)
			ret = run_piece(s, eng, seg, p, p->it->size, deadline_ns);
		return ret ? ret : 1;
	}
	*req = request_of(s, p, seg);
	return ret;
}

void remote_read(struct mc_store *s, struct get_item **it, unsigned nr, uint64_t deadline_ns)
{
	struct piece *piece = calloc(nr, sizeof(*piece));
	struct mc_request *req = calloc(nr, sizeof(*req));
	struct piece **sent = calloc(nr, sizeof(*sent));
	struct mc_batch *batch = NULL;
	struct mc_engine *eng;
	unsigned n = 0;
	int ret;

	ret = piece && req && sent ? store_engine(s, &eng) : -ENOMEM;
	if (!ret)
		ret = mc_batch_open(eng, nr, NULL, NULL, &batch);
	for (unsigned i = 0; i < nr; i++) {
		int one;

		it[i]->result = ret;
		if (ret)
			continue;
		piece[i].it = it[i];
		one = start_one(s, &piece[i], deadline_ns, &req[n]);
		if (!one)
			sent[n++] = &piece[i];
		it[i]->result = one > 0 ? (int64_t)it[i]->size : one;
	}
	if (n)
		ret = run_batch(s, batch, req, n, deadline_ns);
	for (unsigned i = 0; i < n; i++) {
		int one = verdict(sent[i], ret ? ret : status_of(s, batch, i, sent[i]), sent[i]->it->size);

		sent[i]->it->result = one ? one : (int64_t)sent[i]->it->size;
	}
	for (unsigned i = 0; i < nr; i++) {
		if (it[i]->result >= 0 && it[i]->slices)
			settle_slices(it[i]);
		if (piece)
			free(piece[i].vec);
	}
	mc_batch_close(batch);
	free(sent);
	free(req);
	free(piece);
}
