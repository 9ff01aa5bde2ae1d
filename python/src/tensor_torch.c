/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensors of torch through DLPack, the layout in which array libraries hand over memory: one call of torch each way, instead of
 * one for each thing to know. Anything out of the ordinary is left to mooncake._tensor.
 * Source: DLPack 0.8, dlpack.h; the names of capsules: the Python specification of DLPack.
 */
#include "tensor.h"

#include <stdlib.h>

#define FRESH "dltensor" /* a capsule whose tensor nobody has taken over */

enum { ON_CPU = 1, ON_CUDA_HOST = 3 }; /* memory that the processor reads */

struct dl_tensor {
	void *data;
	int32_t device, device_id;
	int32_t ndim;
	uint8_t code, bits;
	uint16_t lanes;
	int64_t *shape, *strides; /* in elements; no strides: row-major */
	uint64_t byte_offset;
};

struct dl_managed {
	struct dl_tensor t;
	void *context;
	void (*deleter)(struct dl_managed *self); /* any thread, with the interpreter lock or without */
};

/* By enum mc_dtype. */
static const struct {
	uint8_t code, bits;
} kinds[MC_NR_DTYPES] = {
	[MC_FLOAT32] = { 2, 32 }, [MC_FLOAT64] = { 2, 64 },	   [MC_INT8] = { 0, 8 },	    [MC_UINT8] = { 1, 8 },
	[MC_INT16] = { 0, 16 },	  [MC_UINT16] = { 1, 16 },	   [MC_INT32] = { 0, 32 },	    [MC_UINT32] = { 1, 32 },
	[MC_INT64] = { 0, 64 },	  [MC_UINT64] = { 1, 64 },	   [MC_BOOL] = { 6, 8 },	    [MC_FLOAT16] = { 2, 16 },
	[MC_BFLOAT16] = { 4, 16 }, [MC_FLOAT8_E4M3FN] = { 10, 8 }, [MC_FLOAT8_E5M2] = { 12, 8 },
};

static int32_t kind_of(const struct dl_tensor *t)
{
	for (int i = 0; i < MC_NR_DTYPES; i++)
		if (kinds[i].code == t->code && kinds[i].bits == t->bits)
			return i;
	return -1;
}

/* ---- from torch ----------------------------------------------------------------------------- */

static bool row_major(const struct dl_tensor *t)
{
	int64_t run = 1;

	for (int32_t i = t->ndim; t->strides && i-- > 0; run *= t->shape[i]) {
		if (!t->shape[i])
			return true;
		if (t->shape[i] != 1 && t->strides[i] != run)
			return false;
	}
	return true;
}

static bool plain(const struct dl_tensor *t)
{
	return (t->device == ON_CPU || t->device == ON_CUDA_HOST) && t->lanes == 1 && t->ndim >= 0 &&
	       t->ndim <= MC_TENSOR_MAX_DIMS && row_major(t);
}

/* Are its bytes those of its elements? A view may say that it has the other sign. */
static bool as_it_lies(const struct tensor_lib *lib, PyObject *o)
{
	PyObject *neg = PyObject_CallMethodObjArgs(o, lib->is_neg, NULL);

	Py_XDECREF(neg);
	return neg == Py_False;
}

bool torch_take(const struct tensor_lib *lib, PyObject *o, struct mc_tensor_put *it, PyObject **keep)
{
	PyObject *capsule = as_it_lies(lib, o) ? PyObject_CallFunctionObjArgs(lib->to_dlpack, o, NULL) : NULL;
	struct dl_managed *m = capsule ? PyCapsule_GetPointer(capsule, FRESH) : NULL;
	int32_t kind = m ? kind_of(&m->t) : -1;

	if (!m || !plain(&m->t) || kind < 0) {
		Py_XDECREF(capsule);
		return false;
	}
	it->tensor.dtype = kind;
	it->tensor.ndim = m->t.ndim;
	for (int32_t i = 0; i < m->t.ndim; i++)
		it->tensor.shape[i] = m->t.shape[i];
	it->data = (char *)m->t.data + m->t.byte_offset;
	*keep = capsule; /* and with it the memory, until it goes */
	return true;
}

/* ---- to torch ------------------------------------------------------------------------------- */

struct lent_tensor {
	struct dl_managed m;
	int64_t shape[MC_TENSOR_MAX_DIMS], strides[MC_TENSOR_MAX_DIMS];
	struct tensor_memory memory;
};

static void tensor_gone(struct dl_managed *m)
{
	struct lent_tensor *l = m->context;

	tensor_memory_free(&l->memory);
	free(l);
}

static void capsule_gone(PyObject *capsule)
{
	if (PyCapsule_IsValid(capsule, FRESH))
		tensor_gone(PyCapsule_GetPointer(capsule, FRESH));
}

static void describe(struct lent_tensor *l, const struct mc_tensor *t, void *data)
{
	int64_t run = 1;

	l->m = (struct dl_managed){ { .data = data,
				      .device = ON_CPU,
				      .ndim = t->ndim,
				      .code = kinds[t->dtype].code,
				      .bits = kinds[t->dtype].bits,
				      .lanes = 1,
				      .shape = l->shape,
				      .strides = l->strides },
				    l,
				    tensor_gone };
	for (int i = t->ndim; i-- > 0; run *= t->shape[i] ? t->shape[i] : 1) {
		l->shape[i] = t->shape[i];
		l->strides[i] = run;
	}
}

PyObject *torch_view(const struct tensor_lib *lib, struct tensor_memory *memory, void *data, const struct mc_tensor *t)
{
	struct lent_tensor *l = malloc(sizeof(*l));
	PyObject *capsule, *out = NULL;

	if (!l)
		return PyErr_NoMemory();
	describe(l, t, data);
	capsule = PyCapsule_New(&l->m, FRESH, capsule_gone);
	if (!capsule) {
		free(l);
		return NULL;
	}
	l->memory = *memory;
	*memory = (struct tensor_memory){ NULL };
	out = PyObject_CallFunctionObjArgs(lib->from_dlpack, capsule, NULL);
	Py_DECREF(capsule);
	return out;
}
