# SPDX-License-Identifier: Apache-2.0
"""Mooncake in C: a shared cache for the KV blocks of LLM inference, and the engine that moves them.

`mooncake.store` has the cache, `mooncake.engine` the transfers. Importing starts nothing.
"""
from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)


def __getattr__(name):
    """BufferPool and its kin are here too, loaded when they are asked for."""
    from . import buffer_pool
    if name in buffer_pool.__all__:
        return getattr(buffer_pool, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
