/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of the module about memory (memory.c). */
#ifndef MC_PY_MEMORY_H
#define MC_PY_MEMORY_H

#include "core.h"

/* segment.c: a descriptor of that many zeroed bytes, there already; OSError. */
PyObject *shared_memory(PyObject *module, PyObject *size);

PyObject *bind_to_numa_node(PyObject *module, PyObject *node);
PyObject *get_alloc_func_addr(PyObject *module, PyObject *unused);
PyObject *get_free_func_addr(PyObject *module, PyObject *unused);

#endif
