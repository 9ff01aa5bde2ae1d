/* SPDX-License-Identifier: Apache-2.0 */
/* Memory behind a descriptor, for SharedSegment. */
#include "memory.h"

#include <errno.h>
#include <mooncake/memory.h>

static int new_memory(uint64_t len, int *fd)
{
	struct mc_memory_info info;
	void *p;
	int ret = mc_memory_alloc(len, NULL, &p);

	if (ret)
		return ret;
	ret = mc_memory_find(p, &info, fd);
	mc_memory_free(p); /* the descriptor keeps it */
	return ret;
}

PyObject *shared_memory(PyObject *module, PyObject *size)
{
	uint64_t len;
	int ret, fd;

	if (!arg_u64(size, "size", &len))
		return NULL;
	UNLOCKED(ret = new_memory(len, &fd));
	if (!ret)
		return PyLong_FromLong(fd);
	errno = -ret;
	return PyErr_SetFromErrno(PyExc_OSError);
}
