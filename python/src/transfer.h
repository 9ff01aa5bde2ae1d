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

/*
 * The two shapes of a transfer's method: with a direction of its own, or with an opcode and then perhaps
 * a message. @run does it: at once, or in the background.
 */
typedef PyObject *(*mover)(PyObject *self, const struct work *w, enum mc_op op, PyObject *note);
PyObject *move_fixed(PyObject *self, const struct sig *sig, ARGS, enum mc_op op, bool many, mover run);
PyObject *move_opcode(PyObject *self, const struct sig *sig, ARGS, bool many, mover run);

#endif
