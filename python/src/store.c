/* SPDX-License-Identifier: Apache-2.0 */
/* MooncakeDistributedStore: the type, and references to the store that an object has open. */
#include "store.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

bool tell_why(const char *why)
{
	mc_error_set(why);
	return false;
}

#define CLOSED "the store is not set up, or was closed: setup() comes first"

struct shared *store_get(PyObject *self)
{
	struct store_obj *o = (struct store_obj *)self;
	struct shared *sh;

	guard_lock(&o->guard);
	sh = o->sh;
	if (sh)
		atomic_fetch_add(&sh->refs, 1);
	guard_unlock(&o->guard);
	if (!sh)
		tell_why(CLOSED);
	return sh;
}

bool store_limit(PyObject *self, uint64_t *bytes)
{
	struct store_obj *o = (struct store_obj *)self;
	bool open;

	guard_lock(&o->guard);
	open = o->sh;
	*bytes = open ? room_limit(o->sh->room) : 0;
	guard_unlock(&o->guard);
	return open || tell_why(CLOSED);
}

bool store_is_open(PyObject *self)
{
	uint64_t unused;

	return store_limit(self, &unused);
}

bool store_is_dummy(PyObject *self)
{
	struct store_obj *o = (struct store_obj *)self;
	bool dummy;

	guard_lock(&o->guard);
	dummy = o->sh && mc_store_of_node(o->sh->s);
	guard_unlock(&o->guard);
	return dummy;
}

void store_put(struct shared *sh)
{
	if (atomic_fetch_sub(&sh->refs, 1) == 1)
		sem_post(&sh->out); /* who waits there frees it */
}

int store_open(struct mc_store_opts *opts, struct engine_ref *engine, struct shared **out)
{
	struct shared *sh = calloc(1, sizeof(*sh));
	int ret = -ENOMEM;

	if (sh)
		sh->room = room_new(opts->local_buffer_bytes);
	if (sh && sh->room)
		ret = mc_store_open(opts, &sh->s);
	if (ret) {
		if (sh)
			room_unref(sh->room);
		free(sh);
		if (engine)
			engine_put(engine);
		return ret;
	}
	atomic_init(&sh->refs, 1);
	sem_init(&sh->out, 0, 0);
	sh->engine = engine;
	sh->owner = getpid();
	*out = sh;
	return 0;
}

/* Return: is the last reference gone? */
static bool await_out(struct shared *sh, time_t seconds)
{
	struct timespec by;
	int ret;

	clock_gettime(CLOCK_MONOTONIC, &by);
	by.tv_sec += seconds;
	do
		ret = sem_clockwait(&sh->out, CLOCK_MONOTONIC, &by);
	while (ret && errno == EINTR);
	return !ret;
}

/* Ends calls in other threads, waits until they are out, closes. Without the interpreter lock. */
static void shared_close(struct shared *sh)
{
	if (getpid() != sh->owner)
		return; /* a copy without its threads: there is nobody to end */
	mc_store_shutdown(sh->s);
	store_put(sh);
	if (!await_out(sh, 1)) {
		mc_store_shutdown(sh->s); /* they wait for nobody any more */
		if (!await_out(sh, 30))
			return; /* a call that does not return keeps what it uses */
	}
	mc_store_close(sh->s);
	if (sh->engine)
		engine_put(sh->engine);
	room_close(sh->room);
	room_unref(sh->room);
	sem_destroy(&sh->out);
	free(sh->node);
	free(sh);
}

/* With the lists' guard held. Gives what was open. */
static struct shared *exchange(struct store_obj *o, struct shared *sh)
{
	struct shared *old;

	guard_lock(&o->guard);
	old = o->sh;
	o->sh = sh;
	guard_unlock(&o->guard);
	if (sh && !old) {
		o->next = o->st->live;
		o->at = &o->st->live;
		if (o->next)
			o->next->at = &o->next;
		o->st->live = o;
	} else if (!sh && old) {
		*o->at = o->next;
		if (o->next)
			o->next->at = o->at;
	}
	return old;
}

void store_replace(struct store_obj *o, struct shared *sh)
{
	struct shared *old;

	guard_lock(&o->st->lists);
	old = exchange(o, sh);
	guard_unlock(&o->st->lists);
	if (old)
		UNLOCKED(shared_close(old));
}

