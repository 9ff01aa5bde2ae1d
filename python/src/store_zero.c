/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of the caller, by address: nothing is copied in between. */
#include "store.h"

#include <errno.h>
#include <string.h>

static void *ptr(uint64_t v)
{
	return (void *)(uintptr_t)v;
}

/* ---- registration --------------------------------------------------------------------------------------------------- */

METHOD(register_buffer)
{
	static const struct sig sig = { "register_buffer", { "buffer_ptr", "size", NULL }, 2, 0 };
	uint64_t addr, size;
	struct shared *sh;
	PyObject *a[2];
	int ret = -1;

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_u64(a[0], "buffer_ptr", &addr) || !arg_u64(a[1], "size", &size))
		return NULL;
	sh = store_get(self);
	if (sh) {
		Py_BEGIN_ALLOW_THREADS
		ret = mc_store_buffer_add(sh->s, ptr(addr), size);
		Py_END_ALLOW_THREADS
		store_put(sh);
	}
	return PyLong_FromLong(ret ? NOT_SET_UP : 0);
}

METHOD(unregister_buffer)
{
	static const struct sig sig = { "unregister_buffer", { "buffer_ptr", NULL }, 1, 0 };
	struct shared *sh;
	PyObject *a[1];
	uint64_t addr;
	int ret = -1;

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_u64(a[0], "buffer_ptr", &addr))
		return NULL;
	sh = store_get(self);
	if (sh) {
		Py_BEGIN_ALLOW_THREADS
		ret = mc_store_buffer_del(sh->s, ptr(addr));
		Py_END_ALLOW_THREADS
		store_put(sh);
	}
	return PyLong_FromLong(ret ? NOT_SET_UP : 0);
}

/* ---- one object ----------------------------------------------------------------------------------------------------- */

METHOD(get_into)
{
	static const struct sig sig = { "get_into", { "key", "buffer_ptr", "size", NULL }, 3, 0 };
	struct mc_get g = { .result = 0 };
	struct mc_iov iov;
	uint64_t addr, size;
	struct shared *sh;
	PyObject *a[3];

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_key(a[0], "key", &g.key) || !arg_u64(a[1], "buffer_ptr", &addr) ||
	    !arg_u64(a[2], "size", &size))
		return NULL;
	sh = store_get(self);
	if (!sh)
		return PyLong_FromLong(NOT_SET_UP);
	iov = (struct mc_iov){ ptr(addr), size };
	g.iov = &iov;
	g.nr_iov = 1;
	Py_BEGIN_ALLOW_THREADS
	mc_store_get(sh->s, &g, 1, 0);
	Py_END_ALLOW_THREADS
	store_put(sh);
	return PyLong_FromLongLong(mc_store_code(g.result));
}

static PyObject *put_ptr(PyObject *self, const struct sig *sig, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
			 uint32_t flags)
{
	struct mc_put p = { .nr_iov = 1 };
	struct put_config cfg;
	struct mc_iov iov;
	uint64_t addr, size;
	struct shared *sh;
	PyObject *a[4];
	long ret = NOT_SET_UP;

	if (!bind_args(sig, args, nargs, kwnames, a) || !arg_key(a[0], "key", &p.key) || !arg_u64(a[1], "buffer_ptr", &addr) ||
	    !arg_u64(a[2], "size", &size) || !config_get(((struct store_obj *)self)->st, a[3], &cfg))
		return NULL;
	sh = store_get(self);
	if (sh && !cfg.same_node && config_valid(&cfg, 1) && (addr || !size)) {
		iov = (struct mc_iov){ ptr(addr), size };
		p.iov = &iov;
		cfg.opts.flags |= flags;
		Py_BEGIN_ALLOW_THREADS
		if (size)
			mc_store_put(sh->s, &p, 1, &cfg.opts, 0);
		Py_END_ALLOW_THREADS
		ret = size ? (long)mc_store_code(p.result) : 0; /* nothing to store: nothing is stored */
	}
	if (sh)
		store_put(sh);
	config_put(&cfg);
	return PyLong_FromLong(ret);
}

