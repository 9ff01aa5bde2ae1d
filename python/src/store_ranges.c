/* SPDX-License-Identifier: Apache-2.0 */
/* get_into_ranges: fragments of objects into registered memory; buffers × keys × fragments. */
#include "store.h"

#define NR_LISTS 5

/*
 * One buffer, its keys, and one key's fragments, as C values. Texts and numbers live as long as
 * the tuples.
 */
struct frags {
	uint64_t *dst, *src, *len;
	Py_ssize_t nr;
	bool refused; /* inner lists of different lengths */
};

struct row {
	PyObject *keys;
	struct mc_key *key;
	struct frags *frags; /* per key */
	Py_ssize_t nr;
	bool refused;
};

static bool frags_read(struct frags *f, PyObject *dst, PyObject *src, PyObject *len)
{
	PyObject *a = arg_u64s(dst, "all_dst_offsets", &f->dst);
	PyObject *b = a ? arg_u64s(src, "all_src_offsets", &f->src) : NULL;
	PyObject *c = b ? arg_u64s(len, "all_sizes", &f->len) : NULL;

	if (c) {
		f->nr = PyTuple_Size(a);
		f->refused = PyTuple_Size(b) != f->nr || PyTuple_Size(c) != f->nr;
	}
	Py_XDECREF(a);
	Py_XDECREF(b);
	Py_XDECREF(c);
	return c;
}

static void row_free(struct row *r)
{
	for (Py_ssize_t k = 0; r->frags && k < r->nr; k++) {
		PyMem_Free(r->frags[k].dst);
		PyMem_Free(r->frags[k].src);
		PyMem_Free(r->frags[k].len);
	}
	PyMem_Free(r->frags);
	PyMem_Free(r->key);
	Py_XDECREF(r->keys);
}

/*
 * Lists of one buffer. Where they disagree, every key is refused, in the shape of the
 * destinations: 1 where one is missing.
 */
static bool row_read(struct row *r, PyObject *keys, PyObject *dst, PyObject *src, PyObject *len)
{
	PyObject *d = NULL, *s = NULL, *l = NULL;
	bool ok = false;

	r->keys = arg_keys(keys, "all_keys", &r->key);
	r->nr = r->keys ? PyTuple_Size(r->keys) : 0;
	d = r->keys ? arg_tuple(dst, "all_dst_offsets") : NULL;
	s = d ? arg_tuple(src, "all_src_offsets") : NULL;
	l = s ? arg_tuple(len, "all_sizes") : NULL;
	if (!l)
		goto out;
	r->frags = PyMem_Calloc((size_t)r->nr + 1, sizeof(*r->frags));
	if (!r->frags) {
		PyErr_NoMemory();
		goto out;
	}
	r->refused = PyTuple_Size(d) != r->nr || PyTuple_Size(s) != r->nr ||
		     PyTuple_Size(l) != r->nr;
	for (Py_ssize_t k = 0; k < r->nr; k++) {
		struct frags *f = &r->frags[k];

		if (!r->refused) {
			if (!frags_read(f, PyTuple_GetItem(d, k), PyTuple_GetItem(s, k),
					PyTuple_GetItem(l, k)))
				goto out;
			continue;
		}
		f->nr = k < PyTuple_Size(d) ? PySequence_Size(PyTuple_GetItem(d, k)) : 1;
		if (f->nr < 0)
			goto out;
	}
	ok = true;
out:
	Py_XDECREF(l);
	Py_XDECREF(s);
	Py_XDECREF(d);
	return ok;
}

/*
 * Every fragment of every row, in order; a refused row or key takes no part and keeps -EINVAL. Return: NULL, or why some are
 * refused.
 */
static const char *slices_of(struct shared *sh, const struct row *rows, const uint64_t *base,
				  Py_ssize_t nr, struct mc_get_slices *items, unsigned *nr_items,
				  struct mc_slice *slice)
{
	const char *why = NULL;

	for (Py_ssize_t b = 0; b < nr; b++) {
		for (Py_ssize_t k = 0; k < rows[b].nr; k++) {
			const struct frags *f = &rows[b].frags[k];
			bool refused = rows[b].refused || f->refused;

			why = refused ? LENGTHS_DIFFER : why;
			if (!refused)
				items[(*nr_items)++] = (struct mc_get_slices){ rows[b].key[k],
									       slice,
									       (unsigned)f->nr };
			for (Py_ssize_t i = 0; i < f->nr; i++, slice++) {
				uint64_t at = refused ? 0 : base[b] + f->dst[i];
				bool fits = !refused && base[b] && at >= base[b] &&
					    mc_store_buffer_has(sh->s, (void *)(uintptr_t)at,
								f->len[i] ? f->len[i] : 1) == 1;

				slice->result = -EINVAL;
				if (refused)
					continue;
				/*
				 * An unusable destination is asked for beyond any object: it is
				 * refused there, the others are read.
				 */
				why = fits ? why : "memory that is read into lies in no registered buffer";
				slice->dst = (void *)(uintptr_t)at;
				slice->src_off = fits ? f->src[i] : UINT64_MAX;
				slice->len = f->len[i];
			}
		}
	}
	return why;
}

