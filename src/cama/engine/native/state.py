"""The keys and values of a sequence as bytes, for the same model on the same kind of engine."""

import json
import struct

import numpy as np
from numpy.typing import NDArray

from cama.core.errors import EngineError
from cama.engine.native.kvcache.mask import as_slice
from cama.engine.native.kvcache.storage import KVStorage

_MAGIC = b"CAMAKV1\0"
_HEAD = struct.Struct("<8sI")


def pack(identity: str, storage: KVStorage, cells: NDArray[np.int32], slot: int) -> bytes:
    """Header, then for each layer the keys and values of ``cells`` in order, then the states."""
    header = json.dumps({"identity": identity, "length": len(cells)}).encode()
    rows = as_slice(cells) if len(cells) else cells  # neighbours are copied once only
    data = [np.ascontiguousarray(storage.rows(pool)[rows]).data for pool in storage.pools]
    states = [storage.rows(pool)[slot].data for pool in storage.state_pools]
    return b"".join([_HEAD.pack(_MAGIC, len(header)), header, *data, *states])


def unpack_length(identity: str, storage: KVStorage, data: bytes) -> int:
    """The number of positions in ``data``. Raises EngineError when it is not this model's."""
    try:
        magic, size = _HEAD.unpack_from(data)
        header = json.loads(data[_HEAD.size : _HEAD.size + size])
        found, length = header["identity"], header["length"]
    except (struct.error, ValueError, KeyError, TypeError):
        raise EngineError("the saved state is damaged") from None
    if magic != _MAGIC or found != identity:
        raise EngineError(f"the saved state belongs to another model ({found})")
    if type(length) is not int or len(data) != _HEAD.size + size + _n_bytes(storage, length):
        raise EngineError("the saved state is damaged")
    return length


def _n_bytes(storage: KVStorage, length: int) -> int:
    return length * storage.cell_bytes + storage.state_bytes


def unpack(storage: KVStorage, data: bytes, cells: NDArray[np.int64], slot: int) -> None:
    """Write the rows of ``data`` into ``cells``, and its states into ``slot``."""
    offset = len(data) - _n_bytes(storage, len(cells))
    where = as_slice(cells) if len(cells) else cells
    for pool in storage.pools:
        rows = storage.rows(pool)
        n_bytes = len(cells) * rows.shape[1]
        rows[where] = np.frombuffer(data, np.uint8, n_bytes, offset).reshape(len(cells), -1)
        offset += n_bytes
    for pool in storage.state_pools:
        states = storage.rows(pool)
        states[slot] = np.frombuffer(data, np.uint8, states.shape[1], offset)
        offset += states.shape[1]
