/* SPDX-License-Identifier: Apache-2.0 */
/* One call stores tensors, one reads them; the methods differ in which arguments say what. */
#include "tensor.h"

#include <stdlib.h>

/* ---- storing -------------------------------------------------------------------------------- */

struct put_job { /* beside each item */
	PyObject *keep;
	struct mc_parallel parallel;
	struct mc_partition writer;
	bool refused;
};

static bool segments_match(const struct put_config *c)
{
	return !c->preferred || !c->opts.nr_preferred || c->opts.nr_preferred == c->opts.replicas ||
	       tell_why("preferred_segments has another length than replica_num says");
}

/* The @i-th of a list argument, or the argument itself. */
static PyObject *nth(const struct tensor_put_shape *shape, const struct arg *a, Py_ssize_t i)
{
	return shape->many ? PyTuple_GetItem(a->list, i) : a->o;
}

static uint64_t nth_u64(const struct tensor_put_shape *shape, const struct arg *a, Py_ssize_t i)
{
	return shape->many ? a->u64s[i] : a->u64;
}

/* None among @a's is left out. */
static PyObject *given(const struct tensor_put_shape *shape, const struct arg *a, Py_ssize_t i)
{
	PyObject *o = !a->o || a->o == Py_None ? NULL : nth(shape, a, i);

	return o == Py_None ? NULL : o;
}

static bool source_of(PyObject *self, const struct tensor_put_shape *shape, const struct arg *a,
		      Py_ssize_t i, struct mc_tensor_put *it, struct put_job *j)
{
	if (shape->tensor)
		return tensor_take(((struct store_obj *)self)->st, nth(shape, &a[shape->tensor], i),
				   it, &j->keep);
	it->packed = piece(nth_u64(shape, &a[shape->ptr], i), 0).addr;
	it->packed_bytes = nth_u64(shape, &a[shape->size], i);
	return it->packed && it->packed_bytes;
}

/* A whole tensor for all ranks; one rank is no cut at all. */
static bool cut_of(const struct tensor_put_shape *shape, const struct arg *a,
		   struct mc_tensor_put *it, struct put_job *j)
{
	int64_t size = shape->tp_size ? a[shape->tp_size].i64 : 1;
	int64_t dim = shape->split_dim && a[shape->split_dim].o ? a[shape->split_dim].i64 : 0;

	if (!shape->tp_size || !a[shape->tp_size].o || size <= 1)
		return true;
	if (size > INT32_MAX || dim < 0 || dim > MC_TENSOR_MAX_DIMS)
		return false;
	j->parallel = (struct mc_parallel){
		1, { { MC_AXIS_TENSOR, 0, (int32_t)size, (int32_t)dim, MC_AXIS_NONE } }
	};
	it->parallel = &j->parallel;
	it->flags = MC_TENSOR_SPLIT;
	return true;
}

static bool axes_of(const struct tensor_put_shape *shape, const struct arg *a, Py_ssize_t i,
		    struct mc_tensor_put *it, struct put_job *j)
{
	PyObject *p = shape->parallel ? given(shape, &a[shape->parallel], i) : NULL;
	PyObject *w = shape->writer ? given(shape, &a[shape->writer], i) : NULL;

	if ((p && !parallel_take(p, &j->parallel)) || (w && !writer_take(w, &j->writer)))
		return false;
	if (p) {
		it->parallel = &j->parallel;
		it->flags = shape->ptr ? MC_TENSOR_SPLIT :
					 0; /* memory holds the whole, a tensor the shard */
	}
	it->writer = w ? &j->writer : NULL;
	return true;
}

static bool lists_match(const struct tensor_put_shape *shape, const struct arg *a, Py_ssize_t nr)
{
	const int lists[] = { shape->tensor, shape->ptr, shape->size, shape->parallel,
			      shape->writer };

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]) && shape->many; i++)
		if (lists[i] && a[lists[i]].list && a[lists[i]].nr != nr)
			return tell_why(LENGTHS_DIFFER);
	return true;
}

static bool config_fits(const struct tensor_put_shape *shape, const struct arg *a, Py_ssize_t nr)
{
	const struct put_config *c = shape->config ? &a[shape->config].config : NULL;

	return !c || (config_alone_valid(c, nr) && (!shape->match_segments || segments_match(c)));
}

static void run(PyObject *self, struct mc_tensor_put *it, struct put_job *j, Py_ssize_t nr,
		const struct mc_put_opts *opts)
{
	struct shared *sh = store_get(self);

	if (sh)
		UNLOCKED(mc_store_put_tensors(sh->s, it, (unsigned)nr, opts, 0); store_put(sh));
	for (Py_ssize_t i = 0; i < nr; i++)
		if (!sh || j[i].refused)
			it[i].result = -EINVAL;
}

/* A refused item is no tensor to the library either. */
static void refuse(struct mc_tensor_put *it, struct put_job *j)
{
	struct mc_key key = it->key;

	*it = (struct mc_tensor_put){ .key = key, .tensor.dtype = -1 };
	j->refused = true;
}