METHOD(put_from)
{
	static const struct sig sig = { "put_from", { "key", "buffer_ptr", "size", "config", NULL }, 3, 0 };

	return put_ptr(self, &sig, args, nargs, kwnames, 0);
}

METHOD(upsert_from)
{
	static const struct sig sig = { "upsert_from", { "key", "buffer_ptr", "size", "config", NULL }, 3, 0 };

	return put_ptr(self, &sig, args, nargs, kwnames, MC_PUT_REPLACE);
}

/* Failed writes answer with a positive number here, as callers of this one call know it. */
METHOD(put_from_with_metadata)
{
	static const struct sig sig = { "put_from_with_metadata",
					{ "key", "buffer_ptr", "metadata_buffer_ptr", "size", "metadata_size", "config", NULL },
					5,
					0 };
	struct mc_put p = { .nr_iov = 2 };
	uint64_t addr, meta, size, meta_size;
	struct put_config cfg;
	struct mc_iov iov[2];
	struct shared *sh;
	PyObject *a[6];
	long ret = -1;

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_key(a[0], "key", &p.key) || !arg_u64(a[1], "buffer_ptr", &addr) ||
	    !arg_u64(a[2], "metadata_buffer_ptr", &meta) || !arg_u64(a[3], "size", &size) ||
	    !arg_u64(a[4], "metadata_size", &meta_size) || !config_get(((struct store_obj *)self)->st, a[5], &cfg))
		return NULL;
	sh = store_get(self);
	if (!sh) {
		ret = NOT_SET_UP;
	} else if (!size) {
		ret = 0;
	} else if (!cfg.same_node) {
		iov[0] = (struct mc_iov){ ptr(meta), meta_size };
		iov[1] = (struct mc_iov){ ptr(addr), size };
		p.iov = iov;
		p.result = -EINVAL;
		Py_BEGIN_ALLOW_THREADS
		if (config_valid(&cfg, 1))
			mc_store_put(sh->s, &p, 1, &cfg.opts, 0);
		Py_END_ALLOW_THREADS
		ret = -(long)mc_store_code(p.result);
	}
	if (sh)
		store_put(sh);
	config_put(&cfg);
	return PyLong_FromLong(ret);
}

/* ---- batches -------------------------------------------------------------------------------------------------------- */

/* keys, addresses and sizes of a batch: per key one piece, or several. */
struct batch {
	PyObject *keys, *t1, *t2; /* keep everything alive */
	uint64_t *addr, *size;
	struct mc_key *key;
	struct mc_iov *iov;
	unsigned *nr_iov; /* per key */
	Py_ssize_t nr;
	bool mismatch; /* lists of different lengths: every result is -600 */
};

static void batch_free(struct batch *b)
{
	PyMem_Free(b->addr);
	PyMem_Free(b->size);
	PyMem_Free(b->key);
	PyMem_Free(b->iov);
	PyMem_Free(b->nr_iov);
	Py_XDECREF(b->keys);
	Py_XDECREF(b->t1);
	Py_XDECREF(b->t2);
}

static bool batch_keys(struct batch *b, PyObject *keys)
{
	memset(b, 0, sizeof(*b));
	b->keys = arg_tuple(keys, "keys");
	if (!b->keys)
		return false;
	b->nr = PyTuple_Size(b->keys);
	b->key = PyMem_Calloc((size_t)b->nr + 1, sizeof(*b->key));
	b->nr_iov = PyMem_Calloc((size_t)b->nr + 1, sizeof(*b->nr_iov));
	if (!b->key || !b->nr_iov) {
		PyErr_NoMemory();
		return false;
	}
	for (Py_ssize_t i = 0; i < b->nr; i++)
		if (!arg_key(PyTuple_GetItem(b->keys, i), "keys", &b->key[i]))
			return false;
	return true;
}

