/* SPDX-License-Identifier: Apache-2.0 */
/* BufferPool: memory that is registered with a store once and lent again and again. */
#include "pool.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store.h"

#define PAGE	  4096
#define HUGE_PAGE ((size_t)2 << 20)

/* What leases and blocks need; outlives the Python object while any of them is alive. */
struct pool {
	_Atomic int refs;
	PyObject *store;
	struct room *room;
	size_t capacity, alignment;

	pthread_mutex_t
		lock; /* guards what follows; never held while Python runs or memory is registered */
	pthread_cond_t back;  /* something came back, or the pool closed */
	size_t lent, stocked; /* bytes */
	size_t leases;
	struct block *stock;
	bool closed;
};

struct pool_obj {
	PyObject_HEAD struct core_state *st;
	struct pool *p;
	bool block;
	double timeout; /* negative: none */
};

static void lender_put(struct pool *p)
{
	if (atomic_fetch_sub(&p->refs, 1) != 1)
		return;
	room_unref(p->room);
	pthread_cond_destroy(&p->back);
	pthread_mutex_destroy(&p->lock);
	Py_DECREF(p->store);
	free(p);
}

/* ---- blocks --------------------------------------------------------------------------------- */

static void block_free(struct block *b)
{
	struct shared *sh = store_get(b->pool->store);
	struct pool *p = b->pool;

	if (sh)
		UNLOCKED(mc_store_buffer_del(sh->s, b->mem); store_put(sh));
	free(b->mem);
	free(b);
	lender_put(p);
}

void block_put(struct block *b)
{
	if (atomic_fetch_sub(&b->refs, 1) == 1)
		block_free(b);
}

static struct block *block_new(struct pool *p, size_t bytes)
{
	size_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : PAGE;
	struct shared *sh;
	struct block *b;
	int ret = -1;

	align = align > p->alignment && p->alignment >= PAGE ? p->alignment : align;
	b = calloc(1, sizeof(*b));
	if (!b || posix_memalign(&b->mem, align, bytes)) {
		free(b);
		PyErr_NoMemory();
		return NULL;
	}
	b->bytes = bytes;
	b->pool = p;
	atomic_init(&b->refs, 1);
	sh = store_get(p->store);
	if (sh)
		UNLOCKED(ret = mc_store_buffer_add(sh->s, b->mem, bytes); store_put(sh));
	if (ret) {
		free(b->mem);
		free(b);
		if (sh)
			PyErr_Format(PyExc_RuntimeError, "the memory could not be registered with the store: %s",
				     mc_last_error());
		else
			PyErr_SetString(PyExc_RuntimeError, "the store is closed");
		return NULL;
	}
	atomic_fetch_add(&p->refs, 1);
	return b;
}

/* The smallest in stock that holds @bytes and wastes no more than half. With the lock held. */
static struct block *stock_take(struct pool *p, size_t bytes)
{
	struct block **best = NULL, *b;

	for (struct block **at = &p->stock; *at; at = &(*at)->next)
		if ((*at)->bytes >= bytes && (*at)->bytes / 2 <= bytes &&
		    (!best || (*at)->bytes < (*best)->bytes))
			best = at;
	if (!best)
		return NULL;
	b = *best;
	*best = b->next;
	p->stocked -= b->bytes;
	return b;
}

/* All of the stock, as a list. With the lock held. */
static struct block *stock_clear(struct pool *p)
{
	struct block *all = p->stock;

	p->stock = NULL;
	p->stocked = 0;
	return all;
}

static void blocks_put(struct block *all)
{
	while (all) {
		struct block *next = all->next;

		block_put(all);
		all = next;
	}
}

/* Whole pages; SIZE_MAX, which nobody has, when they are more than can be. */
static size_t rounded(size_t size)
{
	size_t unit = size >= HUGE_PAGE ? HUGE_PAGE : PAGE;

	return size > SIZE_MAX - unit ? SIZE_MAX : (size + unit - 1) / unit * unit;
}

/* With the lock held. */
static bool fits(const struct pool *p, size_t size)
{
	return size <= p->capacity && p->lent <= p->capacity - size;
}

void block_return(struct block *b, size_t size)
{
	struct pool *p = b->pool;
	bool keep;

	if (b->in_room)
		room_give(p->room, size);
	b->in_room = false;
	pthread_mutex_lock(&p->lock);
	p->lent -= size;
	p->leases--;
	/* Memory that somebody still looks at is not lent again. */
	keep = !p->closed && atomic_load(&b->refs) == 1 && b->bytes <= p->capacity &&
	       p->stocked <= p->capacity - b->bytes;
	if (keep) {
		b->next = p->stock;
		p->stock = b;
		p->stocked += b->bytes;
	}
	pthread_cond_broadcast(&p->back);
	pthread_mutex_unlock(&p->lock);
	if (!keep)
		block_put(b);
}

