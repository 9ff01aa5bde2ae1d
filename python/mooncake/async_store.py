# SPDX-License-Identifier: Apache-2.0
"""The store for asyncio: each method of MooncakeDistributedStore is there as async_<name> too.

What lies in this machine's memory is copied at once, without a thread. All other calls wait in one queue of the event loop, which has
a few threads and one descriptor however many calls are in flight.
"""
import asyncio
import functools

from . import _core
from .store import MooncakeDistributedStore

__all__ = ["MooncakeDistributedStoreAsync"]

_AT_ONCE = 1 << 20  # calls in flight in one event loop; more are a RuntimeError
_NO_WAIT = frozenset(("get_hostname", "last_error"))  # the second tells of the thread that asks, and of calls it awaited
_HERE = {"get": _core.get_here, "get_into": _core.get_into_here}


class _Queue:
    """The calls of one event loop."""

    def __init__(self, loop):
        self.loop = loop
        self.calls = _core.Calls(_AT_ONCE)
        loop.add_reader(self.calls.fileno(), self.collect)

    def collect(self):
        for call in self.calls.collect():
            future = call.future
            if not future.done():  # nobody waits for a cancelled one
                (future.set_exception if call.failed else future.set_result)(call.value)

    async def run(self, submit, *args):
        call = submit(*args, self.loop.create_future())
        if call is None:  # a store that is not set up
            return b""
        try:
            return await call.future
        except asyncio.CancelledError:
            if not self.calls.cancel(call):
                await self.end_of(call)
            raise
        finally:  # nobody else runs on this thread before the caller does
            _core.note_error(call)

    async def end_of(self, call):
        """A call that has begun is not cut off: until it has ended, memory that it was given is the library's."""
        while not call.ended:
            call.future = self.loop.create_future()
            try:
                await call.future
            except asyncio.CancelledError:
                pass  # again
            except Exception:
                pass  # of the call, whose result nobody wants any more


_queues = {}  # by event loop: not weak, since a queue must not end on one of its own threads


def _queue():
    loop = asyncio.get_running_loop()
    queue = _queues.get(loop)
    if queue is None:
        queue = _Queue(loop)
        for old in [x for x in _queues if x.is_closed()]:  # what it still runs is waited for in the background
            queue.calls.submit(_queues.pop(old).calls.close, loop.create_future())
        _queues[loop] = queue
    return queue


def _wrapper(name, method):
    own = method is getattr(MooncakeDistributedStore, name, None)  # and not a subclass's
    here = _HERE.get(name) if own else None

    async def call(self, *args, **kwargs):
        if here is not None:
            got = here(self, *args, **kwargs)
            if got is not None:
                return got
        if name in _NO_WAIT:
            return method(self, *args, **kwargs)
        queue = _queue()
        if name == "get" and own:
            return await queue.run(queue.calls.submit_get, self, *args)
        if name == "close":  # calls that hold every thread make room for it
            _core.shutdown_store(self)
        return await queue.run(queue.calls.submit, functools.partial(method, self, *args, **kwargs))

    call.__name__ = call.__qualname__ = f"async_{name}"
    call.__doc__ = f"{name}() in the background.\n\n{method.__doc__ or ''}"
    return call


class MooncakeDistributedStoreAsync(MooncakeDistributedStore):
    """A store whose calls can be awaited: async_get(), async_put(), … give what get(), put(), … return.

    A cancelled call that has not begun never begins; one that has begun is waited for, so that afterwards nothing of the library
    touches the memory it was given.
    """

    def __getattr__(self, name):
        """Makes async_<name> when it is asked for the first time."""
        cls = type(self)
        method = getattr(cls, name[6:], None) if name.startswith("async_") and not name.startswith("async__") else None
        if not callable(method):
            raise AttributeError(f"{cls.__name__!r} object has no attribute {name!r}")
        setattr(cls, name, _wrapper(name[6:], method))
        return getattr(self, name)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        await self.async_close()
