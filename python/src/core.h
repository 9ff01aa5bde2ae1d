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
#include <mooncake/node.h>
#include <mooncake/store.h>
#include <mooncake/tensor.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * What belongs together where threads meet. The interpreter lock guards it in builds that have one, and this is nothing; a
 * free-threaded build has a lock for each. Held for a few loads and stores: nothing of Python's is called under it, so no
 * destructor runs.
 */
struct guard {
#ifdef Py_GIL_DISABLED
	PyMutex lock;
#endif
};

static inline void guard_lock(struct guard *g)
{
#ifdef Py_GIL_DISABLED
	PyMutex_Lock(&g->lock);
#endif
}

static inline void guard_unlock(struct guard *g)
{
#ifdef Py_GIL_DISABLED
	PyMutex_Unlock(&g->lock);
#endif
}

struct tensor_lib;

struct core_state { /* of the module */
	PyTypeObject *store, *config, *handle, *engine, *inner, *pool, *lease, *lease_view,
		*allocator, *calls, *call;
	_Atomic(PyObject *) types; /* mooncake._types, written in Python; imported on first use */
	_Atomic(struct tensor_lib *) tensor; /* mooncake._tensor, the same (tensor_lib.c) */
	struct guard lists;	/* for the next two; taken before the guard of a store */
	struct store_obj *live; /* stores that are set up, for the end of the interpreter */
	struct calls *queues;	/* of calls in the background (calls.c), the same */
	_Atomic bool exit_hook;
};

struct core_state *core_state_of(
	PyTypeObject
		*type); /* also for Python subclasses of a type of ours; NULL with an exception */

/* ---- methods -------------------------------------------------------------------------------- */

#define FAST	     (METH_FASTCALL | METH_KEYWORDS)
#define ARGS	     PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames
#define PASSED	     args, nargs, kwnames
#define METHOD(name) static PyObject *name(PyObject *self, ARGS)
#define CALL(f)	     ((PyCFunction)(void (*)(void))(f))

/* Runs statements that may wait. The interpreter lock is taken again when they are done. */
#define UNLOCKED(...)                                         \
	do {                                                  \
		PyThreadState *thread_ = PyEval_SaveThread(); \
		__VA_ARGS__;                                  \
		PyEval_RestoreThread(thread_);                \
	} while (0)

/* ---- arguments (args.c) --------------------------------------------------------------------- */

enum arg_kind {
	ARG_ANY,    /* not looked at */
	ARG_KEY,    /* str (UTF-8) or bytes; the memory is the object's */
	ARG_TEXT,   /* the same, with no NUL inside */
	ARG_NAME,   /* the same, or None: a NULL text */
	ARG_U64,    /* a non-negative int, or __index__ */
	ARG_I64,    /* an int, or __index__ */
	ARG_BOOL,   /* bool, or something with a truth of its own */
	ARG_BYTES,  /* a readable, C-contiguous export */
	ARG_LIST,   /* a sequence, not str or bytes */
	ARG_OPTIONS, /* the same, or None */
	ARG_KEYS,   /* the same, each item a key */
	ARG_U64S,   /* the same, each item an int */
	ARG_CONFIG, /* a ReplicateConfig; left out: all defaults */
};

#define PARAMS_MAX 14

struct param {
	const char *name;
	enum arg_kind kind;
};

struct sig {
	const char *name;		/* of the method, for messages */
	int required;			/* how many must be there */
	int positional;			/* how many may only be given by position */
	struct param param[PARAMS_MAX]; /* up to the first without a name */
};

/*
 * ReplicateConfig (config.c) as C options: a copy, so that another thread may change the object
 * meanwhile.
 */
struct put_config {
	struct mc_put_opts opts;
	PyObject *names; /* tuple that keeps @preferred alive */
	const char **preferred;
	PyObject *group_names; /* tuple that keeps @groups alive */
	struct mc_key *groups;
	bool same_node;
	const char *wrong; /* NULL, or why every put is refused */
	Py_ssize_t nr_groups; /* -1: no group_ids */
};

/* Always false: a call is refused that the library does not see, and last_error() says why. */
bool tell_why(const char *why);
#define LENGTHS_DIFFER "the lists differ in length"

/* An argument as a C value, valid until args_drop(). Left out: all zero, but for a config. */
struct arg {
	PyObject *o;	/* as it was given, borrowed; NULL: left out */
	PyObject *list; /* of lists: a tuple that keeps the items alive */
	Py_ssize_t nr;	/* its items */
	union {
		struct mc_key key;
		const char *text;
		uint64_t u64;
		int64_t i64;
		bool flag;
		Py_buffer bytes;
		struct mc_key *keys;
		uint64_t *u64s;
		struct put_config config;
	};
};

/*
 * Binds and converts all arguments. False with a TypeError that names the method or the argument,
 * and what was expected; then there is nothing to drop.
 */
bool args_take(struct core_state *st, const struct sig *s, ARGS, struct arg *out);
void args_drop(const struct sig *s, struct arg *a);