static PyObject *put_items(PyObject *self, const struct tensor_put_shape *shape, struct arg *a,
			   Py_ssize_t nr)
{
	struct mc_tensor_put one = { .result = 0 }, *it = shape->many ? PyMem_Calloc((size_t)nr + 1, sizeof(*it)) : &one;
	struct put_job one_job = { .keep = NULL }, *j = shape->many ? PyMem_Calloc((size_t)nr + 1, sizeof(*j)) : &one_job;
	struct mc_put_opts opts = { .size = sizeof(opts) };
	PyObject *out = NULL;

	if (!it || !j) {
		PyErr_NoMemory();
		goto out;
	}
	if (shape->config)
		opts = a[shape->config].config.opts;
	opts.flags |= shape->flags;
	for (Py_ssize_t i = 0; i < nr; i++) {
		it[i].key = shape->many ? a[0].keys[i] : a[0].key;
		if (!source_of(self, shape, a, i, &it[i], &j[i]) ||
		    !cut_of(shape, a, &it[i], &j[i]) || !axes_of(shape, a, i, &it[i], &j[i]))
			refuse(&it[i], &j[i]);
		if (PyErr_Occurred())
			goto out;
	}
	run(self, it, j, nr, &opts);
	out = shape->many ? LIST_OF_CODES(it, nr) :
			    PyLong_FromLongLong(mc_store_code(it[0].result));
out:
	for (Py_ssize_t i = 0; j && i < nr; i++)
		Py_XDECREF(j[i].keep);
	if (shape->many) {
		PyMem_Free(j);
		PyMem_Free(it);
	}
	return out;
}

PyObject *tensor_put(PyObject *self, const struct tensor_put_shape *shape, ARGS)
{
	struct arg a[PARAMS_MAX];
	PyObject *out;
	Py_ssize_t nr;

	if (!TAKE(&shape->sig, a))
		return NULL;
	nr = shape->many ? a[0].nr : 1;
	if (!store_is_open(self) || !lists_match(shape, a, nr) ||
	    !config_fits(shape, a, nr))
		out = shape->many ? list_of_value(nr, NOT_SET_UP) : PyLong_FromLong(NOT_SET_UP);
	else
		out = put_items(self, shape, a, nr);
	args_drop(&shape->sig, a);
	return out;
}

/* ---- reading -------------------------------------------------------------------------------- */

/*
 * Where a tensor lands: memory of the caller, or memory of its own, with the elements at a multiple
 * of 64.
 */
#define SHIFT (64 - MC_TENSOR_HEADER_BYTES % 64)

struct land {
	struct room *room;
	struct tensor_memory own; /* the shift included */
	void *at; /* of the caller */
	uint64_t size;
};

static void *land_alloc(void *arg, uint64_t bytes)
{
	struct land *l = arg;

	if (l->at)
		return bytes <= l->size ? l->at : NULL;
	tensor_memory_free(&l->own);
	if (bytes > (uint64_t)PTRDIFF_MAX - SHIFT)
		return NULL;
	l->own = (struct tensor_memory){ l->room, room_alloc(l->room, bytes + SHIFT), bytes + SHIFT };
	if (!l->own.mem)
		return NULL;
	room_ref(l->room);
	return (char *)l->own.mem + SHIFT;
}

struct get_job {
	struct land land;
	struct mc_parallel parallel;
};

/*
 * The tensor, or None with the reason left out: what cannot be made is as good as missing. NULL with an exception that has to be
 * seen.
 */
static PyObject *tensor_of(struct core_state *st, const struct mc_tensor_get *it, struct get_job *j)
{
	void *at = j->land.at ? j->land.at : (char *)j->land.own.mem + SHIFT;
	PyObject *out = NULL;

	if (it->result >= 0)
		out = tensor_view(st, &j->land.own, at, (uint64_t)it->result, it->data_off, &it->tensor);
	tensor_memory_free(&j->land.own);
	return out || !forgive() ? out : Py_NewRef(Py_None);
}

static PyObject *tensors_of(struct core_state *st, const struct mc_tensor_get *it,
			    struct get_job *j, Py_ssize_t nr)
{
	PyObject *out = PyList_New(nr);

	for (Py_ssize_t i = 0; i < nr; i++) {
		if (!out)
			tensor_memory_free(&j[i].land.own);
		else if (!list_set(out, i, tensor_of(st, &it[i], &j[i])))
			Py_CLEAR(out);
	}
	return out;
}

static bool shard_of(const struct tensor_get_shape *shape, const struct arg *a,
		     struct mc_tensor_get *it, struct get_job *j)
{
	int64_t rank = shape->tp_rank && a[shape->tp_rank].o ? a[shape->tp_rank].i64 : 0;
	int64_t size = shape->tp_size && a[shape->tp_size].o ? a[shape->tp_size].i64 : 1;

