/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MooncakeDistributedStore: its life. Other methods are in store_bytes.c, store_zero.c,
 * store_query.c.
 */
#include "store.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct shared *store_get(PyObject *self)
{
	struct shared *sh = ((struct store_obj *)self)->sh;

	if (sh)
		atomic_fetch_add(&sh->refs, 1);
	return sh;
}

void store_put(struct shared *sh)
{
	atomic_fetch_sub(&sh->refs, 1);
}

/* Ends calls in other threads, waits until they are out, closes. Without the interpreter lock. */
static void shared_close(struct shared *sh)
{
	if (getpid() != sh->owner)
		return; /* a copy without its threads: there is nobody to end */
	mc_store_shutdown(sh->s);
	while (atomic_load(&sh->refs) > 1)
		usleep(100);
	mc_store_close(sh->s);
	if (sh->engine)
		engine_put(sh->engine);
	room_unref(sh->room);
	free(sh);
}

/*
 * Takes what is open away from @o and puts @sh, which may be NULL, in its place; closes the old
 * one.
 */
static void replace(struct store_obj *o, struct shared *sh)
{
	struct shared *old = o->sh;

	o->sh = sh;
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
	if (!old)
		return;
	Py_BEGIN_ALLOW_THREADS shared_close(old);
	Py_END_ALLOW_THREADS
}

/*
 * While every thread can still run, so that calls in daemon threads end instead of being cut
 * off inside the library.
 */
static PyObject *at_exit(PyObject *module, PyObject *unused)
{
	struct core_state *st = PyModule_GetState(module);

	while (st->live)
		replace(st->live, NULL);
	Py_RETURN_NONE;
}

static PyMethodDef at_exit_def = { "close_all", at_exit, METH_NOARGS, NULL };