/* Conversions for what is no argument of a method: attributes, items of items. @name is for messages. */
bool arg_key(PyObject *o, const char *name, struct mc_key *out);
bool arg_text(PyObject *o, const char *name, const char **out);
bool arg_u64(PyObject *o, const char *name, uint64_t *out);
bool arg_i64(PyObject *o, const char *name, int64_t *out);
bool arg_bool(PyObject *o, const char *name, bool *out);
bool arg_buffer(PyObject *o, const char *name,
		Py_buffer *out); /* release with PyBuffer_Release() */
PyObject *arg_tuple(PyObject *o, const char *name);
PyObject *arg_keys(PyObject *o, const char *name, struct mc_key **out); /* *out: PyMem memory */
PyObject *arg_u64s(PyObject *o, const char *name, uint64_t **out);

/*
 * An exception that an object's own code raised only says that it is not such an object, and goes; what the program has to see
 * (KeyboardInterrupt and its like, no memory) stays. Return: none is left.
 */
bool forgive(void);

/* ---- results -------------------------------------------------------------------------------- */

/* Steals @x, which may be NULL with an exception. False with an exception. */
bool list_set(PyObject *list, Py_ssize_t i, PyObject *x);
PyObject *list_of_value(Py_ssize_t nr, long value);

/* The field "result" of an array of structs, as codes. */
#define LIST_OF_CODES(items, nr)                                                               \
	({                                                                                     \
		PyObject *list_ = PyList_New(nr);                                              \
                                                                                               \
		for (Py_ssize_t i_ = 0; list_ && i_ < (nr); i_++)                              \
			if (!list_set(list_, i_,                                               \
				      PyLong_FromLongLong(mc_store_code((items)[i_].result)))) \
				Py_CLEAR(list_);                                               \
		list_;                                                                         \
	})

/* ---- types ---------------------------------------------------------------------------------- */

extern PyType_Spec store_spec, config_spec, handle_spec, engine_spec, inner_spec, pool_spec,
	lease_spec, lease_view_spec, allocator_spec, calls_spec, call_spec;

/* As PyObject_GetAttrString(), which leaves a new string in the cache of types with every call. */
PyObject *attr(PyObject *o, const char *name);

PyObject *core_type(struct core_state *st,
		    const char *name); /* of mooncake._types; a new reference */

/*
 * Functions of the module. calls.c: what get() and get_into() of a store, its first argument, give when the object is here and
 * small, else None.
 */
PyObject *get_here(PyObject *module, ARGS);
PyObject *get_into_here(PyObject *module, ARGS);
PyObject *shutdown_store(PyObject *module, PyObject *store);
PyObject *note_error(PyObject *module, PyObject *call);

/* At the end of the interpreter: no call begins any more; then, when stores are closed, wait for those that run. */
void calls_stop_all(struct core_state *st);
void calls_close_all(struct core_state *st);

/* tensor_lib.c; NULL is fine. */
int tensor_lib_traverse(struct tensor_lib *lib, visitproc visit, void *arg);
void tensor_lib_free(struct tensor_lib *lib);

/* Functions of the module (tensor_format.c). */
PyObject *serialize_tensor(PyObject *module, PyObject *tensor);
PyObject *deserialize_tensor(PyObject *module, PyObject *payload);

/* ReplicateConfig (config.c). @o NULL: all defaults. False with a TypeError. */
bool config_get(struct core_state *st, PyObject *o, struct put_config *out);
void config_put(struct put_config *c);
/* Values that C refuses (-600): pins out of range and the like. */
bool config_valid(const struct put_config *c, Py_ssize_t nr_keys);
bool config_put_valid(const struct put_config *c, Py_ssize_t nr_keys); /* where prefer_alloc_in_same_node is refused */
bool config_alone_valid(const struct put_config *c, Py_ssize_t nr_keys); /* where it is for one replica */

/*
 * Room (room.c): memory of a store's own that objects are read into, limited by local_buffer_size. What is let go of waits there
 * for the next read, as far as the limit goes. Reference counted; any thread, with the interpreter lock or without.
 */
struct room;
struct room *room_new(uint64_t limit);
void room_ref(struct room *r);
void room_unref(struct room *r); /* NULL is fine */
void room_close(struct room *r); /* nothing waits in it from now on */
uint64_t room_limit(const struct room *r);
bool room_take(struct room *r, uint64_t len); /* counts @len bytes; false: they are over the limit */
void room_give(struct room *r, uint64_t len);
/* Memory aligned to 64, for room_free() with the same @len. Not counted while it is out. NULL: none is left. */
void *room_alloc(struct room *r, size_t len);
void room_free(struct room *r, void *mem, size_t len); /* NULL is fine */

/* Puts new memory that will be written whole on large pages, where they can be had: small ones take 20 times as long. */
void memory_fresh(void *mem, size_t len);

/* BufferHandle (handle.c): takes over @mem of @room, and, when @counted, what room_take() counted for it. */
PyObject *handle_new(struct core_state *st, void *mem, size_t len, struct room *room, bool counted);

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