static bool batch_single(struct batch *b, PyObject *keys, PyObject *ptrs, PyObject *sizes)
{
	if (!batch_keys(b, keys))
		return false;
	b->t1 = arg_u64s(ptrs, "buffer_ptrs", &b->addr);
	b->t2 = b->t1 ? arg_u64s(sizes, "sizes", &b->size) : NULL;
	if (!b->t2)
		return false;
	b->mismatch = PyTuple_Size(b->t1) != b->nr || PyTuple_Size(b->t2) != b->nr;
	if (b->mismatch)
		return true;
	b->iov = PyMem_Calloc((size_t)b->nr + 1, sizeof(*b->iov));
	if (!b->iov) {
		PyErr_NoMemory();
		return false;
	}
	for (Py_ssize_t i = 0; i < b->nr; i++) {
		b->iov[i] = (struct mc_iov){ ptr(b->addr[i]), b->size[i] };
		b->nr_iov[i] = 1;
	}
	return true;
}

/* One more key's pieces at the end of b->iov, which has @used of them. */
static bool add_pieces(struct batch *b, Py_ssize_t i, PyObject *ptrs, PyObject *sizes, size_t *used)
{
	uint64_t *addr = NULL, *size = NULL;
	PyObject *t1, *t2 = NULL;
	struct mc_iov *more;
	bool ok = false;
	Py_ssize_t n;

	t1 = arg_u64s(ptrs, "all_buffer_ptrs", &addr);
	t2 = t1 ? arg_u64s(sizes, "all_sizes", &size) : NULL;
	if (!t2)
		goto out;
	n = PyTuple_Size(t1);
	ok = true;
	if (n != PyTuple_Size(t2)) {
		b->mismatch = true;
		goto out;
	}
	more = PyMem_Realloc(b->iov, (*used + (size_t)n + 1) * sizeof(*more));
	if (!more) {
		PyErr_NoMemory();
		ok = false;
		goto out;
	}
	b->iov = more;
	for (Py_ssize_t k = 0; k < n; k++)
		more[(*used)++] = (struct mc_iov){ ptr(addr[k]), size[k] };
	b->nr_iov[i] = (unsigned)n;
out:
	PyMem_Free(addr);
	PyMem_Free(size);
	Py_XDECREF(t1);
	Py_XDECREF(t2);
	return ok;
}

static bool batch_multi(struct batch *b, PyObject *keys, PyObject *all_ptrs, PyObject *all_sizes)
{
	size_t used = 0;

	if (!batch_keys(b, keys))
		return false;
	b->t1 = arg_tuple(all_ptrs, "all_buffer_ptrs");
	b->t2 = b->t1 ? arg_tuple(all_sizes, "all_sizes") : NULL;
	if (!b->t2)
		return false;
	b->mismatch = PyTuple_Size(b->t1) != b->nr || PyTuple_Size(b->t2) != b->nr;
	for (Py_ssize_t i = 0; i < b->nr && !b->mismatch; i++)
		if (!add_pieces(b, i, PyTuple_GetItem(b->t1, i), PyTuple_GetItem(b->t2, i), &used))
			return false;
	return true;
}

static PyObject *batch_put(PyObject *self, struct batch *b, struct put_config *cfg, uint32_t flags, PyObject *missing)
{
	struct shared *sh = store_get(self);
	struct mc_put *p = NULL;
	int64_t *code = NULL;
	PyObject *out = NULL;
	size_t at = 0;

	if (!sh)
		return missing;
	Py_XDECREF(missing);
	if (b->mismatch || !config_valid(cfg, b->nr)) {
		out = list_of_value(b->nr, NOT_SET_UP);
		goto done;
	}
	p = PyMem_Calloc((size_t)b->nr + 1, sizeof(*p));
	code = PyMem_Calloc((size_t)b->nr + 1, sizeof(*code));
	if (!p || !code) {
		PyErr_NoMemory();
		goto done;
	}
	for (Py_ssize_t i = 0; i < b->nr; i++) {
		p[i] = (struct mc_put){ .key = b->key[i], .iov = b->iov + at, .nr_iov = b->nr_iov[i] };
		at += b->nr_iov[i];
	}
	cfg->opts.flags |= flags;
	Py_BEGIN_ALLOW_THREADS
	mc_store_put(sh->s, p, (unsigned)b->nr, &cfg->opts, 0);
	Py_END_ALLOW_THREADS
	for (Py_ssize_t i = 0; i < b->nr; i++)
		code[i] = p[i].result;
	out = list_of_codes(code, b->nr);
done:
	PyMem_Free(code);
	PyMem_Free(p);
	store_put(sh);
	return out;
}

