/* SPDX-License-Identifier: Apache-2.0 */
/* A tensor as the bytes of its object, and back, without a store: for callers that move such bytes themselves. */
#include "tensor.h"

static PyObject *not_a_tensor(const char *what)
{
	if (!PyErr_Occurred())
		PyErr_SetString(PyExc_ValueError, what);
	return NULL;
}

PyObject *serialize_tensor(PyObject *module, PyObject *o)
{
	struct mc_tensor_put it = { .result = 0 };
	uint8_t header[MC_TENSOR_HEADER_BYTES];
	PyObject *keep = NULL, *out = NULL;
	uint64_t bytes;

	if (!tensor_take(PyModule_GetState(module), o, &it, &keep))
		return not_a_tensor("not a tensor that can be stored: its type, layout or number "
				    "of dimensions");
	for (int i = 0; i < it.tensor.ndim; i++)
		it.tensor.whole_shape[i] = it.tensor.shape[i];
	if (!mc_tensor_bytes(&it.tensor, &bytes) && !mc_tensor_encode(&it.tensor, header))
		out = Py_BuildValue("y#KKO", (const char *)header, (Py_ssize_t)sizeof(header),
				    (unsigned long long)(uintptr_t)it.data, (unsigned long long)bytes,
				    PyCapsule_CheckExact(keep) ? o : keep); /* callers know a tensor there */
	else
		not_a_tensor("not a tensor that can be stored");
	Py_DECREF(keep);
	return out;
}

PyObject *deserialize_tensor(PyObject *module, PyObject *o)
{
	PyObject *memory, *out = NULL;
	struct mc_tensor t;
	uint64_t off;
	Py_ssize_t len;

	if (!PyObject_CheckBuffer(o)) /* a number is no size here */
		return PyErr_Format(PyExc_TypeError, "payload must be bytes-like");
	memory = PyByteArray_FromObject(o); /* writable, and nobody else's */
	if (!memory)
		return NULL;
	len = PyByteArray_Size(memory);
	if (len < (Py_ssize_t)MC_TENSOR_HEADER_BYTES ||
	    mc_tensor_decode(PyByteArray_AsString(memory), (uint64_t)len, &t, &off))
		not_a_tensor("not the bytes of a tensor object");
	else
		out = tensor_over(PyModule_GetState(module), memory, off, &t);
	Py_DECREF(memory);
	return out ? out : not_a_tensor("this installation cannot hold that type of tensor");
}
