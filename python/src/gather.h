/* SPDX-License-Identifier: Apache-2.0 */
/* Types whose methods are spread over files: their tables become one before the type is made. */
#ifndef MC_PY_GATHER_H
#define MC_PY_GATHER_H

void store_gather(void);
void engine_gather(void);

#endif