/* Results in the shape of the rows. */
static PyObject *shape(const struct row *rows, Py_ssize_t nr, const struct mc_slice *slice)
{
	PyObject *out = PyList_New(nr), *keys, *frags, *x;

	for (Py_ssize_t b = 0; out && b < nr; b++) {
		keys = PyList_New(rows[b].nr);
		for (Py_ssize_t k = 0; keys && k < rows[b].nr; k++) {
			frags = PyList_New(rows[b].frags[k].nr);
			for (Py_ssize_t i = 0; frags && i < rows[b].frags[k].nr; i++, slice++) {
				x = PyLong_FromLongLong(mc_store_code(slice->result));
				if (!list_set(frags, i, x))
					Py_CLEAR(frags);
			}
			if (!list_set(keys, k, frags))
				Py_CLEAR(keys);
		}
		if (!list_set(out, b, keys))
			Py_CLEAR(out);
	}
	return out;
}

static PyObject *read_rows(PyObject *self, const struct row *rows, const uint64_t *base,
			   Py_ssize_t nr, bool refused)
{
	Py_ssize_t nr_keys = 0, nr_frags = 0;
	struct mc_get_slices *items;
	struct mc_slice *slices;
	struct shared *sh;
	PyObject *out = NULL;
	const char *why;
	unsigned n = 0;

	for (Py_ssize_t b = 0; b < nr; b++) {
		nr_keys += rows[b].nr;
		for (Py_ssize_t k = 0; k < rows[b].nr; k++)
			nr_frags += rows[b].frags[k].nr;
	}
	items = PyMem_Calloc((size_t)nr_keys + 1, sizeof(*items));
	slices = PyMem_Calloc((size_t)nr_frags + 1, sizeof(*slices));
	if (!items || !slices) {
		PyErr_NoMemory();
		goto done;
	}
	sh = refused ? NULL : store_get(self);
	why = refused ? LENGTHS_DIFFER : NULL;
	for (Py_ssize_t i = 0; i < nr_frags && !sh; i++)
		slices[i].result = -EINVAL;
	if (sh) {
		UNLOCKED(why = slices_of(sh, rows, base, nr, items, &n, slices);
			 mc_store_get_slices(sh->s, items, n, 0); store_put(sh));
	}
	if (why)
		tell_why(why);
	out = shape(rows, nr, slices);
done:
	PyMem_Free(items);
	PyMem_Free(slices);
	return out;
}

/* Outer lists of different lengths: everything is refused, in the shape that all_keys gives. */
static PyObject *ranges(PyObject *self, const struct arg *a, PyObject *none)
{
	Py_ssize_t nr = a[1].nr;
	struct row *rows = PyMem_Calloc((size_t)nr + 1, sizeof(*rows));
	bool refused = false, ok = rows;
	PyObject *out = NULL;

	if (!rows)
		PyErr_NoMemory();
	for (int i = 0; i < NR_LISTS; i++)
		refused = refused || a[i].nr != nr;
	for (Py_ssize_t b = 0; b < nr && ok; b++) {
		PyObject *in[NR_LISTS];

		for (int i = 1; i < NR_LISTS; i++)
			in[i] = b < a[i].nr ? PyTuple_GetItem(a[i].list, b) : none;
		ok = row_read(&rows[b], in[1], in[2], in[3], in[4]);
	}
	if (ok)
		out = read_rows(self, rows, a[0].u64s, nr, refused);
	for (Py_ssize_t b = 0; rows && b < nr; b++)
		row_free(&rows[b]);
	PyMem_Free(rows);
	return out;
}

METHOD(get_into_ranges)
{
	static const struct sig sig = { "get_into_ranges",
					5,
					0,
					{ { "buffer_ptrs", ARG_U64S },
					  { "all_keys", ARG_LIST },
					  { "all_dst_offsets", ARG_LIST },
					  { "all_src_offsets", ARG_LIST },
					  { "all_sizes", ARG_LIST } } };
	struct arg a[NR_LISTS];
	PyObject *none, *out;

	if (!TAKE(&sig, a))
		return NULL;
	none = PyTuple_New(0);
	out = none ? ranges(self, a, none) : NULL;
	Py_XDECREF(none);
	args_drop(&sig, a);
	return out;
}

PyMethodDef store_ranges[] = {
	{ "get_into_ranges", CALL(get_into_ranges), FAST,
	  "get_into_ranges($self, /, buffer_ptrs, all_keys, all_dst_offsets, all_src_offsets, "
	  "all_sizes)\n--\n\n"
	  "Fragment f of key k for buffer b: all_sizes[b][k][f] bytes from object offset "
	  "all_src_offsets[b][k][f] to\n"
	  "buffer_ptrs[b] + all_dst_offsets[b][k][f]. Buffers must be registered. Bytes or a code "
	  "per fragment." },
	{ NULL, NULL, 0, NULL },
};
