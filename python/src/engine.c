/* SPDX-License-Identifier: Apache-2.0 */
/* TransferEngine: its life and its peers. Memory is in engine_memory.c, transfers in transfer.c. */
#include "engine.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct open_peer {
	struct open_peer *next;
	struct mc_segment *seg;
	char name[];
};

static pthread_mutex_t peers_lock =
	PTHREAD_MUTEX_INITIALIZER; /* guards every engine's list; held for a look only */

struct engine_ref *engine_get(PyObject *self)
{
	struct engine_ref *r = ((struct engine_obj *)self)->ref;

	if (r)
		atomic_fetch_add(&r->refs, 1);
	return r;
}

void engine_put(struct engine_ref *r)
{
	struct open_peer *p, *next;

	if (atomic_fetch_sub(&r->refs, 1) > 1)
		return;
	for (p = r->peers; p; p = next) {
		next = p->next;
		mc_segment_close(p->seg);
		free(p);
	}
	managed_close(r);
	mc_engine_close(r->eng);
	free(r);
}

static struct mc_segment *find_peer(struct engine_ref *r, const char *name)
{
	struct open_peer *p = r->peers;

	while (p && strcmp(p->name, name))
		p = p->next;
	return p ? p->seg : NULL;
}

int engine_peer(struct engine_ref *r, const char *name, uint64_t deadline_ns,
		struct mc_segment **out)
{
	struct mc_segment *seg;
	struct open_peer *p;
	int ret;

	pthread_mutex_lock(&peers_lock);
	*out = find_peer(r, name);
	pthread_mutex_unlock(&peers_lock);
	if (*out)
		return 0;
	ret = mc_segment_open(r->eng, name, deadline_ns, &seg);
	if (ret)
		return ret;
	p = malloc(sizeof(*p) + strlen(name) + 1);
	if (!p) {
		mc_segment_close(seg);
		return -ENOMEM;
	}
	strcpy(p->name, name);
	p->seg = seg;
	pthread_mutex_lock(&peers_lock);
	*out = find_peer(r, name);
	if (!*out) {
		p->next = r->peers;
		r->peers = p;
		*out = seg;
		p = NULL;
	}
	pthread_mutex_unlock(&peers_lock);
	if (p) { /* another thread was faster */
		mc_segment_close(seg);
		free(p);
	}
	return 0;
}

struct engine_ref *engine_of(struct core_state *st, PyObject *o, struct mc_engine **out)
{
	struct engine_ref *r = NULL;

	if (PyObject_TypeCheck(o, st->inner))
		r = ((struct inner_obj *)o)->ref;
	else if (PyObject_TypeCheck(o, st->engine))
		r = ((struct engine_obj *)o)->ref;
	if (!r) {
		PyErr_SetString(PyExc_TypeError, "incompatible function arguments: engine must be "
						 "an initialized TransferEngine, or "
						 "what its get_engine() returned");
		return NULL;
	}
	atomic_fetch_add(&r->refs, 1);
	*out = r->eng;
	return r;
}

/* ---- life ----------------------------------------------------------------------------------- */

static uint64_t transfer_timeout_ns(void)
{
	const char *text = getenv("MC_TRANSFER_TIMEOUT");
	long s = text ? strtol(text, NULL, 10) : 30;

	return (uint64_t)(s < 5 ? 5 : s) * 1000000000u;
}

static PyObject *engine_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
	struct core_state *st = core_state_of(type);
	struct engine_obj *o;

	if (!st)
		return NULL;
	o = (struct engine_obj *)PyType_GenericAlloc(type, 0);
	if (o) {
		o->st = st;
		o->next_id = 1;
		o->timeout_ns = transfer_timeout_ns();
	}
	return (PyObject *)o;
}

static int engine_init(PyObject *self, PyObject *args, PyObject *kw)
{
	if (Py_TYPE(self) != ((struct engine_obj *)self)->st->engine)
		return 0; /* a subclass may take what it likes */
	if (PyTuple_Size(args) || (kw && PyDict_Size(kw))) {
		PyErr_SetString(PyExc_TypeError,
				"TransferEngine() takes no arguments; call initialize()");
		return -1;
	}
	return 0;
}

