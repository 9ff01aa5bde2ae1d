/* SPDX-License-Identifier: Apache-2.0 */
/* Reading tensors: which object, or which shards, answer the question. */
#include "tensor/tensor.h"

#include "store/store.h"

/* ---- one object as it is ------------------------------------------------------------------------------------------------- */

struct landing { /* where mc_store_get() put it */
	struct mc_tensor_get *it;
	void *at;
};

static void *land(void *arg, size_t bytes)
{
	struct landing *l = arg;

	l->at = l->it->alloc(l->it->arg, bytes);
	return l->at;
}

static void settle(struct mc_tensor_get *it, const void *at, int64_t bytes)
{
	int ret = bytes < 0 ? (int)bytes :
			      mc_tensor_decode(at, (uint64_t)bytes, &it->tensor, &it->data_off);

	it->result = ret ? ret : bytes;
}

void read_object(struct mc_store *s, const struct name *key, struct mc_tensor_get *it,
		 uint64_t deadline_ns)
{
	struct landing l = { .it = it };
	struct mc_get get = { .key = { key->data, key->len }, .alloc = land, .arg = &l };

	mc_store_get(s, &get, 1, deadline_ns);
	settle(it, l.at, get.result);
}

int read_header(struct mc_store *s, const struct name *key, struct mc_tensor *out,
		uint64_t deadline_ns)
{
	uint8_t header[MC_TENSOR_HEADER_BYTES];
	struct mc_slice slice = { .dst = header, .len = sizeof(header) };
	struct mc_get_slices get = { .key = { key->data, key->len }, .slices = &slice, .nr = 1 };
	uint64_t off;

	mc_store_get_slices(s, &get, 1, deadline_ns);
	if (get.result < 0)
		return (int)get.result;
	if (slice.result < 0)
		return slice.result == -ERANGE ? -EBADMSG : (int)slice.result;
	return mc_tensor_decode(header, (uint64_t)get.result, out, &off);
}

static int read_manifest(struct mc_store *s, const struct mc_key *base, const char *suffix,
			 struct manifest *out, uint64_t deadline_ns)
{
	uint8_t bytes[MANIFEST_BYTES];
	struct mc_iov iov = { bytes, sizeof(bytes) };
	struct mc_get get = { .iov = &iov, .nr_iov = 1 };
	struct name key;
	int ret = name_suffix(base, suffix, &key);

	if (ret)
		return ret;
	get.key = (struct mc_key){ key.data, key.len };
	mc_store_get(s, &get, 1, deadline_ns);
	free(key.data);
	if (get.result < 0)
		return get.result == -EMSGSIZE ? -EBADMSG : (int)get.result;
	return manifest_decode(bytes, (uint64_t)get.result, out);
}

/* ---- the shard that was asked for ---------------------------------------------------------------------------------------- */

/* It is not there under this name; others may be tried. */
static bool not_here(int64_t result)
{
	return result == -ENOENT || result == -EBADMSG;
}

/*
 * The header first: the caller is asked for room only when it is what he wants. @exact: its axes, which are looked at again in what
 * was read, because the object may have been replaced in between.
 */
static void try_object(struct mc_store *s, int named, struct name *key,
		       const struct mc_parallel *exact, struct mc_tensor_get *it,
		       uint64_t deadline_ns)
{
	struct mc_tensor t;

	it->result = named ? named : read_header(s, key, &t, deadline_ns);
	if (!it->result && exact && !parallel_same(&t.parallel, exact))
		it->result = -ENOENT;
	if (!it->result)
		read_object(s, key, it, deadline_ns);
	if (it->result > 0 && exact && !parallel_same(&it->tensor.parallel, exact))
		it->result = -ENOENT;
	if (!named)
		free(key->data);
}

static void try_exact(struct mc_store *s, struct mc_tensor_get *it, uint64_t deadline_ns)
{
	const struct mc_parallel *p = it->parallel;
	struct name key;

	try_object(s, name_shard(&it->key, p, &key), &key, p, it, deadline_ns);
	if (not_here(it->result) && p->nr_axes == 1 && parallel_tensor_axis(p)) {
		const struct mc_axis *a = parallel_tensor_axis(p);
		struct mc_partition w = { a->rank, a->size, a->split_dim };

		try_object(s, name_writer(&it->key, &w, &key), &key, p, it, deadline_ns);
	}
}

