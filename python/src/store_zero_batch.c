/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of the caller, by address, for many objects: per key one piece, or several. */
#include "store.h"

/* What the arguments of a batch say; the keys are theirs. */
struct batch {
	const struct mc_key *key;
	struct mc_iov *iov;
	unsigned *nr_iov; /* per key; 0: refused */
	Py_ssize_t nr;
	bool mismatch; /* lists of different lengths: every result is -600 */
};

static void batch_free(struct batch *b)
{
	PyMem_Free(b->iov);
	PyMem_Free(b->nr_iov);
}

static bool batch_open(struct batch *b, const struct arg *keys, Py_ssize_t nr_pieces)
{
	*b = (struct batch){ .key = keys->keys, .nr = keys->nr };
	b->nr_iov = PyMem_Calloc((size_t)b->nr + 1, sizeof(*b->nr_iov));
	b->iov = PyMem_Calloc((size_t)nr_pieces + 1, sizeof(*b->iov));
	if (b->nr_iov && b->iov)
		return true;
	batch_free(b);
	PyErr_NoMemory();
	return false;
}

/* keys, buffer_ptrs, sizes */
static bool batch_single(struct batch *b, const struct arg *a)
{
	size_t used = 0;

	if (!batch_open(b, a, a->nr))
		return false;
	b->mismatch = (a[1].nr != b->nr || a[2].nr != b->nr) && !tell_why(LENGTHS_DIFFER);
	for (Py_ssize_t i = 0; i < b->nr && !b->mismatch; i++) {
		b->iov[used] = piece(a[1].u64s[i], a[2].u64s[i]);
		b->nr_iov[i] = pieces_bytes(&b->iov[used], 1) != UINT64_MAX;
		used += b->nr_iov[i];
	}
	return true;
}

/* One more key's pieces at the end of b->iov, which has @used of them. */
static bool add_pieces(struct batch *b, Py_ssize_t i, PyObject *ptrs, PyObject *sizes, size_t *used)
{
	uint64_t *addr = NULL, *size = NULL;
	PyObject *t1 = arg_u64s(ptrs, "each of all_buffer_ptrs", &addr);
	PyObject *t2 = t1 ? arg_u64s(sizes, "each of all_sizes", &size) : NULL;
	Py_ssize_t n = t2 ? PyTuple_Size(t1) : 0;
	struct mc_iov *more = NULL;

	if (t2 && n != PyTuple_Size(t2)) {
		b->mismatch = !tell_why(LENGTHS_DIFFER);
	} else if (t2) {
		more = PyMem_Realloc(b->iov, (*used + (size_t)n + 1) * sizeof(*more));
		if (!more)
			PyErr_NoMemory();
	}
	if (more) {
		b->iov = more;
		for (Py_ssize_t k = 0; k < n; k++)
			more[*used + (size_t)k] = piece(addr[k], size[k]);
		if (pieces_bytes(&more[*used], (unsigned)n) != UINT64_MAX) {
			b->nr_iov[i] = (unsigned)n;
			*used += (size_t)n;
		}
	}
	PyMem_Free(addr);
	PyMem_Free(size);
	Py_XDECREF(t1);
	Py_XDECREF(t2);
	return more || b->mismatch;
}

/* keys, all_buffer_ptrs, all_sizes */
static bool batch_multi(struct batch *b, const struct arg *a)
{
	size_t used = 0;

	if (!batch_open(b, a, 0))
		return false;
	b->mismatch = (a[1].nr != b->nr || a[2].nr != b->nr) && !tell_why(LENGTHS_DIFFER);
	for (Py_ssize_t i = 0; i < b->nr && !b->mismatch; i++) {
		if (add_pieces(b, i, PyTuple_GetItem(a[1].list, i), PyTuple_GetItem(a[2].list, i),
			       &used))
			continue;
		batch_free(b);
		return false;
	}
	return true;
}

/* Arrays of mc_put or mc_get, whose first fields are alike. */
#define FILL(items, b)                                                  \
	do {                                                            \
		const struct mc_iov *at_ = (b)->iov;                    \
                                                                        \
		for (Py_ssize_t i_ = 0; i_ < (b)->nr && !(b)->mismatch; \
		     at_ += (b)->nr_iov[i_++]) {                        \
			(items)[i_].key = (b)->key[i_];                 \
			(items)[i_].iov = at_;                          \
			(items)[i_].nr_iov = (b)->nr_iov[i_];           \
			(items)[i_].result = -EINVAL;                   \
		}                                                       \
	} while (0)

/* Those that the store may not use are refused like those without an address. */
#define REFUSE(items, b)                                                                            \
	do {                                                                                        \
		for (Py_ssize_t i_ = 0; i_ < (b)->nr && !(b)->mismatch; i_++)                       \
			if (!pieces_usable(self, (items)[i_].iov, (items)[i_].nr_iov))              \
				(items)[i_].nr_iov = 0;                                             \
	} while (0)

