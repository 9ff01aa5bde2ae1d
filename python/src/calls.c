/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls: Python calls in the background, for mooncake.async_store. An event loop watches fileno() and collects what has ended;
 * mc_async has the threads. Gets of bytes run without the interpreter lock, several in one call of the library (calls_get.c).
 */
#include "calls.h"

#include <structmember.h>

/* ---- one call ------------------------------------------------------------------------------- */

static PyObject *taken_exception(void)
{
	PyObject *type, *value, *trace;

	PyErr_Fetch(&type, &value, &trace);
	PyErr_NormalizeException(&type, &value, &trace);
	if (trace)
		PyException_SetTraceback(value, trace);
	Py_XDECREF(trace);
	Py_XDECREF(type);
	return value;
}

/* On a thread of the queue, which is joined before the interpreter goes. */
static void run(struct mc_job *job)
{
	struct call *c = call_of(job);
	PyGILState_STATE state = PyGILState_Ensure();

	c->value = PyObject_CallNoArgs(c->f);
	if (!c->value) {
		c->failed = 1;
		c->value = taken_exception();
	}
	Py_CLEAR(c->f); /* what it was given is let go of now, not when the loop looks */
	PyGILState_Release(state);
}

static int call_traverse(PyObject *self, visitproc visit, void *arg)
{
	struct call *c = (struct call *)self;

	Py_VISIT(Py_TYPE(self));
	Py_VISIT(c->f);
	Py_VISIT(c->future);
	Py_VISIT(c->value);
	return 0;
}

static int call_clear(PyObject *self)
{
	struct call *c = (struct call *)self;

	Py_CLEAR(c->f);
	Py_CLEAR(c->future);
	Py_CLEAR(c->value);
	Py_CLEAR(c->key);
	return 0;
}

static void call_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_GC_UnTrack(self);
	get_drop((struct call *)self);
	call_clear(self);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyMemberDef call_members[] = {
	{ "future", T_OBJECT, offsetof(struct call, future), 0, NULL },
	{ "value", T_OBJECT, offsetof(struct call, value), READONLY, NULL },
	{ "failed", T_BOOL, offsetof(struct call, failed), READONLY, NULL },
	{ "ended", T_BOOL, offsetof(struct call, ended), READONLY, NULL },
	{ NULL, 0, 0, 0, NULL },
};

static PyType_Slot call_slots[] = {
	{ Py_tp_dealloc, call_dealloc },
	{ Py_tp_traverse, call_traverse },
	{ Py_tp_clear, call_clear },
	{ Py_tp_members, call_members },
	{ 0, NULL },
};

PyType_Spec call_spec = {
	.name = "mooncake._core.Call",
	.basicsize = sizeof(struct call),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = call_slots,
};

/* ---- the queue ------------------------------------------------------------------------------ */

static PyObject *calls_new(PyTypeObject *type, PyObject *args, PyObject *kw)
{
	struct mc_async_opts o = { .size = sizeof(o) };
	struct core_state *st = core_state_of(type);
	struct mc_async *queue;
	struct calls *c;
	int ret;

	if (!st || !PyArg_ParseTuple(args, "I", &o.max) || store_hook_exit(st))
		return NULL;
	ret = mc_async_open(&o, &queue);
	if (ret) {
		errno = -ret;
		return PyErr_SetFromErrno(PyExc_OSError);
	}
	c = (struct calls *)PyType_GenericAlloc(type, 0);
	if (!c) {
		mc_async_close(queue);
		return NULL;
	}
	c->st = st;
	c->queue = queue;
	guard_lock(&st->lists);
	c->next = st->queues;
	c->at = &st->queues;
	if (c->next)
		c->next->at = &c->next;
	st->queues = c;
	guard_unlock(&st->lists);
	return (PyObject *)c;
}

#define COLLECT 64

/* Appends what has ended to @list, NULL: to nothing. */
static bool ended(struct mc_job *const *job, unsigned nr, PyObject *list)
{
	bool ok = true;

	for (unsigned i = 0; i < nr; i++) {
		struct call *c = call_of(job[i]);

		c->ended = 1;
		if (c->key)
			get_end(c);
		if (list && ok && PyList_Append(list, (PyObject *)c))
			ok = false;
		Py_DECREF((PyObject *)c);
	}
	return ok;
}

/* Takes @c's queue out of everybody's sight. With the lists' guard held. NULL: it is closed. */
static struct mc_async *take_queue(struct calls *c)
{
	struct mc_async *queue;

	guard_lock(&c->guard);
	queue = c->queue;
	c->queue = NULL;
	guard_unlock(&c->guard);
	if (!queue)
		return NULL;
	*c->at = c->next;
	if (c->next)
		c->next->at = c->at;
	return queue;
}

/* What runs ends first; callers that wait for it in Python see nothing any more. */
static void queue_end(struct mc_async *queue)
{
	struct mc_job *job[COLLECT];
	unsigned nr;

	UNLOCKED(while (mc_async_shutdown(queue, mc_deadline_ms(1000)));); /* each call has a deadline of its own */
	while ((nr = mc_async_collect(queue, job, COLLECT)))
		ended(job, nr, NULL);
	UNLOCKED(mc_async_close(queue));
}

static void calls_end(struct calls *c)
{
	struct mc_async *queue;

	guard_lock(&c->st->lists);
	queue = take_queue(c);
	guard_unlock(&c->st->lists);
	if (queue)
		queue_end(queue);
}

