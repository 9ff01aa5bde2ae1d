/* SPDX-License-Identifier: Apache-2.0 */
/* TransferEngine: what peers are asked, and what they tell. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

static uint64_t deadline_of(PyObject *self)
{
	return mc_deadline_ms(((struct engine_obj *)self)->timeout_ns / 1000000);
}

/* It may have registered memory since it was opened. */
static int first_buffer(struct engine_ref *r, const char *name, uint64_t deadline_ns, uint64_t *addr)
{
	struct mc_segment *seg;
	uint64_t len;
	int ret = engine_peer(r, name, deadline_ns, &seg);

	if (ret)
		return ret;
	if (!mc_segment_buffer(seg, 0, addr, &len))
		return 0;
	if (mc_segment_refresh(seg, deadline_ns))
		return -ENOENT;
	return mc_segment_buffer(seg, 0, addr, &len);
}

METHOD(get_first_buffer_address)
{
	static const struct sig sig = {
		"get_first_buffer_address", 1, 1, { { "segment_name", ARG_TEXT } }
	};
	uint64_t addr = 0, deadline = deadline_of(self);
	struct arg a[1];
	int ret;

	if (!TAKE(&sig, a))
		return NULL;
	ret = ON_ENGINE(self, r, first_buffer(r, a[0].text, deadline, &addr));
	return PyLong_FromUnsignedLongLong(ret ? 0 : addr);
}

METHOD(send_probe)
{
	static const struct sig sig = { "send_probe", 1, 0, { { "peer_server_name", ARG_TEXT } } };
	struct arg a[1];
	int ret;

	if (!TAKE(&sig, a))
		return NULL;
	ret = ON_ENGINE(self, r, mc_probe(r->eng, a[0].text, mc_deadline_ms(5000)));
	return ret == -ENOENT ? PyLong_FromLong(-200) : engine_result(ret);
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
	if (r)
		UNLOCKED(engine_put(r));
	return list;
}

METHOD(get_local_topology)
{
	static const struct sig sig = {
		"get_local_topology", 0, 0, { { "device_name", ARG_NAME } }
	};
	struct arg a[1];
	PyObject *out;
	char *json;

	if (!TAKE(&sig, a))
		return NULL;
	UNLOCKED(json = mc_topology_json(a[0].text));
	if (!json) {
		PyErr_SetString(PyExc_RuntimeError, mc_last_error());
		return NULL;
	}
	out = PyUnicode_FromString(json);
	free(json);
	return out;
}

METHOD(warmup_efa_segment)
{
	static const struct sig sig = {
		"warmup_efa_segment", 1, 0, { { "segment_name", ARG_TEXT } }
	};
	struct arg a[1];

	return TAKE(&sig, a) ? PyLong_FromLong(0) : NULL;
}

PyMethodDef engine_peers[] = {
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
	  "their NICs, as JSON: {\"cpu:0\": [[near], [others]], \"cuda:0\": ...}.\n"
	  "device_name is a comma list of devices to look at; RuntimeError when the machine cannot be read." },
	{ "warmup_efa_segment", CALL(warmup_efa_segment), FAST,
	  "warmup_efa_segment($self, /, segment_name)\n--\n\nNothing to do: 0." },
	{ NULL, NULL, 0, NULL },
};
