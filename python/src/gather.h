/* SPDX-License-Identifier: Apache-2.0 */
/* Types whose methods are spread over files: their tables become one before the type is made. */
#ifndef MC_PY_GATHER_H
#define MC_PY_GATHER_H

#include "core.h"

void store_gather(void);
void engine_gather(void);

/* @all, which has room for @max methods and the end, from @tables; once. Too many end the program. */
void gather(PyMethodDef *all, size_t max, PyMethodDef *const *tables, size_t nr);

#endif