/* ---- lending -------------------------------------------------------------------------------- */

/*
 * Waits until @size bytes may be lent, without the interpreter lock. 0; -ETIMEDOUT; -ESHUTDOWN;
 * -EINTR: look at signals and come again.
 */
static int reserve(struct pool *p, size_t size, bool wait, const struct timespec *by)
{
	struct timespec look;
	int ret = 0;

	clock_gettime(CLOCK_MONOTONIC, &look);
	look.tv_nsec += 100000000;
	if (look.tv_nsec >= 1000000000) {
		look.tv_sec++;
		look.tv_nsec -= 1000000000;
	}
	if (by &&
	    (by->tv_sec < look.tv_sec || (by->tv_sec == look.tv_sec && by->tv_nsec < look.tv_nsec)))
		look = *by;
	pthread_mutex_lock(&p->lock);
	while (!p->closed && !fits(p, size) && !ret)
		ret = wait ? pthread_cond_clockwait(&p->back, &p->lock, CLOCK_MONOTONIC, &look) :
			     EAGAIN;
	if (p->closed) {
		ret = -ESHUTDOWN;
	} else if (fits(p, size)) {
		p->lent += size;
		p->leases++;
		ret = 0;
	} else {
		ret = !wait							     ? -EAGAIN :
		      by && look.tv_sec == by->tv_sec && look.tv_nsec == by->tv_nsec ? -ETIMEDOUT :
										       -EINTR;
	}
	pthread_mutex_unlock(&p->lock);
	return ret;
}

static void unreserve(struct pool *p, size_t size)
{
	pthread_mutex_lock(&p->lock);
	p->lent -= size;
	p->leases--;
	pthread_cond_broadcast(&p->back);
	pthread_mutex_unlock(&p->lock);
}

static bool reserved(struct pool *p, size_t size, bool wait, double timeout)
{
	struct timespec by;
	int ret;

	if (size > p->capacity) {
		PyErr_Format(PyExc_RuntimeError,
			     "%zu bytes are more than the pool's capacity of %zu", size,
			     p->capacity);
		return false;
	}
	clock_gettime(CLOCK_MONOTONIC, &by);
	if (timeout >= 0) {
		double whole = floor(timeout);

		by.tv_sec += (time_t)whole;
		by.tv_nsec += (long)((timeout - whole) * 1e9);
		by.tv_sec += by.tv_nsec / 1000000000;
		by.tv_nsec %= 1000000000;
	}
	do {
		if (PyErr_CheckSignals())
			return false;
		UNLOCKED(ret = reserve(p, size, wait, timeout >= 0 ? &by : NULL));
	} while (ret == -EINTR);
	if (ret == -EAGAIN)
		PyErr_SetString(PyExc_RuntimeError, "the pool is exhausted");
	else if (ret == -ETIMEDOUT)
		PyErr_SetString(PyExc_RuntimeError, "timed out waiting for buffer");
	else if (ret == -ESHUTDOWN)
		PyErr_SetString(PyExc_RuntimeError, "the pool is closed");
	return !ret;
}

static PyObject *lend(struct pool_obj *o, size_t size, bool wait, double timeout)
{
	struct block *b, *unused = NULL;
	size_t bytes = rounded(size ? size : 1);
	struct pool *p = o->p;

	if (!reserved(p, size, wait, timeout))
		return NULL;
	pthread_mutex_lock(&p->lock);
	b = stock_take(p, bytes);
	if (!b && !fits(p, p->stocked))
		unused = stock_clear(p); /* what lies idle makes room */
	pthread_mutex_unlock(&p->lock);
	blocks_put(unused);
	if (!b)
		b = block_new(p, bytes);
	if (!b) {
		unreserve(p, size);
		return NULL;
	}
	b->in_room = room_take(p->room, size);
	return lease_new(o->st, b, size);
}

static bool take_timeout(PyObject *v, double *out)
{
	if (!v || v == Py_None)
		return true;
	*out = PyFloat_AsDouble(v);
	if (*out == -1 && PyErr_Occurred())
		return false;
	if (!(*out >= 0)) {
		PyErr_SetString(PyExc_RuntimeError, "the timeout must not be negative");
		return false;
	}
	if (*out > 1e9)
		*out = 1e9;
	return true;
}

