/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that a store mounts and takes back. */
#include "store.h"

#include <inttypes.h>
#include <mooncake/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALLOCATE_STEP ((uint64_t)4 << 20)

/* {"ret": 0, "segment_ids": [id]}, with @allocated unless it is 0; or -1 and nothing. */
static PyObject *mounted(int ret, const struct mc_uuid *id, uint64_t allocated)
{
	char text[48];

	if (ret)
		return Py_BuildValue("{s:i,s:[]}", "ret", -1, "segment_ids");
	snprintf(text, sizeof(text), "%" PRIu64 "-%" PRIu64, id->hi, id->lo);
	if (!allocated)
		return Py_BuildValue("{s:i,s:[s]}", "ret", 0, "segment_ids", text);
	return Py_BuildValue("{s:i,s:[s],s:K}", "ret", 0, "segment_ids", text, "allocated_size",
			     (unsigned long long)allocated);
}

/* Memory is mounted under the engine's protocol, whatever is asked for; nonsense is refused. */
static bool known(const char *protocol)
{
	return !*protocol || !strcmp(protocol, "tcp") || !strcmp(protocol, "rdma") ||
	       tell_why("memory is mounted for protocol \"tcp\" or \"rdma\"");
}

METHOD(mount_segment)
{
	static const struct sig sig = {
		"mount_segment",
		2,
		0,
		{ { "path", ARG_TEXT },
		  { "size", ARG_U64 },
		  { "offset", ARG_U64 },
		  { "protocol", ARG_TEXT },
		  { "location", ARG_TEXT } },
	};
	struct shared *sh = NULL;
	struct mc_uuid id;
	int ret = -EINVAL;
	PyObject *out;
	struct arg a[5];

	if (!TAKE(&sig, a))
		return NULL;
	if (!a[3].o || known(a[3].text))
		sh = store_get(self);
	if (sh)
		UNLOCKED(ret = mc_store_mount_file(sh->s, a[0].text, a[2].u64, a[1].u64, 0, &id);
			 store_put(sh));
	out = mounted(ret, &id, 0);
	args_drop(&sig, a);
	return out;
}

METHOD(allocate_and_mount_segment)
{
	static const struct sig sig = {
		"allocate_and_mount_segment",
		1,
		0,
		{ { "size", ARG_U64 }, { "protocol", ARG_TEXT }, { "location", ARG_TEXT } },
	};
	struct shared *sh = NULL;
	struct mc_uuid id;
	uint64_t bytes;
	int ret = -EINVAL;
	PyObject *out;
	struct arg a[3];

	if (!TAKE(&sig, a))
		return NULL;
	bytes = a[0].u64 <= UINT64_MAX - ALLOCATE_STEP ?
			(a[0].u64 + ALLOCATE_STEP - 1) / ALLOCATE_STEP * ALLOCATE_STEP :
			UINT64_MAX;
	if (!a[1].o || known(a[1].text))
		sh = store_get(self);
	if (sh)
		UNLOCKED(ret = mc_store_mount_memory(sh->s, bytes, 0, &id); store_put(sh));
	out = mounted(ret, &id, bytes);
	args_drop(&sig, a);
	return out;
}

static bool uuid_of(const char *text, struct mc_uuid *out)
{
	int end = 0;

	return (strspn(text, "0123456789-") == strlen(text) &&
		sscanf(text, "%" SCNu64 "-%" SCNu64 "%n", &out->hi, &out->lo, &end) == 2 && !text[end]) ||
	       tell_why("a segment id is two numbers with a dash between them");
}

/* All of them, whatever becomes of the first. Return: the first error, as callers know it. */
static long unmount_all(struct mc_store *s, const struct mc_uuid *id, const bool *good,
			Py_ssize_t nr, uint64_t grace_ns)
{
	long first = 0;

	for (Py_ssize_t i = 0; i < nr; i++) {
		int ret = good[i] ? mc_store_unmount(s, &id[i], grace_ns) : -ENOENT;

		if (ret && !first)
			first = ret == -ENOENT ? -1 : (long)mc_store_code(ret);
	}
	return first;
}

