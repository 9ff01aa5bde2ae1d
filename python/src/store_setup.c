/* SPDX-License-Identifier: Apache-2.0 */
/* setup(): from arguments, or from a dict in which everything is text. */
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

PyObject *store_run_setup(struct store_obj *o, struct mc_store_opts *opts,
			  struct engine_ref *engine, const char *node)
{
	bool named = opts->local_name && *opts->local_name;
	struct shared *sh = NULL;
	int ret = -EINVAL;

	if (store_hook_exit(o->st)) {
		if (engine)
			UNLOCKED(engine_put(engine));
		return NULL;
	}
	store_replace(o, NULL); /* a second setup replaces the first */
	opts->size = sizeof(*opts);
	/* What callers write for no list of devices. */
	if (opts->devices && !strcmp(opts->devices, "auto-discovery"))
		opts->devices = NULL;
	if (!named)
		tell_why("setup() needs a local_hostname: this machine's address, or a name of it");
	if (named)
		UNLOCKED(ret = store_open(opts, engine, &sh));
	else if (engine)
		UNLOCKED(engine_put(engine));
	if (!ret && node)
		sh->node = strdup(node);
	if (!ret)
		store_replace(o, sh); /* another thread's setup may have come first */
	/* Callers know one number for "no master": -1. */
	if (ret && ret != -EINVAL && ret != -ENOMEM && ret != -EPERM)
		return PyLong_FromLong(-1);
	return PyLong_FromLong(ret ? NOT_SET_UP : 0);
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
	char why[160];

	if (!mc_parse_size(text, out) && (!*out || *out >= 1024) && *out <= max)
		return true;
	snprintf(why, sizeof(why), "setup(): \"%.60s\" is no size that is taken: 0, or at least 1024 bytes, such as 512mb or 4 GB", text);
	return tell_why(why);
}

#define BAD_PORT "client_http_port is 1 to 65535"

static bool good_port(const char *text)
{
	char *end;
	long port = strtol(text, &end, 10);

	return (end > text && !*end && port > 0 && port <= 65535) || tell_why(BAD_PORT);
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
static int warn_missing(bool ssd, bool http, bool ipc)
{
	if (ssd && PyErr_WarnEx(PyExc_UserWarning,
				"setup(): enable_ssd_offload is not available and is ignored", 1))
		return -1;
	if (ipc && PyErr_WarnEx(PyExc_UserWarning,
				"setup(): ipc_socket_path is ignored; clients of a node go to mooncake-node", 1))
		return -1;
	return http ? PyErr_WarnEx(
			      PyExc_UserWarning,
			      "setup(): enable_client_http_server is not available and is ignored",
			      1) :
		      0;
}

static PyObject *setup_texts(struct store_obj *o, PyObject *texts)
{
	const char *segment, *local, *port, *ipc;
	struct mc_store_opts opts = { 0 };
	int ssd = bool_word(texts, "enable_ssd_offload"),
	    http = ssd < 0 ? -1 : bool_word(texts, "enable_client_http_server");

	if (http < 0 || !text_at(texts, "ipc_socket_path", "", &ipc) || warn_missing(ssd, http, *ipc) ||
	    !text_at(texts, "local_hostname", "", &opts.local_name) ||
	    !text_at(texts, "metadata_server", "", &opts.metadata) ||
	    !text_at(texts, "protocol", "tcp", &opts.protocol) ||
	    !text_at(texts, "rdma_devices", "", &opts.devices) ||
	    !text_at(texts, "tenant_id", "default", &opts.tenant) ||
	    /* Both spellings are in use. */
	    !text_at(texts, "master_server_address", "127.0.0.1:50051", &opts.master) ||
	    !text_at(texts, "master_server_addr", opts.master, &opts.master) ||
	    !text_at(texts, "global_segment_size", "16777216", &segment) ||
	    !text_at(texts, "local_buffer_size", "16777216", &local) ||
	    !text_at(texts, "client_http_port", "9300", &port))
		return NULL;
	if ((!*opts.metadata && !tell_why("setup() needs a metadata_server; \"P2PHANDSHAKE\" is none at all")) ||
	    !good_size(segment, UINT64_MAX, &opts.pool_bytes) ||
	    !good_size(local, (uint64_t)1 << 40, &opts.local_buffer_bytes) || !good_port(port))
		return PyLong_FromLong(NOT_SET_UP);
	return store_run_setup(o, &opts, NULL, NULL);
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

static PyObject *setup_args(struct store_obj *o, const struct arg *a)
{
	struct mc_store_opts opts = {
		.local_name = a[HOST].text,
		.metadata = a[META].text,
		.pool_bytes = a[SEGMENT].u64,
		.local_buffer_bytes = a[LOCAL].u64,
		.protocol = a[PROTOCOL].text,
		.devices = a[DEVICES].text,
		.master = a[MASTER].text,
		.tenant = a[TENANT].text,
	};
	struct engine_ref *engine = NULL;
	uint64_t port = a[HTTP_PORT].o ? a[HTTP_PORT].u64 : 9300;

	if (warn_missing(a[SSD].flag, a[HTTP].flag, false))
		return NULL;
	if (!port || port > 65535) {
		tell_why(BAD_PORT);
		return PyLong_FromLong(NOT_SET_UP);
	}
	if (a[ENGINE].o && a[ENGINE].o != Py_None) {
		engine = engine_of(o->st, a[ENGINE].o, &opts.engine);
		if (!engine)
			return NULL;
	}
	return store_run_setup(o, &opts, engine, NULL);
}

METHOD(setup)
{
	static const struct sig dict_sig = { "setup", 1, 0, { { "config", ARG_ANY } } };
	static const struct sig sig = {
		"setup",
		7,
		0,
		{ { "local_hostname", ARG_TEXT },
		  { "metadata_server", ARG_TEXT },
		  { "global_segment_size", ARG_U64 },
		  { "local_buffer_size", ARG_U64 },
		  { "protocol", ARG_TEXT },
		  { "rdma_devices", ARG_TEXT },
		  { "master_server_addr", ARG_TEXT },
		  { "engine", ARG_ANY },
		  { "enable_ssd_offload", ARG_BOOL },
		  { "ssd_offload_path", ARG_TEXT },
		  { "tenant_id", ARG_TEXT },
		  { "enable_client_http_server", ARG_BOOL },
		  { "client_http_port", ARG_U64 } },
	};
	bool dict = nargs + (kwnames ? PyTuple_Size(kwnames) : 0) == 1 && PyDict_Check(args[0]);
	struct arg a[NR_SETUP];
	PyObject *out;

	if (!TAKE(dict ? &dict_sig : &sig, a))
		return NULL;
	if (dict)
		return setup_dict((struct store_obj *)self, a[0].o);
	out = setup_args((struct store_obj *)self, a);
	args_drop(&sig, a);
	return out;
}

PyMethodDef store_setup[] = {
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
	{ NULL, NULL, 0, NULL },
};