static PyObject *acquire_as(PyObject *self, const struct sig *sig, ARGS)
{
	struct pool_obj *o = (struct pool_obj *)self;
	double timeout = o->timeout;
	bool wait = o->block;
	struct arg a[3];

	if (!args_take(o->st, sig, PASSED, a))
		return NULL;
	if ((a[1].o && a[1].o != Py_None && !arg_bool(a[1].o, "block", &wait)) ||
	    !take_timeout(a[2].o, &timeout))
		return NULL;
	return lend(o, a[0].u64, wait, timeout);
}

#define ACQUIRE                                            \
	{                                                  \
		{ "size", ARG_U64 }, { "block", ARG_ANY }, \
		{                                          \
			"timeout", ARG_ANY                 \
		}                                          \
	}

METHOD(acquire)
{
	static const struct sig sig = { "acquire", 1, 0, ACQUIRE };

	return acquire_as(self, &sig, PASSED);
}

METHOD(buffer)
{
	static const struct sig sig = { "buffer", 1, 0, ACQUIRE };

	return acquire_as(self, &sig, PASSED);
}

METHOD(prewarm)
{
	static const struct sig sig = {
		"prewarm", 2, 0, { { "size", ARG_U64 }, { "count", ARG_U64 } }
	};
	struct arg a[2];

	if (!args_take(((struct pool_obj *)self)->st, &sig, PASSED, a))
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *close_pool(PyObject *self, PyObject *unused)
{
	struct pool *p = ((struct pool_obj *)self)->p;
	struct block *all = NULL;
	size_t leases;

	pthread_mutex_lock(&p->lock);
	leases = p->leases;
	if (!leases) {
		p->closed = true;
		all = stock_clear(p);
		pthread_cond_broadcast(&p->back);
	}
	pthread_mutex_unlock(&p->lock);
	blocks_put(all);
	if (leases)
		return PyErr_Format(PyExc_RuntimeError, "the pool has %zu active leases", leases);
	Py_RETURN_NONE;
}

/* ---- the type ------------------------------------------------------------------------------- */

enum {
	STORE,
	MAX_BYTES,
	MIN_CLASS,
	MAX_CLASS,
	ALIGNMENT,
	BLOCK,
	TIMEOUT,
	MAX_REGIONS,
	PREWARM_SIZE,
	PREWARM_COUNT,
	NR_ARGS
};

static const struct sig pool_sig = { "BufferPool",
				     1,
				     0,
				     { { "store", ARG_ANY },
				       { "max_bytes", ARG_U64 },
				       { "min_size_class", ARG_U64 },
				       { "max_size_class", ARG_ANY },
				       { "alignment", ARG_U64 },
				       { "block_on_exhaustion", ARG_BOOL },
				       { "default_timeout", ARG_ANY },
				       { "max_regions", ARG_ANY },
				       { "prewarm_size", ARG_ANY },
				       { "prewarm_count", ARG_U64 } } };

static bool refuse(const char *why)
{
	PyErr_SetString(PyExc_RuntimeError, why);
	return false;
}

static bool arguments_fit(const struct arg *a, uint64_t local)
{
	uint64_t align = a[ALIGNMENT].o ? a[ALIGNMENT].u64 : 8 << 20;

	if (a[MIN_CLASS].o && !a[MIN_CLASS].u64)
		return refuse("min_size_class must not be 0");
	if (align < sizeof(void *) || align & (align - 1))
		return refuse("alignment must be a power of two, and at least a pointer's size");
	return local || refuse("the store has no local buffer: its local_buffer_size is 0");
}

/* With a reference to @room. */
static struct pool *pool_make(PyObject *store, struct room *room, const struct arg *a)
{
	uint64_t local = room_limit(room), max = a[MAX_BYTES].u64;
	struct pool *p = calloc(1, sizeof(*p));

	if (!p) {
		room_unref(room);
		PyErr_NoMemory();
		return NULL;
	}
	atomic_init(&p->refs, 1);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->back, NULL);
	p->store = Py_NewRef(store);
	p->room = room;
	p->capacity = max > local ? max : max || local > SIZE_MAX / 2 ? local : local * 2;
	p->alignment = a[ALIGNMENT].o ? a[ALIGNMENT].u64 : 8 << 20;
	return p;
}

