/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ReplicateConfig: how a put is stored. Attributes are checked when they are set, so a put only
 * reads them.
 */
#include "core.h"

#include <structmember.h>
#include <string.h>

enum { PIN_PRESERVE, PIN_ENABLE, PIN_DISABLE };

struct values {
	unsigned long long replica_num, nof_replica_num, dfs_replica_num;
	long pin_action, data_type;
	PyObject *pin_ttl;		     /* int or None */
	PyObject *preferred, *preferred_nof; /* lists of str */
	PyObject *preferred_one;	     /* str */
	PyObject *groups;		     /* list of str, or None */
	PyObject *host_id;		     /* str */
	bool hard_pin, same_node;
};

struct config {
	PyObject_HEAD struct guard guard;
	struct values v; /* under @guard, each alone */
};

/* Where the objects are. */
static const size_t objects[] = {
	offsetof(struct values, pin_ttl), offsetof(struct values, preferred),	  offsetof(struct values, preferred_nof),
	offsetof(struct values, groups),  offsetof(struct values, preferred_one), offsetof(struct values, host_id),
};
#define NR_OBJECTS (sizeof(objects) / sizeof(objects[0]))

static PyObject **object_at(struct values *v, size_t i)
{
	return (PyObject **)((char *)v + objects[i]);
}

/* A copy with references of its own, since other threads may set attributes meanwhile. */
static struct values values_get(struct config *c)
{
	struct values v;

	guard_lock(&c->guard);
	v = c->v;
	for (size_t i = 0; i < NR_OBJECTS; i++)
		Py_XINCREF(*object_at(&v, i));
	guard_unlock(&c->guard);
	return v;
}

static void values_put(struct values *v)
{
	for (size_t i = 0; i < NR_OBJECTS; i++)
		Py_CLEAR(*object_at(v, i));
}

static PyObject *config_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
	struct config *c;

	if (PyTuple_Size(args) || (kw && PyDict_Size(kw))) {
		PyErr_SetString(PyExc_TypeError,
				"ReplicateConfig() takes no arguments; set its attributes");
		return NULL;
	}
	c = (struct config *)PyType_GenericAlloc(type, 0);
	if (!c)
		return NULL;
	c->v.replica_num = 1;
	c->v.pin_ttl = Py_NewRef(Py_None);
	c->v.groups = Py_NewRef(Py_None);
	c->v.preferred = PyList_New(0);
	c->v.preferred_nof = PyList_New(0);
	c->v.preferred_one = PyUnicode_FromString("");
	c->v.host_id = PyUnicode_FromString("");
	if (!c->v.preferred || !c->v.preferred_nof || !c->v.preferred_one || !c->v.host_id)
		Py_CLEAR(c);
	return (PyObject *)c;
}

/*
 * Seen by the collector but never cleared by it, like a tuple: a cycle runs through a list or a
 * dict, which are.
 */
static int config_traverse(struct config *c, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE((PyObject *)c));
	for (size_t i = 0; i < NR_OBJECTS; i++)
		Py_VISIT(*object_at(&c->v, i));
	return 0;
}

static void config_dealloc(struct config *c)
{
	PyTypeObject *type = Py_TYPE((PyObject *)c);

	PyObject_GC_UnTrack(c);
	values_put(&c->v);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(c);
	Py_DECREF(type);
}

/* ---- attributes: one getter and setter per kind, the closure says where --------------------- */

#define AT(c, closure, type) ((type *)((char *)(c) + (size_t)(uintptr_t)(closure)))
#define WHERE(field)	     ((void *)(uintptr_t)offsetof(struct config, v.field))

static bool deleted(PyObject *v)
{
	if (!v)
		PyErr_SetString(PyExc_TypeError,
				"an attribute of ReplicateConfig cannot be deleted");
	return !v;
}

/* Plain values are loaded and stored whole. */
#define GET(c, closure, type)	 __atomic_load_n(AT(c, closure, type), __ATOMIC_RELAXED)
#define SET(c, closure, type, x) __atomic_store_n(AT(c, closure, type), x, __ATOMIC_RELAXED)

static PyObject *get_count(PyObject *c, void *closure)
{
	return PyLong_FromUnsignedLongLong(GET(c, closure, unsigned long long));
}

static int set_count(PyObject *c, PyObject *v, void *closure)
{
	uint64_t n;

	if (deleted(v) || PyBool_Check(v) || !arg_u64(v, "the attribute", &n)) {
		if (!PyErr_Occurred())
			PyErr_SetString(PyExc_TypeError, "the attribute must be an int, not bool");
		return -1;
	}
	SET(c, closure, unsigned long long, n);
	return 0;
}

static PyObject *get_flag(PyObject *c, void *closure)
{
	return PyBool_FromLong(GET(c, closure, bool));
}

