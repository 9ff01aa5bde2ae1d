/* SPDX-License-Identifier: Apache-2.0 */
/* The library's calls, each without the interpreter lock. */
#include "store.h"

bool run_put(PyObject *self, struct mc_put *p, Py_ssize_t nr, const struct mc_put_opts *o)
{
	struct shared *sh = store_get(self);

	if (sh)
		UNLOCKED(mc_store_put(sh->s, p, (unsigned)nr, o, 0); store_put(sh));
	return sh;
}

bool run_get(PyObject *self, struct mc_get *g, Py_ssize_t nr)
{
	struct shared *sh = store_get(self);

	if (sh)
		UNLOCKED(mc_store_get(sh->s, g, (unsigned)nr, 0); store_put(sh));
	return sh;
}

bool run_exists(PyObject *self, struct mc_query *q, Py_ssize_t nr)
{
	struct shared *sh = store_get(self);

	if (sh)
		UNLOCKED(mc_store_exists(sh->s, q, (unsigned)nr, 0); store_put(sh));
	return sh;
}

bool run_size(PyObject *self, struct mc_query *q, Py_ssize_t nr)
{
	struct shared *sh = store_get(self);

	if (sh)
		UNLOCKED(mc_store_size(sh->s, q, (unsigned)nr, 0); store_put(sh));
	return sh;
}

bool run_remove(PyObject *self, struct mc_remove *r, Py_ssize_t nr, bool force)
{
	struct shared *sh = store_get(self);
	uint32_t flags = force ? MC_REMOVE_FORCE : 0;

	if (sh)
		UNLOCKED(mc_store_remove(sh->s, r, (unsigned)nr, flags, 0); store_put(sh));
	return sh;
}

uint64_t pieces_bytes(const struct mc_iov *iov, unsigned nr)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < nr; i++) {
		if ((iov[i].len && !iov[i].addr) || iov[i].len > UINT64_MAX - 1 - sum)
			return UINT64_MAX;
		sum += iov[i].len;
	}
	return sum;
}

bool pieces_usable(PyObject *self, const struct mc_iov *iov, unsigned nr)
{
	struct shared *sh = store_get(self);
	bool ok = !sh || !mc_store_buffer_check(sh->s, iov, nr);

	if (sh)
		store_put(sh);
	return ok;
}

bool bytes_fit(uint64_t bytes, uint64_t most)
{
	return bytes <= most ||
	       tell_why("the value is larger than local_buffer_size; put_from() takes it from the caller's memory instead");
}

long put_object(PyObject *self, const struct mc_put *p, struct put_config *cfg, uint32_t flags,
		bool limit, long none)
{
	uint64_t bytes = pieces_bytes(p->iov, p->nr_iov), most;
	struct mc_put one = *p;

	if (!store_limit(self, &most) || !config_put_valid(cfg, 1) ||
	    (bytes == UINT64_MAX && !tell_why("a piece has bytes and no address, or they are more than can be")) ||
	    (limit && !bytes_fit(bytes, most)))
		return NOT_SET_UP;
	if (!bytes) {
		tell_why("an empty value is not stored");
		return none;
	}
	one.result = -EINVAL;
	cfg->opts.flags |= flags;
	run_put(self, &one, 1, &cfg->opts);
	return (long)mc_store_code(one.result);
}