static unsigned collect_any(struct core_state *st, struct mc_job **job)
{
	unsigned nr = 0;

	guard_lock(&st->lists);
	for (struct calls *c = st->queues; c && !nr; c = c->next)
		nr = mc_async_collect(c->queue, job, COLLECT);
	guard_unlock(&st->lists);
	return nr;
}

void calls_stop_all(struct core_state *st)
{
	struct mc_job *job[COLLECT];
	unsigned nr;

	guard_lock(&st->lists);
	for (struct calls *c = st->queues; c; c = c->next)
		mc_async_shutdown(c->queue, 0);
	guard_unlock(&st->lists);
	while ((nr = collect_any(st, job))) /* what did not begin lets go of its store */
		ended(job, nr, NULL);
}

void calls_close_all(struct core_state *st)
{
	struct mc_async *queue;

	do {
		guard_lock(&st->lists);
		queue = st->queues ? take_queue(st->queues) : NULL;
		guard_unlock(&st->lists);
		if (queue)
			queue_end(queue);
	} while (queue);
}

static void calls_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	calls_end((struct calls *)self);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

/* What @x gives on @c's queue, without waiting; @none when it is closed. */
#define ON_QUEUE(c, x, none)                       \
	({                                         \
		struct calls *c_ = (c);            \
		__typeof__(x) x_;                  \
                                                   \
		guard_lock(&c_->guard);            \
		x_ = c_->queue ? (x) : (none);     \
		guard_unlock(&c_->guard);          \
		x_;                                \
	})

static PyObject *calls_fileno(PyObject *self, PyObject *unused)
{
	struct calls *q = (struct calls *)self;

	return PyLong_FromLong(ON_QUEUE(q, mc_async_fd(q->queue), -1));
}

struct call *call_new(struct calls *q, PyObject *future)
{
	struct call *c = (struct call *)PyType_GenericAlloc(q->st->call, 0);

	if (!c)
		return NULL;
	c->future = Py_NewRef(future);
	c->job.text = c->error;
	c->job.text_bytes = sizeof(c->error);
	return c;
}

/* Steals @c. */
PyObject *call_submit(struct calls *q, struct call *c)
{
	int ret;

	Py_INCREF((PyObject *)c);
	ret = ON_QUEUE(q, mc_async_submit(q->queue, &c->job), -ESHUTDOWN);
	if (!ret)
		return (PyObject *)c;
	Py_DECREF((PyObject *)c);
	Py_DECREF((PyObject *)c);
	PyErr_SetString(PyExc_RuntimeError, ret == -EPERM     ? mc_last_error() :
					    ret == -ESHUTDOWN ? "the interpreter or the event loop is ending" :
								"too many calls in the background, or no thread for them");
	return NULL;
}

static PyObject *calls_submit(PyObject *self, PyObject *args)
{
	struct calls *q = (struct calls *)self;
	PyObject *f, *future;
	struct call *c;

	if (!PyArg_ParseTuple(args, "OO", &f, &future))
		return NULL;
	c = call_new(q, future);
	if (!c)
		return NULL;
	c->f = Py_NewRef(f);
	c->job.run = run;
	return call_submit(q, c);
}

/* True: it had not begun, and will not. */
static PyObject *calls_cancel(PyObject *self, PyObject *arg)
{
	struct calls *q = (struct calls *)self;
	struct call *c = (struct call *)arg;

	if (!PyObject_TypeCheck(arg, q->st->call))
		return PyErr_Format(PyExc_TypeError, "not a call");
	if (ON_QUEUE(q, mc_async_cancel(q->queue, &c->job), -ESHUTDOWN))
		return PyBool_FromLong(c->ended);
	get_drop(c);
	Py_DECREF(arg);
	Py_RETURN_TRUE;
}

static PyObject *calls_collect(PyObject *self, PyObject *unused)
{
	struct calls *q = (struct calls *)self;
	PyObject *list = PyList_New(0);
	struct mc_job *job[COLLECT];
	unsigned nr = COLLECT;

	while (list && nr == COLLECT) {
		nr = ON_QUEUE(q, mc_async_collect(q->queue, job, COLLECT), 0u);
		if (!ended(job, nr, list))
			Py_CLEAR(list);
	}
	return list;
}

static PyObject *calls_close(PyObject *self, PyObject *unused)
{
	calls_end((struct calls *)self);
	Py_RETURN_NONE;
}

static PyMethodDef calls_methods[] = {
	{ "fileno", calls_fileno, METH_NOARGS, "fileno($self, /)\n--\n\nReadable while calls have ended." },
	{ "submit", calls_submit, METH_VARARGS,
	  "submit($self, call, future, /)\n--\n\nRun call() in the background. Gives an object with future, value, failed, ended." },
	{ "submit_get", calls_submit_get, METH_VARARGS,
	  "submit_get($self, store, key, future, /)\n--\n\nThe same for store.get(key)." },
	{ "cancel", calls_cancel, METH_O,
	  "cancel($self, call, /)\n--\n\nTrue: it had not begun, and will not. False: it runs and will be collected." },
	{ "collect", calls_collect, METH_NOARGS, "collect($self, /)\n--\n\nA list of the calls that have ended." },
	{ "close", calls_close, METH_NOARGS, "close($self, /)\n--\n\nWaits for what runs; what waits is forgotten." },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot calls_slots[] = {
	{ Py_tp_doc, (void *)"Calls(max, /): calls in the background, of one event loop." },
	{ Py_tp_new, calls_new },
	{ Py_tp_dealloc, calls_dealloc },
	{ Py_tp_methods, calls_methods },
	{ 0, NULL },
};

PyType_Spec calls_spec = {
	.name = "mooncake._core.Calls",
	.basicsize = sizeof(struct calls),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = calls_slots,
};