/* How the tensor was cut: its manifest says so, or the first shard does. */
static int find_cut(struct mc_store *s, struct mc_tensor_get *it, struct shards *from,
		    uint64_t deadline_ns)
{
	const struct mc_axis *a = parallel_tensor_axis(it->parallel);
	struct mc_parallel first = parallel_moved(it->parallel, 0, a->size, a->split_dim);
	const struct mc_axis *stored;
	struct mc_tensor t;
	struct name key;
	int ret;

	*from = (struct shards){ .base = &it->key, .parallel = it->parallel };
	ret = read_manifest(s, &it->key, NAME_PARALLEL_MANIFEST, &from->cut, deadline_ns);
	if (!not_here(ret))
		return ret;
	ret = name_shard(&it->key, &first, &key);
	if (ret)
		return ret;
	ret = read_header(s, &key, &t, deadline_ns);
	free(key.data);
	if (ret)
		return ret;
	stored = parallel_tensor_axis(&t.parallel);
	if (!stored || stored->split_dim < 0)
		return -EBADMSG;
	from->cut = (struct manifest){ t.dtype, t.ndim, stored->split_dim, stored->size, { 0 } };
	memcpy(from->cut.whole_shape, t.whole_shape, sizeof(t.whole_shape));
	return 0;
}

static void take_shape(struct mc_tensor_get *it, const struct manifest *m)
{
	it->tensor = (struct mc_tensor){ .dtype = m->dtype, .ndim = m->ndim };
	memcpy(it->tensor.shape, m->whole_shape, sizeof(m->whole_shape));
	memcpy(it->tensor.whole_shape, m->whole_shape, sizeof(m->whole_shape));
}

static void cut_out(struct mc_store *s, struct mc_tensor_get *it, uint64_t deadline_ns)
{
	const struct mc_axis *a = parallel_tensor_axis(it->parallel);
	struct shards from;
	int64_t len;

	it->result = find_cut(s, it, &from, deadline_ns);
	if (it->result)
		return;
	if (from.cut.split_dim != a->split_dim || from.cut.whole_shape[a->split_dim] % a->size) {
		it->result = -EBADMSG;
		return;
	}
	len = from.cut.whole_shape[a->split_dim] / a->size;
	take_shape(it, &from.cut);
	it->tensor.is_shard = 1;
	it->tensor.parallel = *it->parallel;
	assemble(s, &from, a->rank * len, len, it, deadline_ns);
}

static void get_shard(struct mc_store *s, struct mc_tensor_get *it, uint64_t deadline_ns)
{
	const struct mc_axis *a = parallel_tensor_axis(it->parallel);
	struct name key;

	try_exact(s, it, deadline_ns);
	if (!not_here(it->result) || !a)
		return;
	cut_out(s, it, deadline_ns);
	if (not_here(it->result) &&
	    it->parallel->nr_axes == 1) /* then the rank's object, whatever it was cut along */
		try_object(s, name_shard(&it->key, it->parallel, &key), &key, NULL, it,
			   deadline_ns);
}

/* ---- the whole ----------------------------------------------------------------------------------------------------------- */

static void get_plain(struct mc_store *s, struct mc_tensor_get *it, uint64_t deadline_ns)
{
	struct name key = { (char *)(uintptr_t)it->key.data, it->key.len };

	read_object(s, &key, it, deadline_ns);
}