static PyObject *batch_put_single(PyObject *self, const struct sig *sig, PyObject *const *args, Py_ssize_t nargs,
				  PyObject *kwnames, uint32_t flags)
{
	struct put_config cfg;
	PyObject *a[4], *out = NULL;
	struct batch b;

	if (!bind_args(sig, args, nargs, kwnames, a) || !config_get(((struct store_obj *)self)->st, a[3], &cfg))
		return NULL;
	if (batch_single(&b, a[0], a[1], a[2])) {
		if (cfg.same_node)
			out = list_of_value(b.nr, NOT_SET_UP);
		else
			out = batch_put(self, &b, &cfg, flags, list_of_value(b.nr, NOT_SET_UP));
	}
	batch_free(&b);
	config_put(&cfg);
	return out;
}

METHOD(batch_put_from)
{
	static const struct sig sig = { "batch_put_from", { "keys", "buffer_ptrs", "sizes", "config", NULL }, 3, 0 };

	return batch_put_single(self, &sig, args, nargs, kwnames, 0);
}

METHOD(batch_upsert_from)
{
	static const struct sig sig = { "batch_upsert_from", { "keys", "buffer_ptrs", "sizes", "config", NULL }, 3, 0 };

	return batch_put_single(self, &sig, args, nargs, kwnames, MC_PUT_REPLACE);
}

METHOD(batch_put_from_multi_buffers)
{
	static const struct sig sig = { "batch_put_from_multi_buffers",
					{ "keys", "all_buffer_ptrs", "all_sizes", "config", NULL },
					3,
					0 };
	struct put_config cfg;
	PyObject *a[4], *out = NULL;
	struct batch b;

	if (!bind_args(&sig, args, nargs, kwnames, a) || !config_get(((struct store_obj *)self)->st, a[3], &cfg))
		return NULL;
	if (batch_multi(&b, a[0], a[1], a[2])) {
		if (cfg.same_node && cfg.opts.replicas != 1)
			out = list_of_value(b.nr, NOT_SET_UP);
		else
			out = batch_put(self, &b, &cfg, 0, PyList_New(0));
	}
	batch_free(&b);
	config_put(&cfg);
	return out;
}

static PyObject *batch_get(PyObject *self, struct batch *b, PyObject *missing)
{
	struct shared *sh = store_get(self);
	struct mc_get *g = NULL;
	int64_t *code = NULL;
	PyObject *out = NULL;
	size_t at = 0;

	if (!sh)
		return missing;
	Py_XDECREF(missing);
	if (b->mismatch) {
		out = list_of_value(b->nr, NOT_SET_UP);
		goto done;
	}
	g = PyMem_Calloc((size_t)b->nr + 1, sizeof(*g));
	code = PyMem_Calloc((size_t)b->nr + 1, sizeof(*code));
	if (!g || !code) {
		PyErr_NoMemory();
		goto done;
	}
	for (Py_ssize_t i = 0; i < b->nr; i++) {
		g[i] = (struct mc_get){ .key = b->key[i], .iov = b->iov + at, .nr_iov = b->nr_iov[i] };
		at += b->nr_iov[i];
	}
	Py_BEGIN_ALLOW_THREADS
	mc_store_get(sh->s, g, (unsigned)b->nr, 0);
	Py_END_ALLOW_THREADS
	for (Py_ssize_t i = 0; i < b->nr; i++)
		code[i] = g[i].result;
	out = list_of_codes(code, b->nr);
done:
	PyMem_Free(code);
	PyMem_Free(g);
	store_put(sh);
	return out;
}

METHOD(batch_get_into)
{
	static const struct sig sig = { "batch_get_into", { "keys", "buffer_ptrs", "sizes", NULL }, 3, 0 };
	PyObject *a[3], *out = NULL;
	struct batch b;

	if (!bind_args(&sig, args, nargs, kwnames, a))
		return NULL;
	if (batch_single(&b, a[0], a[1], a[2]))
		out = batch_get(self, &b, list_of_value(b.nr, NOT_SET_UP));
	batch_free(&b);
	return out;
}

