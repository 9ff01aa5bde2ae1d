/* SPDX-License-Identifier: Apache-2.0 */
/* What transfers at once and in the background share: their arguments, and these as C requests. */
#ifndef MC_PY_TRANSFER_H
#define MC_PY_TRANSFER_H

#include "engine.h"

/* Every transfer begins with these four; the rest differs. */
#define ONE_RANGE                                               \
	{ "target_hostname", ARG_NAME }, { "buffer", ARG_U64 }, \
		{ "peer_buffer_address", ARG_U64 },             \
	{                                                       \
		"length", ARG_U64                               \
	}
#define MANY_RANGES                                               \
	{ "target_hostname", ARG_NAME }, { "buffers", ARG_U64S }, \
		{ "peer_buffer_addresses", ARG_U64S },            \
	{                                                         \
		"lengths", ARG_U64S                               \
	}
#define HINT                               \
	{                                  \
		"transport_hint", ARG_TEXT \
	} /* checked, and not needed: the engine chooses */

/* What one call moves: parallel arrays, which are the arguments'. */
struct work {
	const char *peer; /* NULL: None was given, an error of the call and not of its type */
	const uint64_t *local, *remote, *len;
	Py_ssize_t nr;
	uint64_t bytes;
	bool mismatch;
};
struct work work_of(const struct arg *a, bool many);

/* The documented time-out: fixed, and a nanosecond more per byte. */
uint64_t work_deadline(const struct engine_obj *o, const struct work *w);

/* Opens the peer and judges the lists. 0; 1: there is nothing to move; a negative errno. */
int work_peer(struct engine_ref *r, const struct work *w, uint64_t deadline_ns,
	      struct mc_segment **out);

/* Requests and their vectors in one allocation, or inside for one. */
struct reqs {
	struct mc_request small, *req;
	struct mc_vec small_vec, *vec;
};
bool reqs_fill(struct reqs *q, const struct work *w, struct mc_segment *seg, enum mc_op op);
void reqs_free(struct reqs *q);

/* A member of TransferOpcode; plain ints are refused. */
bool arg_opcode(struct core_state *st, PyObject *v, enum mc_op *out);

#endif
