/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The extension module mooncake._core: glue between Python and the public C headers. Everything a
 * call means is in C below; here arguments become C values, the interpreter lock is released around
 * anything that can wait, results become objects.
 */
#ifndef MC_PY_CORE_H
#define MC_PY_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <mooncake/compat.h>
#include <mooncake/engine.h>
#include <mooncake/store.h>
#include <stdbool.h>
#include <stdint.h>

struct core_state { /* of the module */
	PyTypeObject *store, *config, *handle, *engine, *inner;
	PyObject *types; /* mooncake._types, written in Python; imported on first use */
	struct store_obj *live; /* stores that are set up, for the end of the interpreter */
	bool exit_hook;
};

struct core_state *core_state_of(
	PyTypeObject
		*type); /* also for Python subclasses of a type of ours; NULL with an exception */

/* ---- arguments (args.c) --------------------------------------------------------------------- */

struct sig {
	const char *name;	/* of the method, for messages */
	const char *params[14]; /* NULL-terminated */
	int required,
		positional; /* how many must be there; how many may only be given by position */
};

/*
 * out[i] is a borrowed reference, or NULL when left out. False with a TypeError that names the
 * method and the argument.
 */
bool bind_args(const struct sig *s, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
	       PyObject **out);

/* str (UTF-8) or bytes; the memory is the object's. */
bool arg_key(PyObject *o, const char *name, struct mc_key *out);
bool arg_text(PyObject *o, const char *name, const char **out); /* no NUL inside */
bool arg_u64(PyObject *o, const char *name, uint64_t *out); /* int or __index__ */
bool arg_bool(PyObject *o, const char *name,
	      bool *out); /* bool, or something with a truth of its own */

/* A sequence (not str or bytes) as a tuple that keeps its items alive; NULL with a TypeError. */
PyObject *arg_tuple(PyObject *o, const char *name);
/* The same, each item an integer; *out is PyMem memory of PyTuple_Size() entries. */
PyObject *arg_u64s(PyObject *o, const char *name, uint64_t **out);
/* The same, each item a key. */
PyObject *arg_keys(PyObject *o, const char *name, struct mc_key **out);

/* A readable, C-contiguous export; release with PyBuffer_Release(). */
bool arg_buffer(PyObject *o, const char *name, Py_buffer *out);

PyObject *list_of_codes(const int64_t *v, Py_ssize_t nr); /* through mc_store_code() */
PyObject *list_of_value(Py_ssize_t nr, long value);

/* ---- types ---------------------------------------------------------------------------------- */

extern PyType_Spec store_spec, config_spec, handle_spec, engine_spec, inner_spec;

/* As PyObject_GetAttrString(), which leaves a new string in the cache of types with every call. */
PyObject *attr(PyObject *o, const char *name);

PyObject *core_type(struct core_state *st,
		    const char *name); /* of mooncake._types; a new reference */

/*
 * ReplicateConfig (config.c) as C options: a copy, so that another thread may change the object
 * meanwhile.
 */
struct put_config {
	struct mc_put_opts opts;
	PyObject *names; /* tuple that keeps @preferred alive */
	const char **preferred;
	bool same_node;
	Py_ssize_t nr_groups; /* -1: no group_ids */
};
/* @o NULL: all defaults. False with a TypeError. */
bool config_get(struct core_state *st, PyObject *o, struct put_config *out);
void config_put(struct put_config *c);
/* Values that C refuses (-600): pins out of range and the like. */
bool config_valid(const struct put_config *c, Py_ssize_t nr_keys);

/*
 * BufferHandle (handle.c): takes over @mem, made by malloc, on success. @room is given back
 * @len bytes when it dies.
 */
struct room;
PyObject *handle_new(struct core_state *st, void *mem, size_t len, struct room *room);

/*
 * Bytes of a store that pass through the library's own memory: a limit and what is out.
 * Reference counted.
 */
struct room *room_new(uint64_t limit);
void room_ref(struct room *r);
void room_unref(struct room *r);
bool room_take(struct room *r, uint64_t len);
void room_give(struct room *r, uint64_t len);
uint64_t room_limit(const struct room *r);

/* ---- the engine, for setup(engine=…) (engine.c) --------------------------------------------- */

struct engine_ref;

/*
 * What get_engine() returned, or a TransferEngine: a reference, given back with engine_put().
 * NULL with a TypeError.
 */
struct engine_ref *engine_of(struct core_state *st, PyObject *o, struct mc_engine **out);
void engine_put(
	struct engine_ref
		*r); /* may close, so: without the interpreter lock when the last one could go */

#endif