METHOD(batch_get_into_multi_buffers)
{
	static const struct sig sig = { "batch_get_into_multi_buffers",
					{ "keys", "all_buffer_ptrs", "all_sizes", "prefer_alloc_in_same_node", NULL },
					3,
					0 };
	PyObject *a[4], *out = NULL;
	struct batch b;
	bool same_node;

	if (!bind_args(&sig, args, nargs, kwnames, a) || (a[3] && !arg_bool(a[3], "prefer_alloc_in_same_node", &same_node)))
		return NULL;
	if (batch_multi(&b, a[0], a[1], a[2]))
		out = batch_get(self, &b, list_of_value(b.nr, NOT_SET_UP));
	batch_free(&b);
	return out;
}

/* ---- get_into_ranges: buffers × keys × fragments ------------------------------------------------------------------------ */

/* One key of one buffer, as C values; the results go back into a list of the same shape. */
struct ranges {
	uint64_t *dst, *src, *len;
	Py_ssize_t nr;
	struct mc_slice *slices;
	bool refused;
};

static void ranges_free(struct ranges *r)
{
	PyMem_Free(r->dst);
	PyMem_Free(r->src);
	PyMem_Free(r->len);
	PyMem_Free(r->slices);
}

static bool ranges_read(struct ranges *r, PyObject *dst, PyObject *src, PyObject *len)
{
	PyObject *a, *b = NULL, *c = NULL;
	bool ok = false;

	memset(r, 0, sizeof(*r));
	a = arg_u64s(dst, "all_dst_offsets", &r->dst);
	b = a ? arg_u64s(src, "all_src_offsets", &r->src) : NULL;
	c = b ? arg_u64s(len, "all_sizes", &r->len) : NULL;
	if (c) {
		r->nr = PyTuple_Size(a);
		r->refused = PyTuple_Size(b) != r->nr || PyTuple_Size(c) != r->nr;
		r->slices = PyMem_Calloc((size_t)r->nr + 1, sizeof(*r->slices));
		ok = r->slices;
		if (!ok)
			PyErr_NoMemory();
	}
	Py_XDECREF(a);
	Py_XDECREF(b);
	Py_XDECREF(c);
	return ok;
}

static PyObject *ranges_result(const struct ranges *r)
{
	PyObject *list = PyList_New(r->nr), *x;

	for (Py_ssize_t i = 0; list && i < r->nr; i++) {
		x = PyLong_FromLongLong(r->refused ? NOT_SET_UP : mc_store_code(r->slices[i].result));
		if (!x || PyList_SetItem(list, i, x))
			Py_CLEAR(list);
	}
	return list;
}

/* All keys of one buffer in one batch. Fragments outside of registered memory are refused before anything is read. */
static PyObject *ranges_of_buffer(struct shared *sh, uint64_t base, PyObject *keys, PyObject *dst, PyObject *src, PyObject *len)
{
	Py_ssize_t nr = PyTuple_Size(keys), n = 0;
	struct ranges *r = PyMem_Calloc((size_t)nr + 1, sizeof(*r));
	struct mc_get_slices *g = PyMem_Calloc((size_t)nr + 1, sizeof(*g));
	PyObject *out = NULL, *x;

	for (; r && g && n < nr; n++) {
		if (!ranges_read(&r[n], PyTuple_GetItem(dst, n), PyTuple_GetItem(src, n), PyTuple_GetItem(len, n)) ||
		    !arg_key(PyTuple_GetItem(keys, n), "all_keys", &g[n].key)) {
			n++;
			goto done;
		}
		g[n].slices = r[n].slices;
		for (Py_ssize_t i = 0; i < r[n].nr && !r[n].refused; i++) {
			uint64_t at = base + r[n].dst[i];
			/* An unusable destination is asked for beyond any object: it is refused there, the others are read. */
			bool fits = base && at >= base && mc_store_buffer_has(sh->s, ptr(at), r[n].len[i] ? r[n].len[i] : 1) == 1;

			r[n].slices[i] = (struct mc_slice){ ptr(at), fits ? r[n].src[i] : UINT64_MAX, r[n].len[i], -EINVAL };
		}
		g[n].nr = r[n].refused ? 0 : (unsigned)r[n].nr;
	}
	if (!r || !g) {
		PyErr_NoMemory();
		goto done;
	}
	Py_BEGIN_ALLOW_THREADS
	mc_store_get_slices(sh->s, g, (unsigned)nr, 0);
	Py_END_ALLOW_THREADS
	out = PyList_New(nr);
	for (Py_ssize_t i = 0; out && i < nr; i++) {
		x = ranges_result(&r[i]);
		if (!x || PyList_SetItem(out, i, x))
			Py_CLEAR(out);
	}
done:
	for (Py_ssize_t i = 0; r && i < n; i++)
		ranges_free(&r[i]);
	PyMem_Free(r);
	PyMem_Free(g);
	return out;
}

