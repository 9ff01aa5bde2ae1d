# SPDX-License-Identifier: Apache-2.0
"""The store for asyncio: each method of MooncakeDistributedStore is there as async_<name> too."""
from collections.abc import Callable, Coroutine
from typing import Any, Self

from .store import MooncakeDistributedStore

class MooncakeDistributedStoreAsync(MooncakeDistributedStore):
    """A store whose calls can be awaited: async_get(), async_put(), … give what get(), put(), … return.

    A cancelled call that has not begun never begins; one that has begun is waited for, so that afterwards nothing of the library
    touches the memory it was given.
    """
    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc: object) -> None: ...