static int set_flag(PyObject *c, PyObject *v, void *closure)
{
	bool on;

	if (deleted(v) || !arg_bool(v, "the attribute", &on))
		return -1;
	SET(c, closure, bool, on);
	return 0;
}

static PyObject *get_object(PyObject *c, void *closure)
{
	struct guard *guard = &((struct config *)c)->guard;
	PyObject *x;

	guard_lock(guard);
	x = Py_NewRef(*AT(c, closure, PyObject *));
	guard_unlock(guard);
	return x;
}

static int put_object(PyObject *c, void *closure, PyObject *v)
{
	struct guard *guard = &((struct config *)c)->guard;
	PyObject **at = AT(c, closure, PyObject *), *old;

	if (!v)
		return -1;
	guard_lock(guard);
	old = *at;
	*at = v;
	guard_unlock(guard);
	Py_XDECREF(old);
	return 0;
}

static int set_text(PyObject *c, PyObject *v, void *closure)
{
	const char *text;

	return !deleted(v) && arg_text(v, "the attribute", &text) ?
		       put_object(c, closure, PyUnicode_FromString(text)) :
		       -1;
}

/* Kept as a list of its own. Callers may append to it; a put checks what it reads. */
static int set_texts(PyObject *c, PyObject *v, void *closure)
{
	PyObject *t, *list, *one;
	const char *text;

	if (deleted(v))
		return -1;
	t = arg_tuple(v, "the attribute");
	list = t ? PyList_New(0) : NULL;
	for (Py_ssize_t i = 0; list && i < PyTuple_Size(t); i++) {
		one = arg_text(PyTuple_GetItem(t, i), "each item", &text) ?
			      PyUnicode_FromString(text) :
			      NULL;
		if (!one || PyList_Append(list, one))
			Py_CLEAR(list);
		Py_XDECREF(one);
	}
	Py_XDECREF(t);
	return put_object(c, closure, list);
}

static int set_texts_or_none(PyObject *c, PyObject *v, void *closure)
{
	return v == Py_None ? put_object(c, closure, Py_NewRef(Py_None)) : set_texts(c, v, closure);
}

static int set_ttl(PyObject *c, PyObject *v, void *closure)
{
	uint64_t n;

	if (deleted(v) || (v != Py_None && !arg_u64(v, "soft_pin_ttl_ms", &n)))
		return -1;
	return put_object(c, closure, Py_NewRef(v));
}

static PyObject *get_soft_pin(PyObject *c, void *closure)
{
	return PyBool_FromLong(GET(c, WHERE(pin_action), long) == PIN_ENABLE);
}

static int set_soft_pin(PyObject *c, PyObject *v, void *closure)
{
	bool on;

	if (deleted(v) || !arg_bool(v, "with_soft_pin", &on))
		return -1;
	SET(c, WHERE(pin_action), long, on ? PIN_ENABLE : PIN_PRESERVE);
	return 0;
}

/* Enumerators are Python objects with an integer value; the number is what is stored. */
static PyObject *get_enum(PyObject *c, void *closure)
{
	const char *name = (size_t)(uintptr_t)closure == offsetof(struct config, v.pin_action) ?
				   "SoftPinAction" :
				   "ObjectDataType";
	struct core_state *st = core_state_of(Py_TYPE(c));
	PyObject *type = st ? core_type(st, name) : NULL, *out = NULL;

	if (type)
		out = PyObject_CallFunction(type, "l", GET(c, closure, long));
	Py_XDECREF(type);
	return out;
}

static int set_enum(PyObject *c, PyObject *v, void *closure)
{
	bool pin = (size_t)(uintptr_t)closure == offsetof(struct config, v.pin_action);
	const char *name = pin ? "SoftPinAction" : "ObjectDataType";
	struct core_state *st;
	PyObject *type, *n;
	long value;
	int is;

	if (deleted(v))
		return -1;
	st = core_state_of(Py_TYPE(c));
	type = st ? core_type(st, name) : NULL;
	is = type ? PyObject_IsInstance(v, type) : -1;
	Py_XDECREF(type);
	if (is < 0)
		return -1;
	if (!is) {
		PyErr_Format(PyExc_TypeError, "the attribute must be a member of %s", name);
		return -1;
	}
	n = PyNumber_Long(v);
	value = n ? PyLong_AsLong(n) : -1;
	Py_XDECREF(n);
	if (value < 0 || value > (pin ? 2 : 9)) /* a member somebody added */
		return PyErr_Occurred() ?
			       -1 :
			       (PyErr_Format(PyExc_TypeError, "unknown member of %s", name), -1);
	SET(c, closure, long, value);
	return 0;
}

