/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of the caller, by address: nothing is copied in between. */
#include "store.h"

#include <errno.h>
#include <string.h>

static void *ptr(uint64_t v)
{
	return (void *)(uintptr_t)v;
}

/* Bytes nowhere. */
static bool null_range(uint64_t addr, uint64_t size)
{
	return size && !addr;
}

/* ---- registration --------------------------------------------------------------------------- */

METHOD(register_buffer)
{
	static const struct sig sig = { "register_buffer", { "buffer_ptr", "size", NULL }, 2, 0 };
	uint64_t addr, size;
	struct shared *sh;
	PyObject *a[2];
	int ret = -1;

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_u64(a[0], "buffer_ptr", &addr) ||
	    !arg_u64(a[1], "size", &size))
		return NULL;
	sh = store_get(self);
	if (sh) {
		Py_BEGIN_ALLOW_THREADS ret = mc_store_buffer_add(sh->s, ptr(addr), size);
		store_put(sh);
		Py_END_ALLOW_THREADS
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
		Py_BEGIN_ALLOW_THREADS ret = mc_store_buffer_del(sh->s, ptr(addr));
		store_put(sh);
		Py_END_ALLOW_THREADS
	}
	return PyLong_FromLong(ret ? NOT_SET_UP : 0);
}

/* ---- one object ----------------------------------------------------------------------------- */

METHOD(get_into)
{
	static const struct sig sig = { "get_into", { "key", "buffer_ptr", "size", NULL }, 3, 0 };
	struct mc_get g = { .result = 0 };
	struct mc_iov iov;
	uint64_t addr, size;
	struct shared *sh;
	PyObject *a[3];

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_key(a[0], "key", &g.key) ||
	    !arg_u64(a[1], "buffer_ptr", &addr) || !arg_u64(a[2], "size", &size))
		return NULL;
	sh = null_range(addr, size) ? NULL : store_get(self);
	if (!sh)
		return PyLong_FromLong(NOT_SET_UP);
	iov = (struct mc_iov){ ptr(addr), size };
	g.iov = &iov;
	g.nr_iov = 1;
	Py_BEGIN_ALLOW_THREADS mc_store_get(sh->s, &g, 1, 0);
	store_put(sh);
	Py_END_ALLOW_THREADS return PyLong_FromLongLong(mc_store_code(g.result));
}

static PyObject *put_ptr(PyObject *self, const struct sig *sig, PyObject *const *args,
			 Py_ssize_t nargs, PyObject *kwnames, uint32_t flags)
{
	struct mc_put p = { .nr_iov = 1 };
	struct put_config cfg;
	struct mc_iov iov;
	uint64_t addr, size;
	struct shared *sh;
	PyObject *a[4];
	long ret = NOT_SET_UP;

	if (!bind_args(sig, args, nargs, kwnames, a) || !arg_key(a[0], "key", &p.key) ||
	    !arg_u64(a[1], "buffer_ptr", &addr) || !arg_u64(a[2], "size", &size) ||
	    !config_get(((struct store_obj *)self)->st, a[3], &cfg))
		return NULL;
	sh = !cfg.same_node && config_valid(&cfg, 1) && !null_range(addr, size) ? store_get(self) :
										  NULL;
	if (sh) {
		iov = (struct mc_iov){ ptr(addr), size };
		p.iov = &iov;
		cfg.opts.flags |= flags;
		Py_BEGIN_ALLOW_THREADS if (size) mc_store_put(sh->s, &p, 1, &cfg.opts, 0);
		store_put(sh);
		Py_END_ALLOW_THREADS ret = size ? (long)mc_store_code(p.result) :
						  0; /* nothing to store: nothing is stored */
	}
	config_put(&cfg);
	return PyLong_FromLong(ret);
}

METHOD(put_from)
{
	static const struct sig sig = {
		"put_from", { "key", "buffer_ptr", "size", "config", NULL }, 3, 0
	};

	return put_ptr(self, &sig, args, nargs, kwnames, 0);
}

