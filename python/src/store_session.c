/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: objects read or written layer by layer, between a start and an end. */
#include <mooncake/session.h>

#include "store.h"

/* ---- starting and ending ---------------------------------------------------------------------- */

/* A store that is not set up gives an empty list. */
static PyObject *each_key(PyObject *self, const struct sig *sig, ARGS,
			  int (*fn)(struct mc_store *s, struct mc_session *items, unsigned nr,
				    uint64_t deadline_ns))
{
	PyObject *out = NULL;
	struct mc_session *x;
	struct shared *sh;
	struct arg a[1];

	if (!TAKE(sig, a))
		return NULL;
	x = ITEMS_OF(struct mc_session, &a[0]);
	sh = x ? store_get(self) : NULL;
	if (sh)
		UNLOCKED(fn(sh->s, x, (unsigned)a[0].nr, 0); store_put(sh));
	if (x)
		out = sh ? LIST_OF_CODES(x, a[0].nr) : PyList_New(0);
	PyMem_Free(x);
	args_drop(sig, a);
	return out;
}

METHOD(batch_get_session_start)
{
	static const struct sig sig = { "batch_get_session_start", 1, 0, { { "keys", ARG_KEYS } } };

	return each_key(self, &sig, PASSED, mc_session_read_start);
}

METHOD(batch_put_session_end)
{
	static const struct sig sig = { "batch_put_session_end", 1, 0, { { "keys", ARG_KEYS } } };

	return each_key(self, &sig, PASSED, mc_session_write_end);
}

METHOD(batch_put_session_revoke)
{
	static const struct sig sig = { "batch_put_session_revoke", 1, 0, { { "keys", ARG_KEYS } } };

	return each_key(self, &sig, PASSED, mc_session_write_revoke);
}

METHOD(batch_get_session_end)
{
	static const struct sig sig = { "batch_get_session_end", 1, 0, { { "keys", ARG_KEYS } } };
	struct shared *sh;
	struct arg a[1];

	if (!TAKE(&sig, a))
		return NULL;
	sh = store_get(self);
	if (sh)
		UNLOCKED(mc_session_read_end(sh->s, a[0].keys, (unsigned)a[0].nr); store_put(sh));
	args_drop(&sig, a);
	return PyLong_FromLong(!sh ? -1 : store_is_dummy(self) ? NOT_SET_UP : 0);
}

METHOD(batch_put_session_start)
{
	static const struct sig sig = {
		"batch_put_session_start",
		2,
		0,
		{ { "keys", ARG_KEYS }, { "sizes", ARG_U64S }, { "config", ARG_CONFIG } }
	};
	const struct put_config *cfg;
	PyObject *out = NULL;
	struct mc_session *x;
	struct shared *sh;
	struct arg a[3];

	if (!TAKE(&sig, a))
		return NULL;
	cfg = &a[2].config;
	if (!store_is_open(self)) {
		out = PyList_New(0);
	} else if ((a[1].nr != a[0].nr && !tell_why(LENGTHS_DIFFER)) || !config_alone_valid(cfg, a[0].nr)) {
		out = list_of_value(a[0].nr, NOT_SET_UP);
	} else if ((x = ITEMS_OF(struct mc_session, &a[0]))) {
		for (Py_ssize_t i = 0; i < a[0].nr; i++)
			x[i].bytes = a[1].u64s[i];
		sh = store_get(self);
		if (sh)
			UNLOCKED(mc_session_write_start(sh->s, x, (unsigned)a[0].nr, &cfg->opts, 0);
				 store_put(sh));
		out = LIST_OF_CODES(x, a[0].nr);
		PyMem_Free(x);
	}
	args_drop(&sig, a);
	return out;
}

/* ---- parts ------------------------------------------------------------------------------------ */

/* The parts of all keys, one after the other. */
struct parts {
	struct mc_session_move *move;
	struct mc_part *part;
	size_t nr, room;
};

