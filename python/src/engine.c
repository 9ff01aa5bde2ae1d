/* SPDX-License-Identifier: Apache-2.0 */
/* TransferEngine: the type, its life, and references to the engine that is open. */
#include "engine.h"

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
	struct engine_obj *o = (struct engine_obj *)self;
	struct engine_ref *r;

	guard_lock(&o->guard);
	r = o->ref;
	if (r)
		atomic_fetch_add(&r->refs, 1);
	guard_unlock(&o->guard);
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
	mc_cq_close(r->cq);
	managed_close(r);
	mc_engine_close(r->eng);
	pthread_mutex_destroy(&r->cq_lock);
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

	if (PyObject_TypeCheck(o, st->inner)) {
		r = ((struct inner_obj *)o)->ref;
		if (r)
			atomic_fetch_add(&r->refs, 1);
	} else if (PyObject_TypeCheck(o, st->engine)) {
		r = engine_get(o);
	}
	if (!r) {
		PyErr_SetString(PyExc_TypeError, "incompatible function arguments: engine must be "
						 "an initialized TransferEngine, or "
						 "what its get_engine() returned");
		return NULL;
	}
	*out = r->eng;
	return r;
}

/* What @x gives, which waits for nothing, with @self's open engine @r; @none before initialize(). */
#define WITH_ENGINE(self, r, x, none)                       \
	({                                                  \
		struct engine_ref *r = engine_get(self);    \
		__typeof__(x) x_ = none;                    \
                                                            \
		if (r) {                                    \
			x_ = x;                             \
			UNLOCKED(engine_put(r));            \
		}                                           \
		x_;                                         \
	})

/* ---- life ----------------------------------------------------------------------------------- */

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
		o->timeout_ns = mc_engine_timeout_ns();
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
	struct engine_ref *old;

	guard_lock(&o->guard);
	old = o->ref;
	o->ref = r;
	guard_unlock(&o->guard);
	pending_drop_all(o);
	if (!old)
		return;
	UNLOCKED(engine_put(old));
}

static void engine_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	replace((struct engine_obj *)self, NULL);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static int open_managed(struct engine_ref *r)
{
	if (!managed_open(r))
		return 0;
	mc_engine_close(r->eng);
	return -ENOMEM;
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
	/* What is asked for by another name takes the best way there is, after a warning, as upstream's does. */
	opts.protocol = mc_engine_protocol(protocol) == -EPROTONOSUPPORT ? NULL : protocol;
	r = calloc(1, sizeof(*r));
	if (!r)
		return PyErr_NoMemory();
	atomic_init(&r->refs, 1);
	pthread_mutex_init(&r->cq_lock, NULL);
	UNLOCKED(ret = mc_engine_open(&opts, &r->eng); if (!ret) ret = open_managed(r));
	if (ret) {
		free(r);
		return PyLong_FromLong(-1);
	}
	replace((struct engine_obj *)self, r); /* a second initialize() replaces the first */
	return PyLong_FromLong(0);
}

#define WHERE                                                                                      \
	{ "local_hostname", ARG_NAME }, { "metadata_server", ARG_NAME }, { "protocol", ARG_NAME }, \
	{                                                                                          \
		"device_name", ARG_NAME                                                            \
	}

METHOD(initialize)
{
	static const struct sig sig = { "initialize", 4, 4, { WHERE } };
	struct arg a[4];

	if (!TAKE(&sig, a))
		return NULL;
	return run_initialize(self, a[0].text, a[1].text, a[2].text, a[3].text);
}

/* "host:port" with a metadata type becomes "type://host:port". */
METHOD(initialize_ext)
{
	static const struct sig sig = {
		"initialize_ext", 5, 5, { WHERE, { "metadata_type", ARG_NAME } }
	};
	PyObject *url = NULL, *out = NULL;
	const char *meta, *type;
	struct arg a[5];

	if (!TAKE(&sig, a))
		return NULL;
	meta = a[1].text;
	type = a[4].text;
	if (meta && type && *type && !strstr(meta, "://") && strcmp(meta, "P2PHANDSHAKE")) {
		url = PyUnicode_FromFormat("%s://%s", type, meta);
		if (!url || !arg_text(url, "metadata_server", &meta))
			goto out;
	}
	out = run_initialize(self, a[0].text, meta, a[2].text, a[3].text);
out:
	Py_XDECREF(url);
	return out;
}

static PyObject *get_rpc_port(PyObject *self, PyObject *unused)
{
	return PyLong_FromLong(WITH_ENGINE(self, r, (int)mc_engine_rpc_port(r->eng), 0));
}

static PyObject *get_engine(PyObject *self, PyObject *unused)
{
	struct engine_ref *r = engine_get(self);
	struct inner_obj *i;

	if (!r)
		Py_RETURN_NONE;
	i = (struct inner_obj *)PyType_GenericAlloc(((struct engine_obj *)self)->st->inner, 0);
	if (i)
		i->ref = r;
	else
		UNLOCKED(engine_put(r));
	return (PyObject *)i;
}

static PyObject *get_engine_ptr(PyObject *self, PyObject *unused)
{
	return PyLong_FromUnsignedLongLong(WITH_ENGINE(self, r, (uintptr_t)r->eng, 0));
}

static void inner_dealloc(PyObject *self)
{
	struct engine_ref *r = ((struct inner_obj *)self)->ref;
	PyTypeObject *type = Py_TYPE(self);

	if (r)
		UNLOCKED(engine_put(r));
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyObject *engine_repr(PyObject *self)
{
	PyObject *name = WITH_ENGINE(self, r, PyUnicode_FromFormat("<TransferEngine %s>", mc_engine_name(r->eng)), NULL);

	return name || PyErr_Occurred() ? name : PyUnicode_FromString("<TransferEngine, not initialized>");
}

PyObject *engine_result(int ret)
{
	return PyLong_FromLong(mc_engine_code(ret));
}

PyMethodDef engine_life[] = {
	{ "initialize", CALL(initialize), FAST,
	  "initialize($self, local_hostname, metadata_server, protocol, device_name, "
	  "/)\n--\n\nStart the engine. metadata_server\n"
	  "'P2PHANDSHAKE', 'http://host:port/metadata', 'etcd://...' or 'redis://...'. A protocol that is not there gets a warning,\n"
	  "and the best way there is takes its place. Returns 0, or -1 (the log says why)." },
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
	{ NULL, NULL, 0, NULL },
};

#define METHODS_MAX 64

static PyMethodDef all_methods[METHODS_MAX + 1];

void engine_gather(void)
{
	PyMethodDef *const tables[] = { engine_life, engine_peers, engine_memory, engine_transfer,
					engine_transfer_async };

	gather(all_methods, METHODS_MAX, tables, sizeof(tables) / sizeof(tables[0]));
}

static PyType_Slot engine_slots[] = {
	{ Py_tp_doc, (void *)"Moves ranges between this process's memory and memory that peers "
			     "registered. Any thread may call." },
	{ Py_tp_new, engine_new },
	{ Py_tp_init, engine_init },
	{ Py_tp_dealloc, engine_dealloc },
	{ Py_tp_repr, engine_repr },
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
