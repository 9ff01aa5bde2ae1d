# SPDX-License-Identifier: Apache-2.0
"""Mooncake in C: a shared cache for the KV blocks of LLM inference, and the engine that moves them.

`mooncake.store` has the cache, `mooncake.engine` the transfers. Importing starts nothing.
"""
from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