static bool parts_room(struct parts *p, size_t more)
{
	size_t room = p->room * 2 > p->nr + more ? p->room * 2 : p->nr + more + 1;
	struct mc_part *mem;

	if (p->nr + more <= p->room)
		return true;
	mem = PyMem_Realloc(p->part, room * sizeof(*mem));
	if (!mem) {
		PyErr_NoMemory();
		return false;
	}
	p->part = mem;
	p->room = room;
	return true;
}

/* One key's lists; of different lengths: the key is refused. False with an exception. */
static bool parts_add(struct parts *p, Py_ssize_t i, PyObject *ptrs, PyObject *sizes,
		      PyObject *offs, const char *offs_name)
{
	uint64_t *addr = NULL, *len = NULL, *off = NULL;
	PyObject *a = arg_u64s(ptrs, "each of all_buffer_ptrs", &addr);
	PyObject *b = a ? arg_u64s(sizes, "each of all_sizes", &len) : NULL;
	PyObject *c = b ? arg_u64s(offs, offs_name, &off) : NULL;
	Py_ssize_t n = c ? PyTuple_Size(a) : 0;
	bool ok = c && parts_room(p, (size_t)n);

	p->move[i].result = -EINVAL;
	if (ok && PyTuple_Size(b) == n && PyTuple_Size(c) == n) {
		p->move[i].nr = (unsigned)n;
		p->move[i].result = 0;
		for (Py_ssize_t k = 0; k < n; k++)
			p->part[p->nr++] =
				(struct mc_part){ (void *)(uintptr_t)addr[k], off[k], len[k] };
	}
	PyMem_Free(addr);
	PyMem_Free(len);
	PyMem_Free(off);
	Py_XDECREF(a);
	Py_XDECREF(b);
	Py_XDECREF(c);
	return ok;
}

static void parts_free(struct parts *p)
{
	PyMem_Free(p->move);
	PyMem_Free(p->part);
}

/* keys, all_buffer_ptrs, all_sizes, offsets */
static bool parts_take(struct parts *p, const struct arg *a, const char *offs_name)
{
	const struct mc_part *at;
	bool ok;

	*p = (struct parts){ .move = PyMem_Calloc((size_t)a[0].nr + 1, sizeof(*p->move)) };
	ok = p->move;
	if (!ok)
		PyErr_NoMemory();
	for (Py_ssize_t i = 0; i < a[0].nr && ok; i++)
		ok = parts_add(p, i, PyTuple_GetItem(a[1].list, i), PyTuple_GetItem(a[2].list, i),
			       PyTuple_GetItem(a[3].list, i), offs_name);
	at = p->part;
	for (Py_ssize_t i = 0; i < a[0].nr && ok; i++) {
		p->move[i].key = p->move[i].result ? (struct mc_key){ 0 } : a[0].keys[i];
		p->move[i].parts = at;
		at += p->move[i].nr;
	}
	if (!ok)
		parts_free(p);
	return ok;
}

static PyObject *move_parts(PyObject *self, const struct sig *sig, ARGS, bool write)
{
	PyObject *out = NULL;
	struct arg a[4];
	struct shared *sh;
	struct parts p;

	if (!TAKE(sig, a))
		return NULL;
	if (a[1].nr != a[0].nr || a[2].nr != a[0].nr || a[3].nr != a[0].nr) {
		tell_why(LENGTHS_DIFFER);
		out = list_of_value(a[0].nr, NOT_SET_UP);
	} else if (parts_take(&p, a,
			      write ? "each of all_dst_offsets" : "each of all_src_offsets")) {
		sh = store_get(self);
		if (sh && write)
			UNLOCKED(mc_session_write(sh->s, p.move, (unsigned)a[0].nr); store_put(sh));
		else if (sh)
			UNLOCKED(mc_session_read(sh->s, p.move, (unsigned)a[0].nr, 0);
				 store_put(sh));
		out = sh ? LIST_OF_CODES(p.move, a[0].nr) : PyList_New(0);
		parts_free(&p);
	}
	args_drop(sig, a);
	return out;
}