/* An open store of the module's, which nobody finds any more; NULL: none is left. Objects on the list are not freed meanwhile. */
static struct shared *take_live(struct core_state *st)
{
	struct shared *sh;

	guard_lock(&st->lists);
	sh = st->live ? exchange(st->live, NULL) : NULL;
	guard_unlock(&st->lists);
	return sh;
}

/*
 * While every thread can still run, so that calls in daemon threads end instead of being cut
 * off inside the library.
 */
static PyObject *at_exit(PyObject *module, PyObject *unused)
{
	struct core_state *st = PyModule_GetState(module);
	struct shared *sh;

	calls_stop_all(st);
	while ((sh = take_live(st)))
		UNLOCKED(shared_close(sh));
	calls_close_all(st);
	Py_RETURN_NONE;
}

static PyMethodDef at_exit_def = { "close_all", at_exit, METH_NOARGS, NULL };

/* At the first setup() or call in the background, since an import has no side effects. */
int store_hook_exit(struct core_state *st)
{
	PyObject *module, *atexit, *f, *done = NULL;

	if (st->exit_hook)
		return 0;
	module = PyType_GetModule(st->store);
	f = module ? PyCFunction_NewEx(&at_exit_def, module, NULL) : NULL;
	atexit = f ? PyImport_ImportModule("atexit") : NULL;
	if (atexit)
		done = PyObject_CallMethod(atexit, "register", "O", f);
	Py_XDECREF(atexit);
	Py_XDECREF(f);
	st->exit_hook = done;
	Py_XDECREF(done);
	return done ? 0 : -1;
}

static PyObject *store_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
	struct core_state *st = core_state_of(type);
	struct store_obj *o = st ? (struct store_obj *)PyType_GenericAlloc(type, 0) : NULL;

	if (o)
		o->st = st;
	return (PyObject *)o;
}

static int store_init(PyObject *self, PyObject *args, PyObject *kw)
{
	if (Py_TYPE(self) != ((struct store_obj *)self)->st->store)
		return 0; /* a subclass may take what it likes */
	if (PyTuple_Size(args) || (kw && PyDict_Size(kw))) {
		PyErr_SetString(PyExc_TypeError,
				"MooncakeDistributedStore() takes no arguments; call setup()");
		return -1;
	}
	return 0;
}

static void store_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	store_replace((struct store_obj *)self, NULL);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyObject *store_repr(PyObject *self)
{
	struct shared *sh = store_get(self);
	PyObject *out;

	if (!sh)
		return PyUnicode_FromString("<MooncakeDistributedStore, not set up>");
	out = PyUnicode_FromFormat("<MooncakeDistributedStore %s>", mc_store_name(sh->s));
	store_put(sh);
	return out;
}

/*
 * One table for the type, from the tables of the files; filled once, before the first module is
 * executed.
 */
#define METHODS_MAX 160

static PyMethodDef all_methods[METHODS_MAX + 1];

void store_gather(void)
{
	PyMethodDef *const tables[] = {
		store_setup, store_dummy, store_stats, store_life, store_bytes, store_zero,
		store_zero_batch, store_ranges, store_session, store_query,
		store_replicas, store_tasks, store_mount, store_tensor, store_tensor_tp, store_parallel,
	};

	gather(all_methods, METHODS_MAX, tables, sizeof(tables) / sizeof(tables[0]));
}

static PyType_Slot store_slots[] = {
	{ Py_tp_doc, (void *)"A cache of immutable objects shared by all clients of a master.\n\n"
			     "No method raises for what can go wrong at run time: results are "
			     "codes, see each method. Any thread may call." },
	{ Py_tp_new, store_new },
	{ Py_tp_init, store_init },
	{ Py_tp_dealloc, store_dealloc },
	{ Py_tp_repr, store_repr },
	{ Py_tp_methods, all_methods },
	{ 0, NULL },
};

PyType_Spec store_spec = {
	.name = "mooncake.store.MooncakeDistributedStore",
	.basicsize = sizeof(struct store_obj),
	.flags = Py_TPFLAGS_DEFAULT |
		 Py_TPFLAGS_BASETYPE, /* refers to no Python object, so it is in no cycle */
	.slots = store_slots,
};