static void get_full(struct mc_store *s, struct mc_tensor_get *it, uint64_t deadline_ns)
{
	struct shards from = { .base = &it->key };
	int ret;

	if (it->parallel && !parallel_tensor_axis(it->parallel)) {
		it->result = -EINVAL;
		return;
	}
	if (it->parallel) {
		ret = find_cut(s, it, &from, deadline_ns);
		if (!ret && from.cut.split_dim != parallel_tensor_axis(it->parallel)->split_dim)
			ret = -EBADMSG;
	} else {
		ret = read_manifest(s, &it->key, NAME_WRITER_MANIFEST, &from.cut, deadline_ns);
		if (ret == -ENOENT) {
			get_plain(s, it, deadline_ns);
			return;
		}
	}
	it->result = ret;
	if (ret)
		return;
	take_shape(it, &from.cut);
	assemble(s, &from, 0, from.cut.whole_shape[from.cut.split_dim], it, deadline_ns);
}

/* ---- the call ------------------------------------------------------------------------------------------------------------ */

/* Items that are one object each, in one call. */
static void get_objects(struct mc_store *s, struct mc_tensor_get **it, unsigned nr,
			uint64_t deadline_ns)
{
	struct mc_get *get = calloc(nr, sizeof(*get));
	struct landing *l = calloc(nr, sizeof(*l));
	struct name *key = calloc(nr, sizeof(*key));
	unsigned n = 0;

	for (unsigned i = 0; i < nr; i++) {
		int ret = get && l && key ? 0 : -ENOMEM;

		if (!ret && it[i]->parallel)
			ret = name_shard(&it[i]->key, it[i]->parallel, &key[n]);
		it[i]->result = ret;
		if (ret)
			continue;
		l[n].it = it[i];
		get[n] = (struct mc_get){ .key = it[i]->key, .alloc = land, .arg = &l[n] };
		if (key[n].data)
			get[n].key = (struct mc_key){ key[n].data, key[n].len };
		n++;
	}
	if (n)
		mc_store_get(s, get, n, deadline_ns);
	for (unsigned i = 0; i < n; i++) {
		settle(l[i].it, l[i].at, get[i].result);
		free(key[i].data);
	}
	free(get);
	free(l);
	free(key);
}

static bool sane(const struct mc_tensor_get *it)
{
	if (!it->key.len || it->mode < MC_TENSOR_AS_STORED || it->mode > MC_TENSOR_FULL)
		return false;
	if (it->parallel && parallel_check(it->parallel))
		return false;
	if (it->mode == MC_TENSOR_AS_STORED)
		return !it->parallel ||
		       (it->parallel->nr_axes == 1 && parallel_tensor_axis(it->parallel));
	return it->mode == MC_TENSOR_FULL || it->parallel;
}

/* What the store does not know. Return: was there something? */
static bool tell(const struct mc_tensor_get *it)
{
	const char *words = "what lies there is no tensor, does not fit into the memory, or its parts do not fit each other";

	if (it->result != -EBADMSG && it->result != -EINVAL)
		return false;
	if (it->result == -EINVAL)
		words = "axes, a rank or a target that make no sense";
	note_words("get", &it->key, words, (int)it->result, 0);
	return true;
}

int mc_store_get_tensors(struct mc_store *s, struct mc_tensor_get *items, unsigned nr,
			 uint64_t deadline_ns)
{
	struct mc_tensor_get *small, **simple = nr > 1 ? calloc(nr, sizeof(*simple)) : &small;
	unsigned nr_simple = 0;
	int ok = 0;

	deadline_ns = store_deadline(s, deadline_ns);
	for (unsigned i = 0; i < nr; i++) {
		struct mc_tensor_get *it = &items[i];

		if (!sane(it))
			it->result = -EINVAL;
		else if (!simple)
			it->result = -ENOMEM;
		else if (it->mode == MC_TENSOR_AS_STORED)
			simple[nr_simple++] = it;
		else if (it->mode == MC_TENSOR_SHARD)
			get_shard(s, it, deadline_ns);
		else
			get_full(s, it, deadline_ns);
	}
	if (nr_simple == 1 && !simple[0]->parallel)
		get_plain(s, simple[0], deadline_ns);
	else if (nr_simple)
		get_objects(s, simple, nr_simple, deadline_ns);
	for (unsigned i = 0; i < nr; i++)
		ok += items[i].result >= 0;
	for (unsigned i = 0; i < nr && ok < (int)nr && !tell(&items[i]); i++)
		;
	if (simple != &small)
		free(simple);
	return ok;
}