/* Puts @r, which may be NULL, in the place of what is open. */
static void replace(struct engine_obj *o, struct engine_ref *r)
{
	struct engine_ref *old = o->ref;

	o->ref = r;
	pending_drop_all(o);
	if (!old)
		return;
	Py_BEGIN_ALLOW_THREADS engine_put(old);
	Py_END_ALLOW_THREADS
}

static void engine_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	replace((struct engine_obj *)self, NULL);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

/* None where callers may leave something out. */
static bool text_or_none(PyObject *o, const char *name, const char **out)
{
	*out = NULL;
	return o == Py_None || arg_text(o, name, out);
}

static PyObject *run_initialize(PyObject *self, const char *host, const char *meta,
				const char *protocol, const char *devices)
{
	struct mc_engine_opts opts = {
		.size = sizeof(opts), .local_name = host, .metadata = meta, .devices = devices
	};
	struct engine_ref *r;
	int ret;

	if (!host || !*host || !meta || !*meta || (protocol && !strcmp(protocol, "xgmi")))
		return PyLong_FromLong(-1);
	opts.protocol = protocol && *protocol ? protocol : NULL;
	if (getenv("MC_FORCE_TCP"))
		opts.protocol = "tcp";
	r = calloc(1, sizeof(*r));
	if (!r)
		return PyErr_NoMemory();
	atomic_init(&r->refs, 1);
	Py_BEGIN_ALLOW_THREADS ret = mc_engine_open(&opts, &r->eng);
	if (!ret && managed_open(r)) {
		mc_engine_close(r->eng);
		ret = -ENOMEM;
	}
	Py_END_ALLOW_THREADS if (ret)
	{
		free(r);
		return PyLong_FromLong(-1);
	}
	replace((struct engine_obj *)self, r); /* a second initialize() replaces the first */
	return PyLong_FromLong(0);
}

METHOD(initialize)
{
	static const struct sig sig = { "initialize",
					{ "local_hostname", "metadata_server", "protocol",
					  "device_name", NULL },
					4,
					4 };
	const char *t[4];
	PyObject *a[4];

	if (!bind_args(&sig, args, nargs, kwnames, a))
		return NULL;
	for (int i = 0; i < 4; i++)
		if (!text_or_none(a[i], sig.params[i], &t[i]))
			return NULL;
	return run_initialize(self, t[0], t[1], t[2], t[3]);
}

/* "host:port" with a metadata type becomes "type://host:port". */
METHOD(initialize_ext)
{
	static const struct sig sig = { "initialize_ext",
					{ "local_hostname", "metadata_server", "protocol",
					  "device_name", "metadata_type", NULL },
					5,
					5 };
	PyObject *a[5], *url = NULL, *out = NULL;
	const char *t[5];

	if (!bind_args(&sig, args, nargs, kwnames, a))
		return NULL;
	for (int i = 0; i < 5; i++)
		if (!text_or_none(a[i], sig.params[i], &t[i]))
			return NULL;
	if (t[1] && t[4] && *t[4] && !strstr(t[1], "://") && strcmp(t[1], "P2PHANDSHAKE")) {
		url = PyUnicode_FromFormat("%s://%s", t[4], t[1]);
		if (!url || !arg_text(url, "metadata_server", &t[1]))
			goto out;
	}
	out = run_initialize(self, t[0], t[1], t[2], t[3]);
out:
	Py_XDECREF(url);
	return out;
}

static PyObject *get_rpc_port(PyObject *self, PyObject *unused)
{
	struct engine_ref *r = ((struct engine_obj *)self)->ref;

	return PyLong_FromLong(r ? mc_engine_rpc_port(r->eng) : 0);
}

static PyObject *get_engine(PyObject *self, PyObject *unused)
{
	struct engine_obj *o = (struct engine_obj *)self;
	struct inner_obj *i;

	if (!o->ref)
		Py_RETURN_NONE;
	i = (struct inner_obj *)PyType_GenericAlloc(o->st->inner, 0);
	if (i)
		i->ref = engine_get(self);
	return (PyObject *)i;
}