	if (size <= 1)
		return true;
	if (rank < 0 || rank >= size || size > INT32_MAX)
		return false;
	j->parallel = (struct mc_parallel){
		1, { { MC_AXIS_TENSOR, (int32_t)rank, (int32_t)size, 0, MC_AXIS_NONE } }
	};
	it->parallel = &j->parallel;
	return true;
}

static bool place_of(const struct tensor_get_shape *shape, const struct arg *a, Py_ssize_t i,
		     const struct shared *sh, struct get_job *j)
{
	if (!shape->ptr)
		return true;
	j->land.at = piece(shape->many ? a[shape->ptr].u64s[i] : a[shape->ptr].u64, 0).addr;
	j->land.size = shape->many ? a[shape->size].u64s[i] : a[shape->size].u64;
	return j->land.at &&
	       (!shape->target || mc_store_buffer_has(sh->s, j->land.at, j->land.size) == 1);
}

static bool wish_of(const struct tensor_get_shape *shape, const struct arg *a, Py_ssize_t i,
		    struct mc_tensor_get *it, struct get_job *j)
{
	const struct arg *t = &a[shape->target];
	PyObject *o = !shape->target || !t->o || t->o == Py_None ? NULL :
		      shape->many				 ? PyTuple_GetItem(t->list, i) :
								   t->o;
	bool has;

	if (!shape->target)
		return true;
	if (!target_take(o, &it->mode, &j->parallel, &has))
		return false;
	it->parallel = has ? &j->parallel : NULL;
	return true;
}

static PyObject *get_items(PyObject *self, const struct tensor_get_shape *shape,
			   const struct arg *a, Py_ssize_t nr, struct shared *sh)
{
	struct core_state *st = ((struct store_obj *)self)->st;
	struct mc_tensor_get one, *it = shape->many ? PyMem_Calloc((size_t)nr + 1, sizeof(*it)) : &one;
	struct get_job one_job = { .parallel.nr_axes = 0 }, *j = shape->many ? PyMem_Calloc((size_t)nr + 1, sizeof(*j)) : &one_job;
	struct room *room = sh->room;
	PyObject *out = NULL;

	room_ref(room); /* tensors are made when the store may be closed already */
	if (!it || !j) {
		PyErr_NoMemory();
		goto out_put;
	}
	for (Py_ssize_t i = 0; i < nr; i++) {
		j[i].land.room = room;
		it[i] = (struct mc_tensor_get){ .key = shape->many ? a[0].keys[i] : a[0].key,
						.alloc = land_alloc,
						.arg = &j[i].land };
		if (!place_of(shape, a, i, sh, &j[i]) || !shard_of(shape, a, &it[i], &j[i]) ||
		    !wish_of(shape, a, i, &it[i], &j[i]))
			it[i].mode = -1; /* none: refused with -EINVAL */
		if (PyErr_Occurred())
			goto out_put;
	}
	UNLOCKED(mc_store_get_tensors(sh->s, it, (unsigned)nr, 0); store_put(sh));
	out = shape->many ? tensors_of(st, it, j, nr) : tensor_of(st, it, j);
	goto out;
out_put:
	UNLOCKED(store_put(sh));
out:
	room_unref(room);
	if (shape->many) {
		PyMem_Free(j);
		PyMem_Free(it);
	}
	return out;
}

static PyObject *list_of_none(Py_ssize_t nr)
{
	PyObject *list = PyList_New(nr);

	for (Py_ssize_t i = 0; list && i < nr; i++)
		if (!list_set(list, i, Py_NewRef(Py_None)))
			Py_CLEAR(list);
	return list;
}

static bool any_null(const struct arg *ptrs)
{
	for (Py_ssize_t i = 0; i < ptrs->nr; i++)
		if (!ptrs->u64s[i])
			return true;
	return false;
}

/* Batches into memory answer wrong arguments with codes, others with None. */
static PyObject *refusal(const struct tensor_get_shape *shape, Py_ssize_t nr)
{
	if (!shape->many)
		return Py_NewRef(Py_None);
	return shape->ptr ? list_of_value(nr, NOT_SET_UP) : list_of_none(nr);
}

PyObject *tensor_get(PyObject *self, const struct tensor_get_shape *shape, ARGS)
{
	struct shared *sh = NULL;
	struct arg a[PARAMS_MAX];
	PyObject *out;
	Py_ssize_t nr;
	bool fits;

	if (!TAKE(&shape->sig, a))
		return NULL;
	nr = shape->many ? a[0].nr : 1;
	fits = !shape->many ||
	       ((!shape->ptr || (a[shape->ptr].nr == nr && a[shape->size].nr == nr &&
				 !any_null(&a[shape->ptr]))) &&
		(!shape->target || !a[shape->target].list || a[shape->target].nr == nr));
	if (fits)
		sh = store_get(self);
	else
		tell_why("the lists differ in length, or an address is 0");
	out = sh ? get_items(self, shape, a, nr, sh) : refusal(shape, nr);
	args_drop(&shape->sig, a);
	return out;
}
