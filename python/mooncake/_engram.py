# SPDX-License-Identifier: Apache-2.0
"""Engram: embedding tables in the store, one object per head of a layer, of which a lookup reads the rows it needs and no others."""


def _whole(what, value, least):
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} must be int, not {type(value).__name__}")
    value = value.__index__()
    if value < least:
        raise ValueError(f"{what} must be at least {least}, not {value}")
    return value


class EngramStoreConfig:
    """Rows of each head's table, and elements of a row."""

    __slots__ = ("table_vocab_sizes", "embedding_dim")

    def __init__(self):
        self.table_vocab_sizes = [1024]
        self.embedding_dim = 64

    def __repr__(self):
        return f"EngramStoreConfig(table_vocab_sizes={self.table_vocab_sizes!r}, embedding_dim={self.embedding_dim!r})"


def _numpy():
    try:
        import numpy
    except ImportError:
        raise RuntimeError("EngramStore needs numpy: its tables are arrays") from None
    return numpy


class EngramStore:
    """The tables of one layer: float32, a row per id, in the objects engram:l<layer>:h<head>."""

    __slots__ = ("_sizes", "_dim", "_keys", "_store")

    def __init__(self, layer_id: int, config: EngramStoreConfig, store=None):
        layer = _whole("layer_id", layer_id, 0)
        self._sizes = [_whole("each of table_vocab_sizes", n, 1) for n in config.table_vocab_sizes]
        self._dim = _whole("embedding_dim", config.embedding_dim, 1)
        if not self._sizes:
            raise ValueError("table_vocab_sizes must name at least one head")
        self._keys = [f"engram:l{layer}:h{head}" for head in range(len(self._sizes))]
        self._store = store

    def get_table_vocab_sizes(self) -> list:
        """Rows of each head's table."""
        return list(self._sizes)

    def get_store_keys(self) -> list:
        """The key of each head's table."""
        return list(self._keys)

    def get_num_heads(self) -> int:
        """How many tables there are."""
        return len(self._sizes)

    def get_embedding_dim(self) -> int:
        """Elements of a row."""
        return self._dim

    def _open(self, what):
        if self._store is None:
            raise RuntimeError(f"{what} failed: this EngramStore has no store")
        return self._store

    def populate(self, tables) -> None:
        """Store one float32 [rows, dim] array per head. RuntimeError: another number or shape, a key that is there already, a put
        that failed; then none of them is stored.
        """
        store, np = self._open("populate"), _numpy()
        tables = [np.ascontiguousarray(t, dtype=np.float32) for t in tables]
        want = [(n, self._dim) for n in self._sizes]
        if [t.shape for t in tables] != want:
            raise RuntimeError(f"populate failed: shapes are {[t.shape for t in tables]}, not {want}")
        there = [k for k, is_ in zip(self._keys, store.batch_is_exist(self._keys)) if is_]
        if there:
            raise RuntimeError(f"populate failed: {there[0]} is there already, or cannot be asked for")
        codes = store.batch_put_from(self._keys, [t.ctypes.data for t in tables], [t.nbytes for t in tables])
        if any(codes):
            store.batch_remove([k for k, code in zip(self._keys, codes) if not code], True)
            raise RuntimeError(f"populate failed: codes are {codes}; {store.last_error()}")

    def lookup(self, row_ids):
        """The rows of int64 [B, L, H] ids, as a float32 [B, L, H, dim] array; only they are read. RuntimeError: another shape, an id
        out of range, a table that could not be read.
        """
        store, np = self._open("lookup"), _numpy()
        ids = np.asarray(row_ids)
        heads, row = len(self._sizes), self._dim * 4
        if ids.ndim != 3 or ids.shape[2] != heads or (ids.size and ids.dtype.kind not in "iu"):
            raise RuntimeError(f"lookup failed: ids are {ids.dtype} of shape {ids.shape}, not integers of [B, L, {heads}]")
        out = np.empty((*ids.shape, self._dim), np.float32)
        if not ids.size:
            return out
        ids = ids.reshape(-1, heads)
        if (ids < 0).any() or (ids >= np.array(self._sizes)).any():
            raise RuntimeError(f"lookup failed: ids must be from 0 to {[n - 1 for n in self._sizes]}")
        place = (np.arange(len(ids)) * heads * row).tolist()
        base = out.ctypes.data
        code = store.register_buffer(base, out.nbytes)
        if code:
            raise RuntimeError(f"lookup failed: memory for {out.nbytes} bytes could not be registered ({code}); is the store set up?")
        try:
            got = store.get_into_ranges([base] * heads, [[k] for k in self._keys], [[[p + h * row for p in place]] for h in range(heads)],
                                        [[(ids[:, h].astype(np.int64) * row).tolist()] for h in range(heads)], [[[row] * len(ids)]] * heads)
        finally:
            store.unregister_buffer(base)
        bad = [(k, code) for k, g in zip(self._keys, got) for code in g[0] if code != row]
        if bad:
            raise RuntimeError(f"lookup failed: {bad[0][0]} gives {bad[0][1]}")
        return out

    def remove_from_store(self, force: bool = False) -> int:
        """Remove the tables. Returns how many were there; RuntimeError when one could not be removed."""
        codes = self._open("remove_from_store").batch_remove(self._keys, force)
        bad = [(k, code) for k, code in zip(self._keys, codes) if code not in (0, -704)]
        if bad:
            raise RuntimeError(f"remove_from_store failed: {bad[0][0]} gives {bad[0][1]}")
        return codes.count(0)

    def __repr__(self):
        return f"EngramStore({self._keys[0]!r}, {len(self._keys)} heads, embedding_dim={self._dim})"