static PyObject *put_batch(PyObject *self, struct batch *b, struct put_config *cfg, uint32_t flags)
{
	struct mc_put *p = PyMem_Calloc((size_t)b->nr + 1, sizeof(*p));
	PyObject *out;

	if (!p)
		return PyErr_NoMemory();
	FILL(p, b);
	REFUSE(p, b);
	cfg->opts.flags |= flags;
	out = !b->mismatch && config_valid(cfg, b->nr) && run_put(self, p, b->nr, &cfg->opts) ?
		      LIST_OF_CODES(p, b->nr) :
		      list_of_value(b->nr, NOT_SET_UP);
	PyMem_Free(p);
	return out;
}

static PyObject *get_batch(PyObject *self, struct batch *b)
{
	struct mc_get *g = PyMem_Calloc((size_t)b->nr + 1, sizeof(*g));
	PyObject *out;

	if (!g)
		return PyErr_NoMemory();
	FILL(g, b);
	REFUSE(g, b);
	out = !b->mismatch && run_get(self, g, b->nr) ? LIST_OF_CODES(g, b->nr) :
							list_of_value(b->nr, NOT_SET_UP);
	PyMem_Free(g);
	return out;
}

/* ---- one piece per key ---------------------------------------------------------------------- */

static PyObject *put_single(PyObject *self, const struct sig *sig, ARGS, uint32_t flags)
{
	PyObject *out = NULL;
	struct arg a[4];
	struct batch b;

	if (!TAKE(sig, a))
		return NULL;
	if (!config_put_valid(&a[3].config, a[0].nr)) {
		out = list_of_value(a[0].nr, NOT_SET_UP);
	} else if (batch_single(&b, a)) {
		out = put_batch(self, &b, &a[3].config, flags);
		batch_free(&b);
	}
	args_drop(sig, a);
	return out;
}

#define POINTERS                                           \
	{ "keys", ARG_KEYS }, { "buffer_ptrs", ARG_U64S }, \
	{                                                  \
		"sizes", ARG_U64S                          \
	}

METHOD(batch_put_from)
{
	static const struct sig sig = {
		"batch_put_from", 3, 0, { POINTERS, { "config", ARG_CONFIG } }
	};

	return put_single(self, &sig, PASSED, 0);
}

METHOD(batch_upsert_from)
{
	static const struct sig sig = {
		"batch_upsert_from", 3, 0, { POINTERS, { "config", ARG_CONFIG } }
	};

	return put_single(self, &sig, PASSED, MC_PUT_REPLACE);
}

METHOD(batch_get_into)
{
	static const struct sig sig = { "batch_get_into", 3, 0, { POINTERS } };
	PyObject *out = NULL;
	struct arg a[3];
	struct batch b;

	if (!TAKE(&sig, a))
		return NULL;
	if (batch_single(&b, a)) {
		out = get_batch(self, &b);
		batch_free(&b);
	}
	args_drop(&sig, a);
	return out;
}

/* ---- several pieces per key ----------------------------------------------------------------- */

#define PIECES                                                 \
	{ "keys", ARG_KEYS }, { "all_buffer_ptrs", ARG_LIST }, \
	{                                                      \
		"all_sizes", ARG_LIST                          \
	}

/* A store that is not set up gives an empty list here. */
METHOD(batch_put_from_multi_buffers)
{
	static const struct sig sig = {
		"batch_put_from_multi_buffers", 3, 0, { PIECES, { "config", ARG_CONFIG } }
	};
	const struct put_config *cfg;
	PyObject *out = NULL;
	struct arg a[4];
	struct batch b;

	if (!TAKE(&sig, a))
		return NULL;
	cfg = &a[3].config;
	if (batch_multi(&b, a)) {
		if (!config_alone_valid(cfg, b.nr))
			out = list_of_value(b.nr, NOT_SET_UP);
		else if (!store_is_open(self))
			out = PyList_New(0);
		else
			out = put_batch(self, &b, &a[3].config, 0);
		batch_free(&b);
	}
	args_drop(&sig, a);
	return out;
}

METHOD(batch_get_into_multi_buffers)
{
	static const struct sig sig = { "batch_get_into_multi_buffers",
					3,
					0,
					{ PIECES, { "prefer_alloc_in_same_node", ARG_BOOL } } };
	PyObject *out = NULL;
	struct arg a[4];
	struct batch b;

	if (!TAKE(&sig, a))
		return NULL;
	if (batch_multi(&b, a)) {
		out = get_batch(self, &b);
		batch_free(&b);
	}
	args_drop(&sig, a);
	return out;
}

PyMethodDef store_zero_batch[] = {
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
