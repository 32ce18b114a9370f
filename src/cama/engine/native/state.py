"""The keys and values of a sequence as bytes, for the same model on the same kind of engine."""

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cama.core.errors import EngineError
from cama.engine.native.kvcache.mask import as_slice
from cama.engine.native.kvcache.storage import KVStorage
from cama.ggml.tensor import Tensor

_MAGIC = b"CAMAKV2\0"
_HEAD = struct.Struct("<8sI")


def pack(
    identity: str, storage: KVStorage, cells: NDArray[np.int32], slot: int, first: int = 0
) -> bytes:
    """Header, then for each layer the keys and values of ``cells`` in order, then the states.

    Layers with a window have those from the ``first`` on.
    """
    header = json.dumps({"identity": identity, "length": len(cells), "first": first}).encode()
    data = [_gather(pool, cells[start:]).data for pool, start in _pools(storage, first)]
    states = [pool.read(slot, 1).data for pool in storage.state_pools]
    return b"".join([_HEAD.pack(_MAGIC, len(header)), header, *data, *states])


def _pools(storage: KVStorage, first: int) -> Iterator[tuple[Tensor, int]]:
    """Every pool, and from which of a sequence's cells on it is saved."""
    windowed = set(storage.windowed)
    for pools in (storage.keys, storage.values):
        yield from ((pool, first if i in windowed else 0) for i, pool in pools.items())


def unpack_length(identity: str, storage: KVStorage, data: bytes) -> tuple[int, int]:
    """The number of positions in ``data``, and from which on layers with a window have them.

    Raises EngineError when it is not this model's.
    """
    try:
        magic, size = _HEAD.unpack_from(data)
        header = json.loads(data[_HEAD.size : _HEAD.size + size])
        found, length, first = (header[key] for key in ("identity", "length", "first"))
    except (struct.error, ValueError, KeyError, TypeError):
        raise EngineError("the saved state is damaged") from None
    if magic != _MAGIC or found != identity:
        raise EngineError(f"the saved state belongs to another model ({found})")
    is_whole = type(length) is type(first) is int and 0 <= first <= length
    if not is_whole or len(data) != _HEAD.size + size + _n_bytes(storage, length, first):
        raise EngineError("the saved state is damaged")
    return length, first


def _n_bytes(storage: KVStorage, length: int, first: int) -> int:
    return length * storage.cell_bytes - first * storage.windowed_bytes + storage.state_bytes


def unpack(
    storage: KVStorage, data: bytes, cells: NDArray[np.int64], slot: int, first: int = 0
) -> None:
    """Write the rows of ``data`` into ``cells``, and its states into ``slot``."""
    offset = len(data) - _n_bytes(storage, len(cells), first)
    for pool, start in _pools(storage, first):
        new = cells[start:]
        n_bytes = len(new) * pool.row_bytes
        rows = np.frombuffer(data, np.uint8, n_bytes, offset).reshape(len(new), -1)
        _scatter(pool, new, rows)
        offset += n_bytes
    for pool in storage.state_pools:
        pool.write(slot, np.frombuffer(data, np.uint8, pool.row_bytes, offset))
        offset += pool.row_bytes


def _gather(pool: Tensor, cells: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Rows of a pool; neighbours are copied once only."""
    if pool.is_host:
        return np.ascontiguousarray(pool.rows()[as_slice(cells) if len(cells) else cells])
    return np.concatenate([pool.read(first, n) for first, n in _runs(cells)] or [pool.read(0, 0)])


def _scatter(pool: Tensor, cells: NDArray[np.integer[Any]], rows: NDArray[np.uint8]) -> None:
    if pool.is_host:
        pool.rows()[as_slice(cells) if len(cells) else cells] = rows
        return
    done = 0
    for first, n in _runs(cells):
        pool.write(first, rows[done : done + n])
        done += n


def _runs(cells: NDArray[np.integer[Any]]) -> Iterator[tuple[int, int]]:
    """Neighbouring cells: the first, and how many."""
    ends = np.flatnonzero(np.diff(cells) != 1) + 1
    for run in np.split(cells, ends) if len(cells) else ():
        yield int(run[0]), len(run)
