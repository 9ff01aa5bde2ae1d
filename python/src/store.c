/* SPDX-License-Identifier: Apache-2.0 */
/* MooncakeDistributedStore: its life. Other methods are in store_bytes.c, store_zero.c, store_query.c. */
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
	mc_store_shutdown(sh->s);
	while (atomic_load(&sh->refs) > 1)
		usleep(100);
	mc_store_close(sh->s);
	room_unref(sh->room);
	free(sh);
}

static void detach(struct store_obj *o)
{
	struct shared *sh = o->sh;
	PyObject *engine = o->engine;

	o->sh = NULL;
	o->engine = NULL;
	if (sh) {
		Py_BEGIN_ALLOW_THREADS
		shared_close(sh);
		Py_END_ALLOW_THREADS
	}
	Py_XDECREF(engine);
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
		PyErr_SetString(PyExc_TypeError, "MooncakeDistributedStore() takes no arguments; call setup()");
		return -1;
	}
	return 0;
}

static int store_traverse(PyObject *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(((struct store_obj *)self)->engine);
	return 0;
}

static int store_clear(PyObject *self)
{
	detach((struct store_obj *)self);
	return 0;
}

static void store_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_GC_UnTrack(self);
	detach((struct store_obj *)self);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

/* ---- setup ---------------------------------------------------------------------------------------------------------- */

struct setup {
	struct mc_store_opts opts;
	uint64_t local_buffer;
	PyObject *engine;
};

/* "local_hostname" as callers write it; "auto-discovery" means no list of devices. */
static int run_setup(struct store_obj *o, struct setup *in)
{
	struct shared *sh;
	int ret;

	if (!in->opts.local_name || !*in->opts.local_name)
		return NOT_SET_UP;
	if (in->opts.devices && !strcmp(in->opts.devices, "auto-discovery"))
		in->opts.devices = NULL;
	detach(o); /* a second setup replaces the first */
	sh = calloc(1, sizeof(*sh));
	if (!sh)
		return -1;
	atomic_init(&sh->refs, 1);
	sh->room = room_new(in->local_buffer);
	if (!sh->room) {
		free(sh);
		return -1;
	}
	in->opts.size = sizeof(in->opts);
	in->opts.local_buffer_bytes = in->local_buffer;
	Py_BEGIN_ALLOW_THREADS
	ret = mc_store_open(&in->opts, &sh->s);
	Py_END_ALLOW_THREADS
	if (ret) {
		room_unref(sh->room);
		free(sh);
		/* Callers know one number for "no master": -1. */
		return ret == -EINVAL ? NOT_SET_UP : ret == -ENOMEM ? NOT_SET_UP : -1;
	}
	o->sh = sh;
	o->engine = Py_XNewRef(in->engine);
	return 0;
}

static PyObject *dict_text(PyObject *dict, const char *key, const char *deflt)
{
	PyObject *v = PyDict_GetItemString(dict, key);

	return v ? PyObject_Str(v) : deflt ? PyUnicode_FromString(deflt) : NULL;
}

static const char *const known_keys[] = {
	"local_hostname",     "metadata_server", "global_segment_size",	      "local_buffer_size", "protocol",
	"rdma_devices",	      "master_server_addr", "master_server_address", "ipc_socket_path",   "enable_ssd_offload",
	"ssd_offload_path",   "tenant_id",	 "enable_client_http_server", "client_http_port",  NULL,
};

static int warn_unknown(PyObject *dict)
{
	PyObject *key, *value;
	Py_ssize_t pos = 0;

	while (PyDict_Next(dict, &pos, &key, &value)) {
		bool known = false;

		for (int i = 0; known_keys[i] && !known; i++)
			known = PyUnicode_Check(key) && !PyUnicode_CompareWithASCIIString(key, known_keys[i]);
		if (!known && PyErr_WarnFormat(PyExc_UserWarning, 1, "setup(): unknown key %R is ignored", key))
			return -1;
	}
	return 0;
}

/* A size in the grammar of mc_parse_size(): 0, or at least 1024. */
static bool dict_size(PyObject *dict, const char *key, uint64_t max, uint64_t *out)
{
	PyObject *text = dict_text(dict, key, "16777216");
	const char *s;
	bool ok;

	ok = text && arg_text(text, key, &s) && !mc_parse_size(s, out) && (!*out || *out >= 1024) && *out <= max;
	Py_XDECREF(text);
	return ok;
}

