/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of the caller, by address: nothing is copied in between. Registration, and one object at
 * a time.
 */
#include "store.h"

/* ---- registration --------------------------------------------------------------------------- */

METHOD(register_buffer)
{
	static const struct sig sig = {
		"register_buffer", 2, 0, { { "buffer_ptr", ARG_U64 }, { "size", ARG_U64 } }
	};
	struct mc_iov m;
	struct shared *sh;
	struct arg a[2];
	int ret = -1, none;

	if (!TAKE(&sig, a))
		return NULL;
	m = piece(a[0].u64, a[1].u64);
	none = store_is_dummy(self) ? -1 : NOT_SET_UP;
	sh = none != -1 || dummy_memory(a[0].u64, a[1].u64) ? store_get(self) : NULL;
	if (sh)
		UNLOCKED(ret = mc_store_buffer_add(sh->s, m.addr, m.len); store_put(sh));
	return PyLong_FromLong(ret ? none : 0);
}

METHOD(unregister_buffer)
{
	static const struct sig sig = { "unregister_buffer", 1, 0, { { "buffer_ptr", ARG_U64 } } };
	struct shared *sh;
	struct arg a[1];
	int ret = -1, none;

	if (!TAKE(&sig, a))
		return NULL;
	none = store_is_dummy(self) ? -1 : NOT_SET_UP;
	sh = store_get(self);
	if (sh)
		UNLOCKED(ret = mc_store_buffer_del(sh->s, piece(a[0].u64, 0).addr); store_put(sh));
	return PyLong_FromLong(ret ? none : 0);
}

/* ---- one object ----------------------------------------------------------------------------- */

METHOD(get_into)
{
	static const struct sig sig = {
		"get_into",
		3,
		0,
		{ { "key", ARG_KEY }, { "buffer_ptr", ARG_U64 }, { "size", ARG_U64 } }
	};
	struct mc_get g = { .nr_iov = 1, .result = -EINVAL };
	struct mc_iov iov;
	struct arg a[3];

	if (!TAKE(&sig, a))
		return NULL;
	iov = piece(a[1].u64, a[2].u64);
	g.key = a[0].key;
	g.iov = &iov;
	if (pieces_usable(self, &iov, 1))
		run_get(self, &g, 1);
	return PyLong_FromLongLong(mc_store_code(g.result));
}

static PyObject *put_ptr(PyObject *self, const struct sig *sig, ARGS, uint32_t flags)
{
	struct mc_put p = { .nr_iov = 1 };
	struct mc_iov iov;
	struct arg a[4];
	long ret;

	if (!TAKE(sig, a))
		return NULL;
	iov = piece(a[1].u64, a[2].u64);
	p.key = a[0].key;
	p.iov = &iov;
	ret = pieces_usable(self, &iov, 1) ? put_object(self, &p, &a[3].config, flags, false, 0) : NOT_SET_UP;
	args_drop(sig, a);
	return PyLong_FromLong(ret);
}

#define POINTER                                                                     \
	{                                                                           \
		{ "key", ARG_KEY }, { "buffer_ptr", ARG_U64 }, { "size", ARG_U64 }, \
			{ "config", ARG_CONFIG },                                   \
	}

METHOD(put_from)
{
	static const struct sig sig = { "put_from", 3, 0, POINTER };

	return put_ptr(self, &sig, PASSED, 0);
}

METHOD(upsert_from)
{
	static const struct sig sig = { "upsert_from", 3, 0, POINTER };

	return put_ptr(self, &sig, PASSED, MC_PUT_REPLACE);
}

/* Failed writes answer with a positive number here, as callers of this one call know it. */
METHOD(put_from_with_metadata)
{
	static const struct sig sig = { "put_from_with_metadata",
					5,
					0,
					{ { "key", ARG_KEY },
					  { "buffer_ptr", ARG_U64 },
					  { "metadata_buffer_ptr", ARG_U64 },
					  { "size", ARG_U64 },
					  { "metadata_size", ARG_U64 },
					  { "config", ARG_CONFIG } } };
	struct mc_put p = { .nr_iov = 2 };
	struct mc_iov iov[2];
	struct arg a[6];
	long ret = 0;

	if (!TAKE(&sig, a))
		return NULL;
	iov[0] = piece(a[2].u64, a[4].u64);
	iov[1] = piece(a[1].u64, a[3].u64);
	p.key = a[0].key;
	p.iov = iov;
	if (!store_is_open(self))
		ret = NOT_SET_UP;
	else if (a[3].u64 && !pieces_usable(self, iov, 2))
		ret = -NOT_SET_UP;
	else if (a[3].u64) /* else nothing is stored, metadata neither */
		ret = !config_put_valid(&a[5].config, 1) && a[5].config.same_node ? -1 : -put_object(self, &p, &a[5].config, 0, false, 0);
	args_drop(&sig, a);
	return PyLong_FromLong(ret);
}

PyMethodDef store_zero[] = {
	{ "register_buffer", CALL(register_buffer), FAST,
	  "register_buffer($self, /, buffer_ptr, size)\n--\n\nTell the store of memory that gets "
	  "and puts will use. Returns 0; -600 null, empty,\n"
	  "or overlapping a registered range. The memory stays the caller's." },
	{ "unregister_buffer", CALL(unregister_buffer), FAST,
	  "unregister_buffer($self, /, buffer_ptr)\n--\n\nReturns 0; -600 when no registered range "
	  "starts there." },
	{ "get_into", CALL(get_into), FAST,
	  "get_into($self, /, key, buffer_ptr, size)\n--\n\nRead an object into memory. Returns "
	  "its bytes; -704 missing; -600 it is larger than\n"
	  "size (nothing is written); -800, -900 could not be read." },
	{ "put_from", CALL(put_from), FAST,
	  "put_from($self, /, key, buffer_ptr, size, config=...)\n--\n\nStore size bytes of "
	  "memory. Returns 0 (size 0: nothing is\n"
	  "stored); codes as put()." },
	{ "upsert_from", CALL(upsert_from), FAST,
	  "upsert_from($self, /, key, buffer_ptr, size, config=...)\n--\n\nAs put_from(), but "
	  "replaces what is there." },
	{ "put_from_with_metadata", CALL(put_from_with_metadata), FAST,
	  "put_from_with_metadata($self, /, key, buffer_ptr, metadata_buffer_ptr, size, "
	  "metadata_size, config=...)\n--\n\n"
	  "Store metadata followed by data as one object. Returns 0; failed writes give the code "
	  "WITHOUT its sign." },
	{ NULL, NULL, 0, NULL },
};