static PyGetSetDef config_attrs[] = {
	{ "replica_num", get_count, set_count,
	  "int: memory replicas, each in another pool; best effort", WHERE(replica_num) },
	{ "nof_replica_num", get_count, set_count,
	  "int: NVMe-oF replicas; not available, must be 0", WHERE(nof_replica_num) },
	{ "dfs_replica_num", get_count, set_count,
	  "int: replicas in a distributed file system; not available, must be 0",
	  WHERE(dfs_replica_num) },
	{ "with_soft_pin", get_soft_pin, set_soft_pin, "bool: evicted after everything unpinned",
	  NULL },
	{ "soft_pin_action", get_enum, set_enum, "SoftPinAction", WHERE(pin_action) },
	{ "soft_pin_ttl_ms", get_object, set_ttl, "int or None: milliseconds, only with ENABLE",
	  WHERE(pin_ttl) },
	{ "with_hard_pin", get_flag, set_flag, "bool: never evicted", WHERE(hard_pin) },
	{ "preferred_segments", get_object, set_texts,
	  "list[str]: segment names to place replicas in first", WHERE(preferred) },
	{ "preferred_nof_segments", get_object, set_texts, "list[str]: not used",
	  WHERE(preferred_nof) },
	{ "preferred_segment", get_object, set_text,
	  "str: the older single form; wins when not empty", WHERE(preferred_one) },
	{ "prefer_alloc_in_same_node", get_flag, set_flag,
	  "bool: only for multi-buffer and tensor puts", WHERE(same_node) },
	{ "data_type", get_enum, set_enum, "ObjectDataType: informative", WHERE(data_type) },
	{ "group_ids", get_object, set_texts_or_none,
	  "list[str] or None: one group per key: evicted together, used together; \"\" is none. An "
	  "upsert that names another is -600.",
	  WHERE(groups) },
	{ "host_id", get_object, set_text, "str: informative", WHERE(host_id) },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyObject *config_str(PyObject *self)
{
	static const char *const actions[] = { "PRESERVE", "ENABLE", "DISABLE" };
	static const char *const types[] = { "UNKNOWN",	 "KVCACHE",	    "TENSOR",
					     "WEIGHT",	 "SAMPLE",	    "ACTIVATION",
					     "GRADIENT", "OPTIMIZER_STATE", "METADATA",
					     "GENERAL" };
	struct values copy = values_get((struct config *)self), *c = &copy;
	PyObject *sep = PyUnicode_FromString(", "), *pref = NULL, *nof = NULL, *groups = NULL,
		 *ttl = NULL, *out = NULL;

	pref = sep ? PyUnicode_Join(sep, c->preferred) : NULL;
	nof = sep ? PyUnicode_Join(sep, c->preferred_nof) : NULL;
	groups = sep && c->groups != Py_None ? PyUnicode_Join(sep, c->groups) :
					       PyUnicode_FromString("");
	ttl = c->pin_ttl == Py_None ? PyUnicode_FromString("default") : PyObject_Str(c->pin_ttl);
	if (pref && nof && groups && ttl)
		out = PyUnicode_FromFormat(
			"ReplicateConfig: { replica_num: %llu, nof_replica_num: %llu, "
			"dfs_replica_num: %llu, "
			"soft_pin_action: %s, soft_pin_ttl_ms: %U, with_hard_pin: %d, "
			"preferred_segments: [%U], "
			"preferred_nof_segments: [%U], prefer_alloc_in_same_node: %d, data_type: "
			"%s%s%U%s%U%s%U%s }",
			c->replica_num, c->nof_replica_num, c->dfs_replica_num,
			actions[c->pin_action], ttl, c->hard_pin, pref, nof, c->same_node,
			types[c->data_type],
			PyUnicode_GetLength(c->preferred_one) ?
				", preferred_segment (deprecated): " :
				"",
			c->preferred_one, PyUnicode_GetLength(c->host_id) ? ", host_id: " : "",
			c->host_id, c->groups != Py_None ? ", group_ids: [" : "", groups,
			c->groups != Py_None ? "]" : "");
	Py_XDECREF(ttl);
	Py_XDECREF(groups);
	Py_XDECREF(nof);
	Py_XDECREF(pref);
	Py_XDECREF(sep);
	values_put(&copy);
	return out;
}

/* One name for each key; another number of keys is refused by config_valid(). */
static bool get_groups(const struct values *c, struct put_config *out)
{
	const char *name;

	out->nr_groups = -1;
	if (c->groups == Py_None)
		return true;
	out->group_names = PyList_AsTuple(c->groups);
	if (!out->group_names)
		return false;
	out->nr_groups = PyTuple_Size(out->group_names);
	out->groups = PyMem_Calloc((size_t)out->nr_groups + 1, sizeof(*out->groups));
	if (!out->groups) {
		PyErr_NoMemory();
		return false;
	}
	for (Py_ssize_t i = 0; i < out->nr_groups; i++) {
		if (!arg_text(PyTuple_GetItem(out->group_names, i), "group_ids", &name))
			return false;
		out->groups[i] = (struct mc_key){ name, strlen(name) };
	}
	out->opts.groups = out->groups;
	return true;
}

static uint32_t pin_flags(const struct values *c, uint64_t ttl)
{
	uint32_t flags = c->hard_pin ? MC_PUT_HARD_PIN : 0;

	if (c->pin_action == PIN_ENABLE && (c->pin_ttl == Py_None || ttl))
		flags |= MC_PUT_SOFT_PIN;
	else if (c->pin_action != PIN_PRESERVE)
		flags |= MC_PUT_SOFT_UNPIN; /* a lifetime of 0 as well */
	return flags;
}

static bool take_values(const struct values *c, struct put_config *out)
{
	Py_ssize_t nr;
	uint64_t ttl = 0;

	out->names = PyUnicode_GetLength(c->preferred_one) ? PyTuple_Pack(1, c->preferred_one) :
							     PyList_AsTuple(c->preferred);
	if (!out->names)
		return false;
	nr = PyTuple_Size(out->names);
	out->preferred = PyMem_Malloc((size_t)(nr ? nr : 1) * sizeof(*out->preferred));
	if (!out->preferred) {
		PyErr_NoMemory();
		return false;
	}
	for (Py_ssize_t i = 0; i < nr; i++)
		if (!arg_text(PyTuple_GetItem(out->names, i), "preferred_segments", &out->preferred[i]))
			return false;
	if ((c->pin_ttl != Py_None && !arg_u64(c->pin_ttl, "soft_pin_ttl_ms", &ttl)) || !get_groups(c, out))
		return false;
	out->opts.replicas = (unsigned)(c->replica_num > UINT32_MAX ? UINT32_MAX : c->replica_num);
	out->opts.preferred = out->preferred;
	out->opts.nr_preferred = (unsigned)nr;
	out->opts.soft_pin_ms = ttl;
	out->opts.flags = pin_flags(c, ttl);
	out->opts.data_type = (unsigned)c->data_type;
	out->same_node = c->same_node;
	if (c->nof_replica_num || c->dfs_replica_num)
		out->wrong = "nof_replica_num and dfs_replica_num are 0 here: there are no such tiers";
	else if (!c->replica_num || c->replica_num > 1024)
		out->wrong = "replica_num is 1 to 1024";
	else if (c->pin_ttl != Py_None && c->pin_action != PIN_ENABLE)
		out->wrong = "soft_pin_ttl_ms needs soft_pin_action ENABLE";
	return true;
}

bool config_get(struct core_state *st, PyObject *o, struct put_config *out)
{
	struct values v;
	bool ok;

	memset(out, 0, sizeof(*out));
	out->opts.size = sizeof(out->opts);
	out->nr_groups = -1;
	if (!o)
		return true;
	if (!PyObject_TypeCheck(o, st->config)) {
		PyErr_SetString(PyExc_TypeError, "incompatible function arguments: config must be a ReplicateConfig");
		return false;
	}
	v = values_get((struct config *)o);
	ok = take_values(&v, out);
	values_put(&v);
	if (!ok)
		config_put(out);
	return ok;
}

void config_put(struct put_config *c)
{
	PyMem_Free(c->preferred);
	c->preferred = NULL;
	Py_CLEAR(c->names);
	PyMem_Free(c->groups);
	c->groups = NULL;
	Py_CLEAR(c->group_names);
}

bool config_valid(const struct put_config *c, Py_ssize_t nr_keys)
{
	if (c->wrong)
		return tell_why(c->wrong);
	return c->nr_groups < 0 || c->nr_groups == nr_keys || tell_why("group_ids has another length than the keys");
}

static PyType_Slot config_slots[] = {
	{ Py_tp_doc, (void *)"How a put is stored. No arguments; set the attributes.\n\nAll puts "
			     "read it during the call only." },
	{ Py_tp_new, config_new },
	{ Py_tp_dealloc, config_dealloc },
	{ Py_tp_traverse, config_traverse },
	{ Py_tp_getset, config_attrs },
	{ Py_tp_str, config_str },
	{ Py_tp_repr, config_str },
	{ 0, NULL },
};

PyType_Spec config_spec = {
	.name = "mooncake.store.ReplicateConfig",
	.basicsize = sizeof(struct config),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
	.slots = config_slots,
};

bool config_put_valid(const struct put_config *c, Py_ssize_t nr_keys)
{
	if (c->same_node)
		return tell_why("prefer_alloc_in_same_node is for batch_put_from_multi_buffers() and tensors");
	return config_valid(c, nr_keys);
}

bool config_alone_valid(const struct put_config *c, Py_ssize_t nr_keys)
{
	if (c->same_node && c->opts.replicas != 1)
		return tell_why("prefer_alloc_in_same_node is for one replica");
	return config_valid(c, nr_keys);
}