/* The arguments of a call as those of a fast one. */
static bool spread(PyObject *args, PyObject *kw, PyObject **flat, Py_ssize_t *nargs,
		   PyObject **names)
{
	Py_ssize_t at = 0, nr = PyTuple_Size(args), n = nr;
	PyObject *key, *value;

	*names = PyTuple_New(kw ? PyDict_Size(kw) : 0);
	if (!*names)
		return false;
	if (nr + PyTuple_Size(*names) > NR_ARGS) {
		PyErr_Format(PyExc_TypeError,
			     "BufferPool(): incompatible function arguments: takes at most %d",
			     NR_ARGS);
		return false;
	}
	for (Py_ssize_t i = 0; i < nr; i++)
		flat[i] = PyTuple_GetItem(args, i);
	while (kw && PyDict_Next(kw, &at, &key, &value)) {
		if (PyTuple_SetItem(*names, n - nr, Py_NewRef(key)))
			return false;
		flat[n++] = value;
	}
	*nargs = nr;
	return true;
}

static PyObject *pool_create(struct core_state *st, PyTypeObject *type, const struct arg *a)
{
	bool block = !a[BLOCK].o || a[BLOCK].flag;
	struct shared *sh = NULL;
	struct pool_obj *o;
	double timeout = -1;
	struct room *room;
	struct pool *p;

	/* First what may run Python code, which may close the store. */
	if (!take_timeout(a[TIMEOUT].o, &timeout))
		return NULL;
	if (PyObject_TypeCheck(a[STORE].o, st->store))
		sh = store_get(a[STORE].o);
	if (!sh) {
		refuse("BufferPool needs a MooncakeDistributedStore that is set up");
		return NULL;
	}
	room = sh->room;
	room_ref(room);
	store_put(sh);
	if (!arguments_fit(a, room_limit(room))) {
		room_unref(room);
		return NULL;
	}
	p = pool_make(a[STORE].o, room, a);
	o = p ? (struct pool_obj *)PyType_GenericAlloc(type, 0) : NULL;
	if (!o) {
		if (p)
			lender_put(p);
		return NULL;
	}
	o->st = st;
	o->p = p;
	o->block = block;
	o->timeout = timeout;
	return (PyObject *)o;
}

static PyObject *pool_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
	struct core_state *st = core_state_of(type);
	PyObject *flat[NR_ARGS], *names = NULL, *out = NULL;
	struct arg a[PARAMS_MAX];
	Py_ssize_t nargs;

	if (st && spread(args, kw, flat, &nargs, &names) &&
	    args_take(st, &pool_sig, flat, nargs, names, a)) {
		out = pool_create(st, type, a);
		args_drop(&pool_sig, a);
	}
	Py_XDECREF(names);
	return out;
}

static void pool_dealloc(struct pool_obj *o)
{
	PyTypeObject *type = Py_TYPE((PyObject *)o);
	struct block *all;

	pthread_mutex_lock(&o->p->lock);
	o->p->closed = true;
	all = stock_clear(o->p);
	pthread_mutex_unlock(&o->p->lock);
	blocks_put(all);
	lender_put(o->p);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(o);
	Py_DECREF(type);
}

static PyMethodDef pool_methods[] = {
	{ "acquire", CALL(acquire), FAST,
	  "acquire($self, /, size, block=None, timeout=None)\n--\n\nA BufferLease of size bytes. "
	  "When so much is not free: waits, up to "
	  "timeout\nseconds, or with block=False raises. RuntimeError: larger than the pool, "
	  "exhausted, timed out, closed." },
	{ "buffer", CALL(buffer), FAST,
	  "buffer($self, /, size, block=None, timeout=None)\n--\n\nThe same as acquire()." },
	{ "prewarm", CALL(prewarm), FAST,
	  "prewarm($self, /, size, count)\n--\n\nDoes nothing: memory is kept once it was lent." },
	{ "close", close_pool, METH_NOARGS,
	  "close($self, /)\n--\n\nFree the memory. RuntimeError while leases are active; may be "
	  "called again." },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot pool_slots[] = {
	{ Py_tp_doc, (void *)"BufferPool(store, max_bytes=0, min_size_class=65536, "
			     "max_size_class=None, alignment=8388608, block_on_exhaustion=True, "
			     "default_timeout=None, max_regions=None, prewarm_size=None, "
			     "prewarm_count=0)\n--\n\n"
			     "Memory registered with a store, on loan. At most max_bytes are lent "
			     "at a time: 0 means twice the store's\n"
			     "local_buffer_size, which is also the least. Any thread may call." },
	{ Py_tp_new, pool_new },
	{ Py_tp_dealloc, pool_dealloc },
	{ Py_tp_methods, pool_methods },
	{ 0, NULL },
};

PyType_Spec pool_spec = {
	.name = "mooncake.store.BufferPool",
	.basicsize = sizeof(struct pool_obj),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = pool_slots,
};