#define DICT_TEXTS 6

static PyObject *setup_dict(struct store_obj *o, PyObject *dict)
{
	static const char *const name[DICT_TEXTS] = { "local_hostname", "metadata_server", "protocol",
						      "rdma_devices",	"tenant_id",	   "master_server_addr" };
	static const char *const deflt[DICT_TEXTS] = { "", "", "tcp", "", "default", "127.0.0.1:50051" };
	PyObject *obj[DICT_TEXTS] = { NULL };
	const char *text[DICT_TEXTS];
	struct setup in = { 0 };
	long ret = NOT_SET_UP;
	bool ok = !warn_unknown(dict);

	for (int i = 0; i < DICT_TEXTS && ok; i++) {
		const char *key = name[i];

		/* Both spellings are in use. */
		if (i == 5 && !PyDict_GetItemString(dict, key) && PyDict_GetItemString(dict, "master_server_address"))
			key = "master_server_address";
		obj[i] = dict_text(dict, key, deflt[i]);
		ok = obj[i] && arg_text(obj[i], key, &text[i]);
	}
	if (ok && *text[0] && *text[1] && dict_size(dict, "global_segment_size", UINT64_MAX, &in.opts.pool_bytes) &&
	    dict_size(dict, "local_buffer_size", (uint64_t)1 << 40, &in.local_buffer)) {
		in.opts.local_name = text[0];
		in.opts.metadata = text[1];
		in.opts.protocol = text[2];
		in.opts.devices = text[3];
		in.opts.tenant = text[4];
		in.opts.master = text[5];
		ret = run_setup(o, &in);
	}
	for (int i = 0; i < DICT_TEXTS; i++)
		Py_XDECREF(obj[i]);
	if (PyErr_Occurred() && !ok)
		return NULL;
	PyErr_Clear();
	return PyLong_FromLong(ret);
}

enum { HOST, META, SEGMENT, LOCAL, PROTOCOL, DEVICES, MASTER, ENGINE, SSD, SSD_PATH, TENANT, HTTP, HTTP_PORT, NR_SETUP };

METHOD(setup)
{
	static const struct sig dict_sig = { "setup", { "config", NULL }, 1, 0 };
	static const struct sig sig = { "setup",
					{ "local_hostname", "metadata_server", "global_segment_size", "local_buffer_size", "protocol",
					  "rdma_devices", "master_server_addr", "engine", "enable_ssd_offload", "ssd_offload_path",
					  "tenant_id", "enable_client_http_server", "client_http_port", NULL },
					7,
					0 };
	struct store_obj *o = (struct store_obj *)self;
	PyObject *a[NR_SETUP];
	struct setup in = { 0 };
	const char *unused;
	uint64_t port = 9300;
	bool flag;

	if (nargs + (kwnames ? PyTuple_Size(kwnames) : 0) == 1 && PyDict_Check(args[0])) {
		if (!bind_args(&dict_sig, args, nargs, kwnames, a))
			return NULL;
		return setup_dict(o, a[0]);
	}
	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_text(a[HOST], "local_hostname", &in.opts.local_name) ||
	    !arg_text(a[META], "metadata_server", &in.opts.metadata) ||
	    !arg_u64(a[SEGMENT], "global_segment_size", &in.opts.pool_bytes) ||
	    !arg_u64(a[LOCAL], "local_buffer_size", &in.local_buffer) || !arg_text(a[PROTOCOL], "protocol", &in.opts.protocol) ||
	    !arg_text(a[DEVICES], "rdma_devices", &in.opts.devices) || !arg_text(a[MASTER], "master_server_addr", &in.opts.master))
		return NULL;
	if ((a[SSD] && !arg_bool(a[SSD], "enable_ssd_offload", &flag)) ||
	    (a[SSD_PATH] && !arg_text(a[SSD_PATH], "ssd_offload_path", &unused)) ||
	    (a[TENANT] && !arg_text(a[TENANT], "tenant_id", &in.opts.tenant)) ||
	    (a[HTTP] && !arg_bool(a[HTTP], "enable_client_http_server", &flag)) ||
	    (a[HTTP_PORT] && !arg_u64(a[HTTP_PORT], "client_http_port", &port)))
		return NULL;
	if (a[ENGINE] && a[ENGINE] != Py_None) {
		in.opts.engine = engine_of(o->st, a[ENGINE]);
		if (!in.opts.engine)
			return NULL;
		in.engine = a[ENGINE];
	}
	if (!port || port > 65535)
		return PyLong_FromLong(NOT_SET_UP);
	return PyLong_FromLong(run_setup(o, &in));
}