/* The shape of @dst, filled with -600; 1 where an inner list is missing. */
static PyObject *refuse_shape(PyObject *keys, PyObject *dst)
{
	Py_ssize_t nr = PyTuple_Size(keys);
	PyObject *out = PyList_New(nr), *row, *inner;

	for (Py_ssize_t b = 0; out && b < nr; b++) {
		PyObject *d = b < PyTuple_Size(dst) ? PyTuple_GetItem(dst, b) : NULL;
		Py_ssize_t nk = PySequence_Size(PyTuple_GetItem(keys, b));

		row = nk < 0 ? NULL : PyList_New(nk);
		for (Py_ssize_t k = 0; row && k < nk; k++) {
			PyObject *f = d && k < PySequence_Size(d) ? PySequence_GetItem(d, k) : NULL;

			inner = list_of_value(f ? PySequence_Size(f) : 1, NOT_SET_UP);
			Py_XDECREF(f);
			if (!inner || PyList_SetItem(row, k, inner))
				Py_CLEAR(row);
		}
		if (!row || PyList_SetItem(out, b, row))
			Py_CLEAR(out);
	}
	return out;
}

#define NR_RANGES 5

/* One buffer's row, or -600 in its shape when its inner lists disagree in length. */
static PyObject *ranges_row(struct shared *sh, uint64_t base, PyObject *const *t, Py_ssize_t b)
{
	PyObject *in[4] = { NULL }, *out = NULL, *keys1, *dst1;
	bool same = true;

	for (int i = 0; i < 4; i++) {
		in[i] = arg_tuple(PyTuple_GetItem(t[i + 1], b), "inner lists");
		if (!in[i])
			goto done;
		same = same && PyTuple_Size(in[i]) == PyTuple_Size(in[0]);
	}
	if (same) {
		out = ranges_of_buffer(sh, base, in[0], in[1], in[2], in[3]);
		goto done;
	}
	keys1 = PyTuple_Pack(1, in[0]);
	dst1 = PyTuple_Pack(1, in[1]);
	if (keys1 && dst1) {
		PyObject *shape = refuse_shape(keys1, dst1);

		if (shape)
			out = Py_NewRef(PyList_GetItem(shape, 0));
		Py_XDECREF(shape);
	}
	Py_XDECREF(keys1);
	Py_XDECREF(dst1);
done:
	for (int i = 0; i < 4; i++)
		Py_XDECREF(in[i]);
	return out;
}

METHOD(get_into_ranges)
{
	static const struct sig sig = { "get_into_ranges",
					{ "buffer_ptrs", "all_keys", "all_dst_offsets", "all_src_offsets", "all_sizes", NULL },
					5,
					0 };
	PyObject *a[NR_RANGES], *t[NR_RANGES] = { NULL }, *out = NULL, *row;
	uint64_t *base = NULL;
	struct shared *sh;
	bool same = true;

	if (!bind_args(&sig, args, nargs, kwnames, a))
		return NULL;
	t[0] = arg_u64s(a[0], "buffer_ptrs", &base);
	for (int i = 1; i < NR_RANGES; i++)
		t[i] = t[i - 1] ? arg_tuple(a[i], sig.params[i]) : NULL;
	sh = store_get(self);
	if (!t[NR_RANGES - 1])
		goto done;
	for (int i = 1; i < NR_RANGES; i++)
		same = same && PyTuple_Size(t[i]) == PyTuple_Size(t[0]);
	if (!sh || !same) {
		out = refuse_shape(t[1], t[2]);
		goto done;
	}
	out = PyList_New(PyTuple_Size(t[0]));
	for (Py_ssize_t b = 0; out && b < PyTuple_Size(t[0]); b++) {
		row = ranges_row(sh, base[b], t, b);
		if (!row || PyList_SetItem(out, b, row))
			Py_CLEAR(out);
	}
done:
	if (sh)
		store_put(sh);
	PyMem_Free(base);
	for (int i = 0; i < NR_RANGES; i++)
		Py_XDECREF(t[i]);
	return out;
}