static PyObject *get_engine_ptr(PyObject *self, PyObject *unused)
{
	struct engine_ref *r = ((struct engine_obj *)self)->ref;

	return PyLong_FromUnsignedLongLong(r ? (uintptr_t)r->eng : 0);
}

static void inner_dealloc(PyObject *self)
{
	struct engine_ref *r = ((struct inner_obj *)self)->ref;
	PyTypeObject *type = Py_TYPE(self);

	if (r) {
		Py_BEGIN_ALLOW_THREADS engine_put(r);
		Py_END_ALLOW_THREADS
	}
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

PyObject *engine_result(int ret)
{
	return PyLong_FromLong(mc_engine_code(ret));
}

/* ---- peers ---------------------------------------------------------------------------------- */

static uint64_t deadline_of(PyObject *self)
{
	return mc_deadline_ms(((struct engine_obj *)self)->timeout_ns / 1000000);
}

METHOD(get_first_buffer_address)
{
	static const struct sig sig = { "get_first_buffer_address", { "segment_name", NULL }, 1, 1 };
	uint64_t addr = 0, len, deadline = deadline_of(self);
	struct mc_segment *seg;
	struct engine_ref *r;
	const char *name;
	PyObject *a[1];
	int ret = -1;

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_text(a[0], "segment_name", &name))
		return NULL;
	r = engine_get(self);
	if (r) {
		Py_BEGIN_ALLOW_THREADS ret = engine_peer(r, name, deadline, &seg);
		/* It may have registered memory since it was opened. */
		if (!ret && mc_segment_buffer(seg, 0, &addr, &len) &&
		    !mc_segment_refresh(seg, deadline))
			ret = mc_segment_buffer(seg, 0, &addr, &len);
		engine_put(r);
		Py_END_ALLOW_THREADS
	}
	return PyLong_FromUnsignedLongLong(ret ? 0 : addr);
}

METHOD(send_probe)
{
	static const struct sig sig = { "send_probe", { "peer_server_name", NULL }, 1, 0 };
	struct engine_ref *r;
	const char *name;
	PyObject *a[1];
	int ret;

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_text(a[0], "peer_server_name", &name))
		return NULL;
	r = engine_get(self);
	if (!r)
		return PyLong_FromLong(-1);
	Py_BEGIN_ALLOW_THREADS ret = mc_probe(r->eng, name, mc_deadline_ms(5000));
	engine_put(r);
	Py_END_ALLOW_THREADS return ret == -ENOENT ? PyLong_FromLong(-200) : engine_result(ret);
}

/* A peer's bytes may not be text: what is not becomes U+FFFD. Frees the message. */
static PyObject *note_of(PyObject *type, struct mc_notify *msg)
{
	PyObject *name = PyUnicode_DecodeUTF8(msg->name, (Py_ssize_t)strlen(msg->name), "replace");
	PyObject *text =
		name ? PyUnicode_DecodeUTF8(msg->msg, (Py_ssize_t)strlen(msg->msg), "replace") :
		       NULL;
	PyObject *out = text ? PyObject_CallFunctionObjArgs(type, name, text, NULL) : NULL;

	Py_XDECREF(name);
	Py_XDECREF(text);
	free(msg->name);
	free(msg->msg);
	return out;
}

static PyObject *get_notifies(PyObject *self, PyObject *unused)
{
	PyObject *type = core_type(((struct engine_obj *)self)->st, "TransferNotify"), *list, *n;
	struct engine_ref *r; /* a constructor written in Python lets other threads run */
	struct mc_notify msg;

	list = type ? PyList_New(0) : NULL;
	r = list ? engine_get(self) : NULL;
	while (r && list && mc_notify_recv(r->eng, &msg) == 1) {
		n = note_of(type, &msg);
		if (!n || PyList_Append(list, n))
			Py_CLEAR(list);
		Py_XDECREF(n);
	}
	Py_XDECREF(type);
	if (r) {
		Py_BEGIN_ALLOW_THREADS engine_put(r);
		Py_END_ALLOW_THREADS
	}
	return list;
}