static PyObject *close_store(PyObject *self, PyObject *unused)
{
	detach((struct store_obj *)self);
	return PyLong_FromLong(0);
}

static PyObject *health_check(PyObject *self, PyObject *unused)
{
	struct shared *sh = store_get(self);
	int ret;

	if (!sh)
		return PyLong_FromLong(1);
	Py_BEGIN_ALLOW_THREADS
	ret = mc_store_health(sh->s);
	Py_END_ALLOW_THREADS
	store_put(sh);
	return PyLong_FromLong(!ret ? 0 : ret == -ESHUTDOWN ? 1 : 2);
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
	detach((struct store_obj *)self);
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
	return PyUnicode_DecodeUTF8(mc_last_error(), (Py_ssize_t)strlen(mc_last_error()), "replace");
}

PyMethodDef store_life[] = {
	{ "setup", CALL(setup), FAST,
	  "setup(local_hostname, metadata_server, global_segment_size, local_buffer_size, protocol, rdma_devices,\n"
	  "      master_server_addr, engine=None, enable_ssd_offload=False, ssd_offload_path='', tenant_id='default',\n"
	  "      enable_client_http_server=False, client_http_port=9300) -> int\n"
	  "setup(config: dict) -> int\n\n"
	  "Connect to the master and contribute global_segment_size bytes to the pool (0: none). local_buffer_size bytes limit what\n"
	  "passes through the library's own memory (put, get, get_buffer). master_server_addr 'embedded' needs no master: one process\n"
	  "alone. The dict form takes the same names as text, with sizes like '4gb'.\n"
	  "Returns 0; -600 bad arguments; -1 no master, or the pool could not be made (last_error() says why)." },
	{ "close", close_store, METH_NOARGS,
	  "close() -> int\n\nEnd calls in other threads, leave the pool, free everything. Returns 0; may be called again." },
	{ "health_check", health_check, METH_NOARGS,
	  "health_check() -> int\n\n0 healthy; 1 not set up or closed; 2 the master does not answer." },
	{ "get_hostname", get_hostname, METH_NOARGS, "get_hostname() -> str\n\n'host:port' of this client; '' when not set up." },
	{ "last_error", last_error, METH_NOARGS,
	  "last_error() -> str\n\nThe calling thread's last error in words, with cause and fix; '' when nothing failed." },
	{ "__enter__", enter, METH_NOARGS, NULL },
	{ "__exit__", CALL(leave), FAST, NULL },
	{ NULL, NULL, 0, NULL },
};

/* One table for the type, from the tables of the files; filled once, before the first module is executed. */
static PyMethodDef all_methods[64];

static void gather(void)
{
	PyMethodDef *const tables[] = { store_life, store_bytes, store_zero, store_query };
	size_t n = 0;

	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		for (PyMethodDef *m = tables[t]; m->ml_name; m++)
			all_methods[n++] = *m;
}

static PyType_Slot store_slots[] = {
	{ Py_tp_doc, (void *)"A cache of immutable objects shared by all clients of a master.\n\n"
		     "No method raises for what can go wrong at run time: results are codes, see each method. Any thread may call." },
	{ Py_tp_new, store_new },
	{ Py_tp_init, store_init },
	{ Py_tp_dealloc, store_dealloc },
	{ Py_tp_traverse, store_traverse },
	{ Py_tp_clear, store_clear },
	{ Py_tp_repr, store_repr },
	{ Py_tp_methods, all_methods },
	{ 0, NULL },
};

PyType_Spec store_spec = {
	.name = "mooncake.store.MooncakeDistributedStore",
	.basicsize = sizeof(struct store_obj),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
	.slots = store_slots,
};

void store_gather(void)
{
	if (!all_methods[0].ml_name)
		gather();
}
