"""Writing of GGUF files: streamed, and either complete or not there at all."""

import os
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from cama.core.errors import StoreError
from cama.gguf.cursor import MAX_HEADER_BYTES
from cama.gguf.encode import Writable, encode, encode_text, typed
from cama.gguf.ggml_types import GGMLType
from cama.gguf.header import (
    ALIGNMENT_KEY,
    DEFAULT_ALIGNMENT,
    MAGIC,
    MAX_METADATA,
    MAX_TENSORS,
    is_alignment,
    padded,
)
from cama.gguf.metadata import MAX_KEY_BYTES
from cama.gguf.tensors import MAX_NAME_BYTES
from cama.gguf.values import U32

VERSION: Final = 3

Chunk = bytes | bytearray | memoryview


class Output(Protocol):
    """What a file is written to."""

    def write(self, data: Chunk, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class TensorSource:
    """A tensor to be written: ``shape`` in ggml's order, ne0 first.

    ``data`` is its bytes (``array.data`` of a contiguous NumPy array will do), or a function that
    gives them piece by piece, called once, when the tensor's turn comes.
    """

    name: str
    type: GGMLType
    shape: tuple[int, ...]
    data: Chunk | Callable[[], Iterable[Chunk]]

    def chunks(self) -> Iterable[Chunk]:
        return self.data() if callable(self.data) else (self.data,)


def write_gguf(
    path: Path,
    metadata: Mapping[str, Writable],
    tensors: Iterable[TensorSource],
    *,
    alignment: int = DEFAULT_ALIGNMENT,
) -> None:
    """Write a GGUF file of version 3, replacing ``path`` once all is on disk.

    Values get their types by the rules of :mod:`cama.gguf.encode`; ``general.alignment`` is added
    where it is needed. Raises ValueError or TypeError on what cannot be written, naming it, and
    StoreError when the disk refuses.
    """
    with _replacing(path) as out:
        write_stream(out, metadata, tensors, alignment=alignment)


def write_stream(
    out: Output,
    metadata: Mapping[str, Writable],
    tensors: Iterable[TensorSource],
    *,
    alignment: int = DEFAULT_ALIGNMENT,
) -> None:
    """As :func:`write_gguf`, to a file that the caller makes, and removes when this fails."""
    tensors = tuple(tensors)
    header = _header(_with_alignment(metadata, alignment), tensors, alignment)
    out.write(header)
    for tensor in tensors:
        _write_tensor(out, tensor, alignment)


def _with_alignment(metadata: Mapping[str, Writable], alignment: int) -> Mapping[str, Writable]:
    if not is_alignment(alignment):
        raise ValueError(f"the alignment {alignment} is not a power of two of at least 8")
    if ALIGNMENT_KEY in metadata:
        if typed(metadata[ALIGNMENT_KEY]) != U32(alignment):
            raise ValueError(f"{ALIGNMENT_KEY} is not the uint32 {alignment}")
        return metadata
    return metadata if alignment == DEFAULT_ALIGNMENT else {**metadata, ALIGNMENT_KEY: alignment}


def _header(
    metadata: Mapping[str, Writable], tensors: Sequence[TensorSource], alignment: int
) -> bytes:
    if len(metadata) > MAX_METADATA or len(tensors) > MAX_TENSORS:
        raise ValueError(f"more than {MAX_METADATA} keys or {MAX_TENSORS} tensors")
    parts = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(metadata))]
    parts += [_encode_pair(key, value) for key, value in metadata.items()]
    parts += _encode_table(tensors, alignment)
    header = b"".join(parts)
    if len(header) > MAX_HEADER_BYTES:
        raise ValueError(f"more than {MAX_HEADER_BYTES} bytes of metadata")
    return header.ljust(padded(len(header), alignment), b"\0") if tensors else header


def _encode_pair(key: str, value: Writable) -> bytes:
    try:
        return _encode_name(key, MAX_KEY_BYTES) + encode(typed(value))
    except TypeError as error:
        raise TypeError(f"metadata[{key}]: {error}") from error
    except ValueError as error:
        raise ValueError(f"metadata[{key}]: {error}") from error


def _encode_table(tensors: Sequence[TensorSource], alignment: int) -> Iterator[bytes]:
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise ValueError("two tensors have the same name")
    offset = 0
    for tensor in tensors:
        try:
            n_bytes = tensor.type.n_bytes(tensor.shape)
            yield _encode_name(tensor.name, MAX_NAME_BYTES)
        except ValueError as error:
            raise ValueError(f"tensor[{tensor.name}]: {error}") from error
        n_dims = len(tensor.shape)
        yield struct.pack(f"<I{n_dims}QIQ", n_dims, *tensor.shape, tensor.type, offset)
        offset += padded(n_bytes, alignment)


def _encode_name(name: str, max_bytes: int) -> bytes:
    raw = encode_text(name)
    if not 1 <= len(raw) - 8 <= max_bytes:
        raise ValueError(f"the name does not have 1 to {max_bytes} bytes")
    return raw


def _write_tensor(out: Output, tensor: TensorSource, alignment: int) -> None:
    n_bytes = tensor.type.n_bytes(tensor.shape)
    written = 0
    for chunk in tensor.chunks():
        written += memoryview(chunk).nbytes
        if written > n_bytes:
            break
        out.write(chunk)
    if written != n_bytes:
        least = "at least " if written > n_bytes else ""
        raise ValueError(f"tensor[{tensor.name}]: {least}{written} bytes of data, not {n_bytes}")
    out.write(bytes(padded(n_bytes, alignment) - n_bytes))


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A temporary file beside ``path`` that takes its place when the block ends without error."""
    temporary = path.with_name(f".{os.urandom(8).hex()}.gguf.tmp")
    try:
        out = temporary.open("xb")
        try:
            with out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink()
            raise
        _sync_folder(path.parent)
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(f"cannot write {path}: {reason}", path=str(path)) from error


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a power failure; Windows has no such call and needs none."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