METHOD(upsert_from)
{
	static const struct sig sig = {
		"upsert_from", { "key", "buffer_ptr", "size", "config", NULL }, 3, 0
	};

	return put_ptr(self, &sig, args, nargs, kwnames, MC_PUT_REPLACE);
}

/* Failed writes answer with a positive number here, as callers of this one call know it. */
METHOD(put_from_with_metadata)
{
	static const struct sig sig = { "put_from_with_metadata",
					{ "key", "buffer_ptr", "metadata_buffer_ptr", "size",
					  "metadata_size", "config", NULL },
					5,
					0 };
	struct mc_put p = { .nr_iov = 2 };
	uint64_t addr, meta, size, meta_size;
	struct put_config cfg;
	struct mc_iov iov[2];
	struct shared *sh;
	PyObject *a[6];
	bool valid;
	long ret = NOT_SET_UP;

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_key(a[0], "key", &p.key) ||
	    !arg_u64(a[1], "buffer_ptr", &addr) || !arg_u64(a[2], "metadata_buffer_ptr", &meta) ||
	    !arg_u64(a[3], "size", &size) || !arg_u64(a[4], "metadata_size", &meta_size) ||
	    !config_get(((struct store_obj *)self)->st, a[5], &cfg))
		return NULL;
	valid = config_valid(&cfg, 1) && !null_range(addr, size) && !null_range(meta, meta_size);
	sh = store_get(self);
	if (sh) {
		iov[0] = (struct mc_iov){ ptr(meta), meta_size };
		iov[1] = (struct mc_iov){ ptr(addr), size };
		p.iov = iov;
		p.result = size ? -EINVAL : 0;
		Py_BEGIN_ALLOW_THREADS if (size && valid && !cfg.same_node)
			mc_store_put(sh->s, &p, 1, &cfg.opts, 0);
		store_put(sh);
		Py_END_ALLOW_THREADS ret = size && cfg.same_node ? -1 :
								   -(long)mc_store_code(p.result);
	}
	config_put(&cfg);
	return PyLong_FromLong(ret);
}

/* ---- batches -------------------------------------------------------------------------------- */

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
	b->keys = arg_keys(keys, "keys", &b->key);
	if (!b->keys)
		return false;
	b->nr = PyTuple_Size(b->keys);
	b->nr_iov = PyMem_Calloc((size_t)b->nr + 1, sizeof(*b->nr_iov));
	if (!b->nr_iov)
		PyErr_NoMemory();
	return b->nr_iov;
}