#define PARTS(offsets)                                                                    \
	{ "keys", ARG_KEYS }, { "all_buffer_ptrs", ARG_LIST }, { "all_sizes", ARG_LIST }, \
	{                                                                                 \
		offsets, ARG_LIST                                                         \
	}

METHOD(batch_get_into_multi_buffer_ranges)
{
	static const struct sig sig = {
		"batch_get_into_multi_buffer_ranges", 4, 0, { PARTS("all_src_offsets") }
	};

	return move_parts(self, &sig, PASSED, false);
}

METHOD(batch_put_from_multi_buffer_ranges)
{
	static const struct sig sig = {
		"batch_put_from_multi_buffer_ranges", 4, 0, { PARTS("all_dst_offsets") }
	};

	return move_parts(self, &sig, PASSED, true);
}

PyMethodDef store_session[] = {
	{ "batch_get_session_start", CALL(batch_get_session_start), FAST,
	  "batch_get_session_start($self, /, keys)\n--\n\n"
	  "Begin to read objects in parts: one replica of each is found and stayed with. Per key "
	  "0; -704 missing; -703 its put\n"
	  "has not ended; -702 no replica can be reached. A session that was there ends either "
	  "way." },
	{ "batch_get_into_multi_buffer_ranges", CALL(batch_get_into_multi_buffer_ranges), FAST,
	  "batch_get_into_multi_buffer_ranges($self, /, keys, all_buffer_ptrs, all_sizes, "
	  "all_src_offsets)\n--\n\n"
	  "Read parts of the sessions' objects: all_sizes[k][i] bytes from offset "
	  "all_src_offsets[k][i] on to\n"
	  "all_buffer_ptrs[k][i]. Nobody is asked, and the bytes are those of the object that the "
	  "session found. Per key its\n"
	  "bytes; -600 no session, or beyond the object; -707 the object is not there any more: "
	  "the session ended; -800." },
	{ "batch_get_session_end", CALL(batch_get_session_end), FAST,
	  "batch_get_session_end($self, /, keys)\n--\n\nForget sessions. Returns 0; -1 not set "
	  "up." },
	{ "batch_put_session_start", CALL(batch_put_session_start), FAST,
	  "batch_put_session_start($self, /, keys, sizes, config=...)\n--\n\n"
	  "Make room for objects that will be written in parts; nobody sees them before "
	  "batch_put_session_end(). Per key 0; -705\n"
	  "it is there already; -600 it has a session, or no size; -200 no room; -702 no pool; "
	  "-900 no master." },
	{ "batch_put_from_multi_buffer_ranges", CALL(batch_put_from_multi_buffer_ranges), FAST,
	  "batch_put_from_multi_buffer_ranges($self, /, keys, all_buffer_ptrs, all_sizes, "
	  "all_dst_offsets)\n--\n\n"
	  "Write parts of the sessions' objects, in any order: all_sizes[k][i] bytes at "
	  "all_buffer_ptrs[k][i] become those from\n"
	  "offset all_dst_offsets[k][i] on. Per key its bytes; -600 no session, or beyond the "
	  "object." },
	{ "batch_put_session_end", CALL(batch_put_session_end), FAST,
	  "batch_put_session_end($self, /, keys)\n--\n\n"
	  "Store what was written, when writes under way are done. Per key 0 (also when another "
	  "put came first, which stays);\n"
	  "-600 no session; codes as put(), and then the session stays, to be ended again or "
	  "revoked." },
	{ "batch_put_session_revoke", CALL(batch_put_session_revoke), FAST,
	  "batch_put_session_revoke($self, /, keys)\n--\n\n"
	  "Give the room back, when writes under way are done; nothing is stored. Per key 0; -600 "
	  "no session." },
	{ NULL, NULL, 0, NULL },
};
