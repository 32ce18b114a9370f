"""The bytes of a saved sequence: libllama's own, checked, since it trusts what it is given."""

import ctypes
import hashlib
import struct
import zlib

import numpy as np

from cama.core.errors import EngineError
from cama.ggml._llama_abi import LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
from cama.ggml.library import address_of
from cama.ggml.llama import llama

_MAGIC = b"CAMALLM2"
_HEAD = struct.Struct("<8sI16sI")  # magic, tokens, model, checksum of all that and the data


def save(context: int, seq: int, length: int, identity: str) -> bytes:
    """The state of ``seq``, for :func:`restore` into a context of the same ``identity``."""
    size = llama().llama_state_seq_get_size(context, seq)
    buffer = ctypes.create_string_buffer(size)
    written = llama().llama_state_seq_get_data(context, address_of(buffer), size, seq)
    if written != size:
        raise EngineError("libllama could not save the state")
    return b"".join((_head(identity, length, memoryview(buffer)), buffer))


def check(state: bytes, identity: str) -> int:
    """The length that ``state`` holds. Raises EngineError when it is damaged or another model's."""
    if len(state) <= _HEAD.size:
        raise EngineError("the saved state is damaged")
    _, length, _, _ = _HEAD.unpack_from(state)
    if state[: _HEAD.size] != _head(identity, length, memoryview(state)[_HEAD.size :]):
        raise EngineError("the saved state is damaged or belongs to another model")
    return int(length)


def restore(context: int, seq: int, state: bytes) -> None:
    """Fill the empty ``seq`` from a checked ``state``."""
    data = np.frombuffer(state, np.uint8, offset=_HEAD.size)
    if not llama().llama_state_seq_set_data(context, data.ctypes.data, len(data), seq):
        raise EngineError("libllama could not restore the state")


def save_running(context: int, seq: int) -> bytes:
    """The running states of ``seq`` at its end, without its cells."""
    library = llama()
    size = library.llama_state_seq_get_size_ext(context, seq, LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY)
    buffer = ctypes.create_string_buffer(size)
    written = library.llama_state_seq_get_data_ext(
        context, address_of(buffer), size, seq, LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
    )
    if written != size:
        raise EngineError("libllama could not copy the running state")
    return buffer.raw


def restore_running(context: int, seq: int, data: bytes) -> None:
    """Put the running states of :func:`save_running` into the place of those of ``seq``."""
    view = np.frombuffer(data, np.uint8)
    if not llama().llama_state_seq_set_data_ext(
        context, view.ctypes.data, len(view), seq, LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
    ):
        raise EngineError("libllama could not restore the running state")


def _head(identity: str, length: int, data: memoryview) -> bytes:
    """The checksum is a quick one, taken between two passes: it finds accidents, not forgery."""
    model = hashlib.blake2b(identity.encode(), digest_size=16).digest()
    checksum = zlib.crc32(data, zlib.crc32(_HEAD.pack(_MAGIC, length, model, 0)))
    return _HEAD.pack(_MAGIC, length, model, checksum)