PyMethodDef store_zero[] = {
	{ "register_buffer", CALL(register_buffer), FAST,
	  "register_buffer(buffer_ptr, size) -> int\n\nTell the store of memory that gets and puts will use. Returns 0; -600 null, empty,\n"
	  "or overlapping a registered range. The memory stays the caller's." },
	{ "unregister_buffer", CALL(unregister_buffer), FAST,
	  "unregister_buffer(buffer_ptr) -> int\n\nReturns 0; -600 when no registered range starts there." },
	{ "get_into", CALL(get_into), FAST,
	  "get_into(key, buffer_ptr, size) -> int\n\nRead an object into memory. Returns its bytes; -704 missing; -600 it is larger than\n"
	  "size (nothing is written); -800, -900 could not be read." },
	{ "put_from", CALL(put_from), FAST,
	  "put_from(key, buffer_ptr, size, config=ReplicateConfig()) -> int\n\nStore size bytes of memory. Returns 0 (size 0: nothing is\n"
	  "stored); codes as put()." },
	{ "upsert_from", CALL(upsert_from), FAST,
	  "upsert_from(key, buffer_ptr, size, config=ReplicateConfig()) -> int\n\nAs put_from(), but replaces what is there." },
	{ "put_from_with_metadata", CALL(put_from_with_metadata), FAST,
	  "put_from_with_metadata(key, buffer_ptr, metadata_buffer_ptr, size, metadata_size, config=ReplicateConfig()) -> int\n\n"
	  "Store metadata followed by data as one object. Returns 0; failed writes give the code WITHOUT its sign." },
	{ "batch_put_from", CALL(batch_put_from), FAST,
	  "batch_put_from(keys, buffer_ptrs, sizes, config=ReplicateConfig()) -> list[int]\n\nOne code per key, as put_from(); all -600\n"
	  "when the lists differ in length." },
	{ "batch_upsert_from", CALL(batch_upsert_from), FAST,
	  "batch_upsert_from(keys, buffer_ptrs, sizes, config=ReplicateConfig()) -> list[int]\n\nAs batch_put_from(), replacing." },
	{ "batch_put_from_multi_buffers", CALL(batch_put_from_multi_buffers), FAST,
	  "batch_put_from_multi_buffers(keys, all_buffer_ptrs, all_sizes, config=ReplicateConfig()) -> list[int]\n\n"
	  "Each object is the concatenation of its buffers, in order." },
	{ "batch_get_into", CALL(batch_get_into), FAST,
	  "batch_get_into(keys, buffer_ptrs, sizes) -> list[int]\n\nBytes or a code per key, as get_into()." },
	{ "batch_get_into_multi_buffers", CALL(batch_get_into_multi_buffers), FAST,
	  "batch_get_into_multi_buffers(keys, all_buffer_ptrs, all_sizes, prefer_alloc_in_same_node=False) -> list[int]\n\n"
	  "Each object fills its buffers in order. Object bytes or a code per key." },
	{ "get_into_ranges", CALL(get_into_ranges), FAST,
	  "get_into_ranges(buffer_ptrs, all_keys, all_dst_offsets, all_src_offsets, all_sizes) -> list[list[list[int]]]\n\n"
	  "Fragment f of key k for buffer b: all_sizes[b][k][f] bytes from object offset all_src_offsets[b][k][f] to\n"
	  "buffer_ptrs[b] + all_dst_offsets[b][k][f]. Buffers must be registered. Bytes or a code per fragment." },
	{ NULL, NULL, 0, NULL },
};