static PyObject *unmount(PyObject *self, PyObject *list, uint64_t grace_s)
{
	Py_ssize_t nr = PyTuple_Size(list);
	struct mc_uuid *id = PyMem_Calloc((size_t)nr + 1, sizeof(*id));
	bool *good = PyMem_Calloc((size_t)nr + 1, sizeof(*good));
	uint64_t grace_ns = grace_s > UINT32_MAX ? UINT64_MAX : grace_s * 1000000000;
	PyObject *out = NULL;
	struct shared *sh;
	const char *text;
	long ret = -1;

	if (!id || !good) {
		PyErr_NoMemory();
		goto out;
	}
	for (Py_ssize_t i = 0; i < nr; i++) {
		if (!arg_text(PyTuple_GetItem(list, i), "segment_ids", &text))
			goto out;
		good[i] = uuid_of(text, &id[i]);
	}
	sh = store_get(self);
	if (sh)
		UNLOCKED(ret = unmount_all(sh->s, id, good, nr, grace_ns); store_put(sh));
	out = PyLong_FromLong(ret);
out:
	PyMem_Free(good);
	PyMem_Free(id);
	return out;
}

static PyObject *take_and_unmount(PyObject *self, const char *name, ARGS)
{
	const struct sig sig = {
		name, 1, 0, { { "segment_ids", ARG_LIST }, { "grace_period_seconds", ARG_U64 } }
	};
	PyObject *out;
	struct arg a[2];

	if (!TAKE(&sig, a))
		return NULL;
	out = unmount(self, a[0].list, a[1].u64);
	args_drop(&sig, a);
	return out;
}

METHOD(unmount_segment)
{
	return take_and_unmount(self, "unmount_segment", PASSED);
}

METHOD(unmount_and_free_segment)
{
	return take_and_unmount(self, "unmount_and_free_segment", PASSED);
}

METHOD(unmount_local_disk_segment)
{
	static const struct sig sig = {
		"unmount_local_disk_segment", 0, 0, { { "grace_period_seconds", ARG_U64 } }
	};
	struct shared *sh;
	struct arg a[1];

	if (!TAKE(&sig, a))
		return NULL;
	args_drop(&sig, a);
	sh = store_is_dummy(self) ? NULL : store_get(self);
	if (sh)
		store_put(sh);
	return PyLong_FromLong(sh ? 0 : -1);
}

PyMethodDef store_mount[] = {
	{ "mount_segment", CALL(mount_segment), FAST,
	  "mount_segment($self, /, path, size, offset=0, protocol='tcp', location='')\n--\n\n"
	  "Contribute size bytes of a file from offset on, /dev/shm/... say: at least 1 MiB, which "
	  "are overwritten.\nReturns {'ret': 0, 'segment_ids': [id]}; ret -1 and no ids: not a "
	  "file, too short, offset not at a page (last_error() says)." },
	{ "allocate_and_mount_segment", CALL(allocate_and_mount_segment), FAST,
	  "allocate_and_mount_segment($self, /, size, protocol='tcp', location='')\n--\n\n"
	  "Contribute size bytes of fresh memory, rounded up to 4 MiB: 'allocated_size' of the "
	  "result, which is as mount_segment()'s." },
	{ "unmount_segment", CALL(unmount_segment), FAST,
	  "unmount_segment($self, /, segment_ids, grace_period_seconds=0)\n--\n\nTake memory back; "
	  "its objects go, unless other segments have copies. With a grace period it takes nothing "
	  "new at once,\ncan be read until that is over, and goes in the background.\nReturns 0; "
	  "-1 an id is unknown: the others are unmounted all the same." },
	{ "unmount_and_free_segment", CALL(unmount_and_free_segment), FAST,
	  "unmount_and_free_segment($self, /, segment_ids, grace_period_seconds=0)\n--\n\nThe same "
	  "for allocate_and_mount_segment()." },
	{ "unmount_local_disk_segment", CALL(unmount_local_disk_segment), FAST,
	  "unmount_local_disk_segment($self, /, grace_period_seconds=0)\n--\n\nThere is none: 0; "
	  "-1 when not set up." },
	{ NULL, NULL, 0, NULL },
};