/* At the first setup(), since an import has no side effects. */
static int hook_exit(struct store_obj *o)
{
	PyObject *module, *atexit, *f, *done = NULL;

	if (o->st->exit_hook)
		return 0;
	module = PyType_GetModule(o->st->store);
	f = module ? PyCFunction_NewEx(&at_exit_def, module, NULL) : NULL;
	atexit = f ? PyImport_ImportModule("atexit") : NULL;
	if (atexit)
		done = PyObject_CallMethod(atexit, "register", "O", f);
	Py_XDECREF(atexit);
	Py_XDECREF(f);
	o->st->exit_hook = done;
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

	replace((struct store_obj *)self, NULL);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

/* ---- setup ---------------------------------------------------------------------------------- */

struct setup {
	struct mc_store_opts opts;
	struct engine_ref *engine; /* a reference, passed on or given back */
};

/* "local_hostname" as callers write it; "auto-discovery" means no list of devices. */
static int open_store(struct setup *in, struct shared **out)
{
	struct shared *sh;
	int ret;

	if (in->opts.devices && !strcmp(in->opts.devices, "auto-discovery"))
		in->opts.devices = NULL;
	sh = calloc(1, sizeof(*sh));
	if (!sh)
		return -ENOMEM;
	atomic_init(&sh->refs, 1);
	sh->room = room_new(in->opts.local_buffer_bytes);
	if (!sh->room) {
		free(sh);
		return -ENOMEM;
	}
	in->opts.size = sizeof(in->opts);
	ret = mc_store_open(&in->opts, &sh->s);
	if (ret) {
		room_unref(sh->room);
		free(sh);
		return ret;
	}
	sh->engine = in->engine;
	sh->owner = getpid();
	in->engine = NULL;
	*out = sh;
	return 0;
}

static PyObject *run_setup(struct store_obj *o, struct setup *in)
{
	struct shared *sh = NULL;
	int ret = -EINVAL;

	if (hook_exit(o)) {
		Py_BEGIN_ALLOW_THREADS if (in->engine) engine_put(in->engine);
		Py_END_ALLOW_THREADS return NULL;
	}
	replace(o, NULL); /* a second setup replaces the first */
	Py_BEGIN_ALLOW_THREADS if (in->opts.local_name && *in->opts.local_name)
		ret = open_store(in, &sh);
	if (in->engine)
		engine_put(in->engine);
	Py_END_ALLOW_THREADS if (!ret)
		replace(o, sh); /* another thread's setup may have come first */
	/* Callers know one number for "no master": -1. */
	return PyLong_FromLong(!ret						 ? 0 :
			       ret == -EINVAL || ret == -ENOMEM || ret == -EPERM ? NOT_SET_UP :
										   -1);
}

/* ---- setup from a dict: everything is text -------------------------------------------------- */

static const char *const known_keys[] = {
	"local_hostname",
	"metadata_server",
	"global_segment_size",
	"local_buffer_size",
	"protocol",
	"rdma_devices",
	"master_server_addr",
	"master_server_address",
	"ipc_socket_path",
	"enable_ssd_offload",
	"ssd_offload_path",
	"tenant_id",
	"enable_client_http_server",
	"client_http_port",
	NULL,
};

static int warn(const char *text, PyObject *name)
{
	return PyErr_WarnFormat(PyExc_UserWarning, 1, text, name);
}

/* A new dict of str(key): str(value); unknown keys are named in a warning each. */
static PyObject *texts_of(PyObject *dict)
{
	PyObject *items = PyDict_Items(dict), *out = items ? PyDict_New() : NULL;

	for (Py_ssize_t i = 0; out && i < PyList_Size(items); i++) {
		PyObject *item = PyList_GetItem(items, i);
		PyObject *key = PyObject_Str(PyTuple_GetItem(item, 0));
		PyObject *value = key ? PyObject_Str(PyTuple_GetItem(item, 1)) : NULL;
		bool known = false;

		for (int k = 0; key && known_keys[k] && !known; k++)
			known = !PyUnicode_CompareWithASCIIString(key, known_keys[k]);
		if (!value || (!known && warn("setup(): unknown key %R is ignored", key)) ||
		    PyDict_SetItem(out, key, value))
			Py_CLEAR(out);
		Py_XDECREF(key);
		Py_XDECREF(value);
	}
	Py_XDECREF(items);
	return out;
}

/* Borrowed from @texts. False with an exception when it has a NUL inside. */
static bool text_at(PyObject *texts, const char *key, const char *deflt, const char **out)
{
	PyObject *v = PyDict_GetItemString(texts, key);

	*out = deflt;
	return !v || arg_text(v, key, out);
}

/* A size in the grammar of mc_parse_size(): 0, or at least 1024. */
static bool good_size(const char *text, uint64_t max, uint64_t *out)
{
	return !mc_parse_size(text, out) && (!*out || *out >= 1024) && *out <= max;
}

static bool good_port(const char *text)
{
	char *end;
	long port = strtol(text, &end, 10);

	return end > text && !*end && port > 0 && port <= 65535;
}

/* A word for yes or no; another one is named in a warning and means no. -1 with an exception. */
static int bool_word(PyObject *texts, const char *key)
{
	static const char *const words[] = { "0",   "1",   "false", "true", "no",
					     "yes", "off", "on",    NULL };
	PyObject *name;
	const char *v;
	int ret;

	if (!text_at(texts, key, "0", &v))
		return -1;
	for (int i = 0; words[i]; i++)
		if (!strcasecmp(v, words[i]))
			return i % 2;
	name = PyUnicode_FromString(key);
	ret = name ? warn("setup(): %R is neither yes nor no; taken for no", name) : -1;
	Py_XDECREF(name);
	return ret;
}

/* What callers ask for and this release does not have. */
static int warn_missing(bool ssd, bool http)
{
	if (ssd && PyErr_WarnEx(PyExc_UserWarning,
				"setup(): enable_ssd_offload is not available and is ignored", 1))
		return -1;
	return http ? PyErr_WarnEx(
			      PyExc_UserWarning,
			      "setup(): enable_client_http_server is not available and is ignored",
			      1) :
		      0;
}

static PyObject *setup_texts(struct store_obj *o, PyObject *texts)
{
	const char *segment, *local, *port;
	struct setup in = { 0 };
	struct mc_store_opts *opts = &in.opts;
	int ssd = bool_word(texts, "enable_ssd_offload"),
	    http = ssd < 0 ? -1 : bool_word(texts, "enable_client_http_server");

	if (http < 0 || warn_missing(ssd, http) ||
	    !text_at(texts, "local_hostname", "", &opts->local_name) ||
	    !text_at(texts, "metadata_server", "", &opts->metadata) ||
	    !text_at(texts, "protocol", "tcp", &opts->protocol) ||
	    !text_at(texts, "rdma_devices", "", &opts->devices) ||
	    !text_at(texts, "tenant_id", "default", &opts->tenant) ||
	    /* Both spellings are in use. */
	    !text_at(texts, "master_server_address", "127.0.0.1:50051", &opts->master) ||
	    !text_at(texts, "master_server_addr", opts->master, &opts->master) ||
	    !text_at(texts, "global_segment_size", "16777216", &segment) ||
	    !text_at(texts, "local_buffer_size", "16777216", &local) ||
	    !text_at(texts, "client_http_port", "9300", &port))
		return NULL;
	if (!*opts->local_name || !*opts->metadata ||
	    !good_size(segment, UINT64_MAX, &opts->pool_bytes) ||
	    !good_size(local, (uint64_t)1 << 40, &opts->local_buffer_bytes) || !good_port(port))
		return PyLong_FromLong(NOT_SET_UP);
	return run_setup(o, &in);
}

static PyObject *setup_dict(struct store_obj *o, PyObject *dict)
{
	PyObject *texts = texts_of(dict), *out = texts ? setup_texts(o, texts) : NULL;

	Py_XDECREF(texts);
	return out;
}

/* ---- setup from arguments ------------------------------------------------------------------- */

enum {
	HOST,
	META,
	SEGMENT,
	LOCAL,
	PROTOCOL,
	DEVICES,
	MASTER,
	ENGINE,
	SSD,
	SSD_PATH,
	TENANT,
	HTTP,
	HTTP_PORT,
	NR_SETUP
};

METHOD(setup)
{
	static const struct sig dict_sig = { "setup", { "config", NULL }, 1, 0 };
	static const struct sig sig = { "setup",
					{ "local_hostname", "metadata_server",
					  "global_segment_size", "local_buffer_size", "protocol",
					  "rdma_devices", "master_server_addr", "engine",
					  "enable_ssd_offload", "ssd_offload_path", "tenant_id",
					  "enable_client_http_server", "client_http_port", NULL },
					7,
					0 };
	struct store_obj *o = (struct store_obj *)self;
	PyObject *a[NR_SETUP];
	struct setup in = { 0 };
	const char *unused;
	uint64_t port = 9300;
	bool ssd = false, http = false;

	if (nargs + (kwnames ? PyTuple_Size(kwnames) : 0) == 1 && PyDict_Check(args[0])) {
		if (!bind_args(&dict_sig, args, nargs, kwnames, a))
			return NULL;
		return setup_dict(o, a[0]);
	}
	if (!bind_args(&sig, args, nargs, kwnames, a) ||
	    !arg_text(a[HOST], "local_hostname", &in.opts.local_name) ||
	    !arg_text(a[META], "metadata_server", &in.opts.metadata) ||
	    !arg_u64(a[SEGMENT], "global_segment_size", &in.opts.pool_bytes) ||
	    !arg_u64(a[LOCAL], "local_buffer_size", &in.opts.local_buffer_bytes) ||
	    !arg_text(a[PROTOCOL], "protocol", &in.opts.protocol) ||
	    !arg_text(a[DEVICES], "rdma_devices", &in.opts.devices) ||
	    !arg_text(a[MASTER], "master_server_addr", &in.opts.master))
		return NULL;
	if ((a[SSD] && !arg_bool(a[SSD], "enable_ssd_offload", &ssd)) ||
	    (a[SSD_PATH] && !arg_text(a[SSD_PATH], "ssd_offload_path", &unused)) ||
	    (a[TENANT] && !arg_text(a[TENANT], "tenant_id", &in.opts.tenant)) ||
	    (a[HTTP] && !arg_bool(a[HTTP], "enable_client_http_server", &http)) ||
	    (a[HTTP_PORT] && !arg_u64(a[HTTP_PORT], "client_http_port", &port)) ||
	    warn_missing(ssd, http))
		return NULL;
	if (!port || port > 65535)
		return PyLong_FromLong(NOT_SET_UP);
	if (a[ENGINE] && a[ENGINE] != Py_None) {
		in.engine = engine_of(o->st, a[ENGINE], &in.opts.engine);
		if (!in.engine)
			return NULL;
	}
	return run_setup(o, &in);
}

static PyObject *close_store(PyObject *self, PyObject *unused)
{
	replace((struct store_obj *)self, NULL);
	return PyLong_FromLong(0);
}

static PyObject *health_check(PyObject *self, PyObject *unused)
{
	struct shared *sh = store_get(self);
	int ret;

	if (!sh)
		return PyLong_FromLong(1);
	Py_BEGIN_ALLOW_THREADS ret = mc_store_health(sh->s);
	store_put(sh);
	Py_END_ALLOW_THREADS return PyLong_FromLong(!ret			       ? 0 :
						    ret == -ESHUTDOWN || ret == -EPERM ? 1 :
											 2);
}

static PyObject *get_hostname(PyObject *self, PyObject *unused)
{
	struct shared *sh = store_get(self);
	PyObject *out = PyUnicode_FromString(sh ? mc_store_name(sh->s) : "");

	if (sh)
		store_put(sh);
	return out;
}

static PyObject *enter(PyObject *self, PyObject *unused)
{
	return Py_NewRef(self);
}

METHOD(leave)
{
	replace((struct store_obj *)self, NULL);
	Py_RETURN_NONE;
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

static PyObject *last_error(PyObject *self, PyObject *unused)
{
	return PyUnicode_DecodeUTF8(mc_last_error(), (Py_ssize_t)strlen(mc_last_error()),
				    "replace");
}

PyMethodDef store_life[] = {
	{ "setup", CALL(setup), FAST,
	  "setup($self, /, local_hostname, metadata_server, global_segment_size, "
	  "local_buffer_size, protocol, rdma_devices,\n"
	  "      master_server_addr, engine=None, enable_ssd_offload=False, ssd_offload_path='', "
	  "tenant_id='default',\n"
	  "      enable_client_http_server=False, client_http_port=9300)\n--\n\n"
	  "setup(...) -> int, or setup(config: dict) -> int\n\n"
	  "Connect to the master and contribute global_segment_size bytes to the pool (0: none). "
	  "local_buffer_size bytes limit what\n"
	  "passes through the library's own memory (put, get, get_buffer). master_server_addr "
	  "'embedded' needs no master: one process\n"
	  "alone. The dict form takes the same names as text, with sizes like '4gb'.\n"
	  "Returns 0; -600 bad arguments; -1 no master, or the pool could not be made "
	  "(last_error() says why)." },
	{ "close", close_store, METH_NOARGS,
	  "close($self, /)\n--\n\nEnd calls in other threads, leave the pool, free everything. "
	  "Returns 0; may be called again." },
	{ "health_check", health_check, METH_NOARGS,
	  "health_check($self, /)\n--\n\n0 healthy; 1 not set up or closed; 2 the master does not "
	  "answer." },
	{ "get_hostname", get_hostname, METH_NOARGS,
	  "get_hostname($self, /)\n--\n\n'host:port' of this client; '' when not set up." },
	{ "last_error", last_error, METH_NOARGS,
	  "last_error($self, /)\n--\n\nThe calling thread's last error in words, with cause and "
	  "fix; '' when nothing failed." },
	{ "__enter__", enter, METH_NOARGS, NULL },
	{ "__exit__", CALL(leave), FAST, NULL },
	{ NULL, NULL, 0, NULL },
};

/*
 * One table for the type, from the tables of the files; filled once, before the first module is
 * executed.
 */
static PyMethodDef all_methods[64];

static void gather(void)
{
	PyMethodDef *const tables[] = { store_life, store_bytes, store_zero, store_ranges,
					store_query };
	size_t n = 0;

	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		for (PyMethodDef *m = tables[t]; m->ml_name; m++)
			all_methods[n++] = *m;
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

void store_gather(void)
{
	if (!all_methods[0].ml_name)
		gather();
}
