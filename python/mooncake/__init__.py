# SPDX-License-Identifier: Apache-2.0
"""Mooncake in C: a shared cache for the KV blocks of LLM inference, and the engine that moves them.

`mooncake.store` has the cache, `mooncake.engine` the transfers. Importing starts nothing.
"""
from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)


_POOL = frozenset(("BufferPool", "BufferLease", "BufferLeaseView", "RegisteredBufferPool", "RegisteredBufferLease",
                   "RegisteredBufferLeaseView"))


def __getattr__(name):
    """BufferPool and its kin are here too, loaded when they are asked for."""
    if name not in _POOL:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module
    return getattr(import_module(".store", __name__), name)