static bool batch_single(struct batch *b, PyObject *keys, PyObject *ptrs, PyObject *sizes)
{
	size_t used = 0;

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
		b->nr_iov[i] = !null_range(b->addr[i], b->size[i]); /* no piece: refused below */
		b->iov[used] = (struct mc_iov){ ptr(b->addr[i]), b->size[i] };
		used += b->nr_iov[i];
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
	for (Py_ssize_t k = 0; k < n; k++) {
		if (null_range(addr[k], size[k]))
			goto out; /* no piece: refused below */
		more[*used + (size_t)k] = (struct mc_iov){ ptr(addr[k]), size[k] };
	}
	*used += (size_t)n;
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

/* With @empty, a store that is not set up gives an empty list, otherwise one -600 per key. */
static PyObject *batch_put(PyObject *self, struct batch *b, struct put_config *cfg, uint32_t flags,
			   bool empty)
{
	bool valid = !b->mismatch && config_valid(cfg, b->nr);
	struct mc_put *p = PyMem_Calloc((size_t)b->nr + 1, sizeof(*p));
	PyObject *out = NULL;
	struct shared *sh;
	size_t at = 0;

	if (!p)
		return PyErr_NoMemory();
	for (Py_ssize_t i = 0; i < b->nr && valid; i++) {
		p[i] = (struct mc_put){ .key = b->key[i],
					.iov = b->iov + at,
					.nr_iov = b->nr_iov[i],
					.result = -EINVAL };
		at += b->nr_iov[i];
	}
	sh = store_get(self);
	cfg->opts.flags |= flags;
	Py_BEGIN_ALLOW_THREADS if (sh && valid)
		mc_store_put(sh->s, p, (unsigned)b->nr, &cfg->opts, 0);
	if (sh)
		store_put(sh);
	Py_END_ALLOW_THREADS out = PyList_New(sh || !empty ? b->nr : 0);
	for (Py_ssize_t i = 0; out && i < PyList_Size(out); i++) {
		PyObject *x =
			PyLong_FromLongLong(sh && valid ? mc_store_code(p[i].result) : NOT_SET_UP);

		if (!x || PyList_SetItem(out, i, x))
			Py_CLEAR(out);
	}
	PyMem_Free(p);
	return out;
}

static PyObject *batch_put_single(PyObject *self, const struct sig *sig, PyObject *const *args,
				  Py_ssize_t nargs, PyObject *kwnames, uint32_t flags)
{
	struct put_config cfg;
	PyObject *a[4], *out = NULL;
	struct batch b;

	if (!bind_args(sig, args, nargs, kwnames, a) ||
	    !config_get(((struct store_obj *)self)->st, a[3], &cfg))
		return NULL;
	if (batch_single(&b, a[0], a[1], a[2])) {
		if (cfg.same_node)
			out = list_of_value(b.nr, NOT_SET_UP);
		else
			out = batch_put(self, &b, &cfg, flags, false);
	}
	batch_free(&b);
	config_put(&cfg);
	return out;
}

METHOD(batch_put_from)
{
	static const struct sig sig = {
		"batch_put_from", { "keys", "buffer_ptrs", "sizes", "config", NULL }, 3, 0
	};

	return batch_put_single(self, &sig, args, nargs, kwnames, 0);
}

METHOD(batch_upsert_from)
{
	static const struct sig sig = {
		"batch_upsert_from", { "keys", "buffer_ptrs", "sizes", "config", NULL }, 3, 0
	};

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

	if (!bind_args(&sig, args, nargs, kwnames, a) ||
	    !config_get(((struct store_obj *)self)->st, a[3], &cfg))
		return NULL;
	if (batch_multi(&b, a[0], a[1], a[2])) {
		if (cfg.same_node && cfg.opts.replicas != 1)
			out = list_of_value(b.nr, NOT_SET_UP);
		else
			out = batch_put(self, &b, &cfg, 0, true);
	}
	batch_free(&b);
	config_put(&cfg);
	return out;
}

static PyObject *batch_get(PyObject *self, struct batch *b)
{
	struct mc_get *g = PyMem_Calloc((size_t)b->nr + 1, sizeof(*g));
	PyObject *out = NULL;
	struct shared *sh;
	size_t at = 0;

	if (!g)
		return PyErr_NoMemory();
	for (Py_ssize_t i = 0; i < b->nr && !b->mismatch; i++) {
		g[i] = (struct mc_get){ .key = b->key[i],
					.iov = b->iov + at,
					.nr_iov = b->nr_iov[i],
					.result = -EINVAL };
		at += b->nr_iov[i];
	}
	sh = b->mismatch ? NULL : store_get(self);
	if (sh) {
		Py_BEGIN_ALLOW_THREADS mc_store_get(sh->s, g, (unsigned)b->nr, 0);
		store_put(sh);
		Py_END_ALLOW_THREADS
	}
	out = PyList_New(b->nr);
	for (Py_ssize_t i = 0; out && i < b->nr; i++) {
		PyObject *x = PyLong_FromLongLong(sh ? mc_store_code(g[i].result) : NOT_SET_UP);

		if (!x || PyList_SetItem(out, i, x))
			Py_CLEAR(out);
	}
	PyMem_Free(g);
	return out;
}

METHOD(batch_get_into)
{
	static const struct sig sig = {
		"batch_get_into", { "keys", "buffer_ptrs", "sizes", NULL }, 3, 0
	};
	PyObject *a[3], *out = NULL;
	struct batch b;

	if (!bind_args(&sig, args, nargs, kwnames, a))
		return NULL;
	if (batch_single(&b, a[0], a[1], a[2]))
		out = batch_get(self, &b);
	batch_free(&b);
	return out;
}

METHOD(batch_get_into_multi_buffers)
{
	static const struct sig sig = { "batch_get_into_multi_buffers",
					{ "keys", "all_buffer_ptrs", "all_sizes",
					  "prefer_alloc_in_same_node", NULL },
					3,
					0 };
	PyObject *a[4], *out = NULL;
	struct batch b;
	bool same_node;

	if (!bind_args(&sig, args, nargs, kwnames, a) ||
	    (a[3] && !arg_bool(a[3], "prefer_alloc_in_same_node", &same_node)))
		return NULL;
	if (batch_multi(&b, a[0], a[1], a[2]))
		out = batch_get(self, &b);
	batch_free(&b);
	return out;
}

PyMethodDef store_zero[] = {
	{ "register_buffer", CALL(register_buffer), FAST,
	  "register_buffer($self, /, buffer_ptr, size)\n--\n\nTell the store of memory that gets "
	  "and puts will use. Returns 0; -600 null, empty,\n"
	  "or overlapping a registered range. The memory stays the caller's." },
	{ "unregister_buffer", CALL(unregister_buffer), FAST,
	  "unregister_buffer($self, /, buffer_ptr)\n--\n\nReturns 0; -600 when no registered range "
	  "starts there." },
	{ "get_into", CALL(get_into), FAST,
	  "get_into($self, /, key, buffer_ptr, size)\n--\n\nRead an object into memory. Returns "
	  "its bytes; -704 missing; -600 it is larger than\n"
	  "size (nothing is written); -800, -900 could not be read." },
	{ "put_from", CALL(put_from), FAST,
	  "put_from($self, /, key, buffer_ptr, size, config=...)\n--\n\nStore size bytes of "
	  "memory. Returns 0 (size 0: nothing is\n"
	  "stored); codes as put()." },
	{ "upsert_from", CALL(upsert_from), FAST,
	  "upsert_from($self, /, key, buffer_ptr, size, config=...)\n--\n\nAs put_from(), but "
	  "replaces what is there." },
	{ "put_from_with_metadata", CALL(put_from_with_metadata), FAST,
	  "put_from_with_metadata($self, /, key, buffer_ptr, metadata_buffer_ptr, size, "
	  "metadata_size, config=...)\n--\n\n"
	  "Store metadata followed by data as one object. Returns 0; failed writes give the code "
	  "WITHOUT its sign." },
	{ "batch_put_from", CALL(batch_put_from), FAST,
	  "batch_put_from($self, /, keys, buffer_ptrs, sizes, config=...)\n--\n\nOne code per key, "
	  "as put_from(); all -600\n"
	  "when the lists differ in length." },
	{ "batch_upsert_from", CALL(batch_upsert_from), FAST,
	  "batch_upsert_from($self, /, keys, buffer_ptrs, sizes, config=...)\n--\n\nAs "
	  "batch_put_from(), replacing." },
	{ "batch_put_from_multi_buffers", CALL(batch_put_from_multi_buffers), FAST,
	  "batch_put_from_multi_buffers($self, /, keys, all_buffer_ptrs, all_sizes, "
	  "config=...)\n--\n\n"
	  "Each object is the concatenation of its buffers, in order." },
	{ "batch_get_into", CALL(batch_get_into), FAST,
	  "batch_get_into($self, /, keys, buffer_ptrs, sizes)\n--\n\nBytes or a code per key, as "
	  "get_into()." },
	{ "batch_get_into_multi_buffers", CALL(batch_get_into_multi_buffers), FAST,
	  "batch_get_into_multi_buffers($self, /, keys, all_buffer_ptrs, all_sizes, "
	  "prefer_alloc_in_same_node=False)\n--\n\n"
	  "Each object fills its buffers in order. Object bytes or a code per key." },
	{ NULL, NULL, 0, NULL },
};