METHOD(get_local_topology)
{
	static const struct sig sig = { "get_local_topology", { "device_name", NULL }, 0, 0 };
	const char *devices = NULL;
	PyObject *a[1], *out;
	char *json;

	if (!bind_args(&sig, args, nargs, kwnames, a) ||
	    (a[0] && !text_or_none(a[0], "device_name", &devices)))
		return NULL;
	Py_BEGIN_ALLOW_THREADS json = mc_topology_json(devices);
	Py_END_ALLOW_THREADS if (!json) return PyErr_NoMemory();
	out = PyUnicode_FromString(json);
	free(json);
	return out;
}

METHOD(warmup_efa_segment)
{
	static const struct sig sig = { "warmup_efa_segment", { "segment_name", NULL }, 1, 1 };
	const char *name;
	PyObject *a[1];

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_text(a[0], "segment_name", &name))
		return NULL;
	return PyLong_FromLong(0);
}

PyMethodDef engine_life[] = {
	{ "initialize", CALL(initialize), FAST,
	  "initialize($self, local_hostname, metadata_server, protocol, device_name, "
	  "/)\n--\n\nStart the engine. metadata_server\n"
	  "'P2PHANDSHAKE' or 'http://host:port/metadata'. Returns 0, or -1 (the log says why)." },
	{ "initialize_ext", CALL(initialize_ext), FAST,
	  "initialize_ext($self, local_hostname, metadata_server, protocol, device_name, "
	  "metadata_type, /)\n--\n\nAs initialize(); a\n"
	  "metadata_server without a scheme gets metadata_type as its scheme." },
	{ "get_rpc_port", get_rpc_port, METH_NOARGS,
	  "get_rpc_port($self, /)\n--\n\nThe handshake port; peers open 'host:port'." },
	{ "get_engine", get_engine, METH_NOARGS,
	  "get_engine($self, /)\n--\n\nFor store.setup(engine=...)." },
	{ "get_engine_ptr", get_engine_ptr, METH_NOARGS,
	  "get_engine_ptr($self, /)\n--\n\nAddress of the engine; 0 before initialize()." },
	{ "get_first_buffer_address", CALL(get_first_buffer_address), FAST,
	  "get_first_buffer_address($self, segment_name, /)\n--\n\nOf the peer's first registered "
	  "range; 0 unknown or none." },
	{ "send_probe", CALL(send_probe), FAST,
	  "send_probe($self, /, peer_server_name)\n--\n\n0 reachable; -200 unknown to metadata; a "
	  "socket code." },
	{ "get_notifies", get_notifies, METH_NOARGS,
	  "get_notifies($self, /)\n--\n\nWhat peers left since the last call, oldest first." },
	{ "get_local_topology", CALL(get_local_topology), FAST,
	  "get_local_topology($self, /, device_name=None)\n--\n\nLocations of this machine and "
	  "their NICs, as JSON." },
	{ "warmup_efa_segment", CALL(warmup_efa_segment), FAST,
	  "warmup_efa_segment($self, segment_name, /)\n--\n\nNothing to do: 0." },
	{ NULL, NULL, 0, NULL },
};

static PyMethodDef all_methods[48];

void engine_gather(void)
{
	PyMethodDef *const tables[] = { engine_life, engine_memory, engine_transfer };
	size_t n = 0;

	if (all_methods[0].ml_name)
		return;
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		for (PyMethodDef *m = tables[t]; m->ml_name; m++)
			all_methods[n++] = *m;
}

static PyType_Slot engine_slots[] = {
	{ Py_tp_doc, (void *)"Moves ranges between this process's memory and memory that peers "
			     "registered. Any thread may call." },
	{ Py_tp_new, engine_new },
	{ Py_tp_init, engine_init },
	{ Py_tp_dealloc, engine_dealloc },
	{ Py_tp_methods, all_methods },
	{ 0, NULL },
};

PyType_Spec engine_spec = {
	.name = "mooncake.engine.TransferEngine",
	.basicsize = sizeof(struct engine_obj),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = engine_slots,
};

static PyType_Slot inner_slots[] = {
	{ Py_tp_doc, (void *)"An initialized engine, for store.setup(engine=...)." },
	{ Py_tp_dealloc, inner_dealloc },
	{ 0, NULL },
};

PyType_Spec inner_spec = {
	.name = "mooncake.engine.InnerTransferEngine",
	.basicsize = sizeof(struct inner_obj),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = inner_slots,
};
