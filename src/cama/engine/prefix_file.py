"""A saved prefix as a file: header, tokens, the engine's state, and a checksum over all of it."""

import hashlib
import hmac
import json
import os
import secrets
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cama.engine.radix import Key, Tokens

TEMPORARY = ".tmp-"
"""How the name of a file begins that is being written."""

_MAGIC = b"CAMAPRE1"
_HEAD = struct.Struct("<8sI")  # magic, bytes of the header
_MAX_HEADER_BYTES = 1 << 16
_DIGEST_BYTES = 32
_TOKEN = np.dtype("<i4")


class Damaged(Exception):
    """The file is not one that we wrote, or not all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """``identity`` names all that the state depends on besides the tokens; sizes in bytes.

    ``seconds_per_token`` is what computing it took.
    """

    identity: str
    adapter: str
    tenant: str
    n_tokens: int
    n_bytes: int
    seconds_per_token: float

    @property
    def key(self) -> Key:
        return self.adapter, self.tenant


def write(path: Path, header: Header, tokens: Tokens, state: bytes) -> None:
    """Write the file whole or not at all. Raises OSError.

    It holds what users wrote: nobody else may read it.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    head = json.dumps(asdict(header)).encode()
    parts = (_HEAD.pack(_MAGIC, len(head)), head, tokens.astype(_TOKEN).tobytes(), state)
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    try:
        with open(temporary, "xb", opener=_private) as file:
            for part in parts:
                digest.update(part)
                file.write(part)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def read_header(path: Path) -> tuple[Header, Tokens]:
    """Header and tokens, not verified: good for finding a file. Raises Damaged, OSError."""
    with _opened(path) as file:
        parts = _Parts(file)
        return parts.header, parts.tokens


def read(path: Path) -> tuple[Header, Tokens, bytes]:
    """Everything, verified. Raises Damaged, OSError."""
    with _opened(path) as file:
        parts = _Parts(file)
        state = _exactly(file, parts.header.n_bytes)
        parts.digest.update(state)
        if not hmac.compare_digest(file.read(), parts.digest.digest()):
            raise Damaged("the checksum is wrong")
    return parts.header, parts.tokens, state


class _Parts:
    """What stands in front of the state."""

    def __init__(self, file: BinaryIO) -> None:
        self.digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        magic, size = _HEAD.unpack(self._next(file, _HEAD.size))
        if magic != _MAGIC or size > _MAX_HEADER_BYTES:
            raise Damaged("it does not begin as a saved prefix does")
        self.header = _header(self._next(file, size))
        rest = os.fstat(file.fileno()).st_size - file.tell() - _DIGEST_BYTES
        n_bytes = self.header.n_tokens * _TOKEN.itemsize
        if n_bytes + self.header.n_bytes != rest:
            raise Damaged("it has another size than it says")
        self.tokens: Tokens = np.frombuffer(self._next(file, n_bytes), _TOKEN).astype(np.int32)

    def _next(self, file: BinaryIO, n_bytes: int) -> bytes:
        data = _exactly(file, n_bytes)
        self.digest.update(data)
        return data


def _header(data: bytes) -> Header:
    try:
        header = Header(**json.loads(data))
    except (ValueError, TypeError, RecursionError):
        raise Damaged("its header cannot be read") from None
    texts = (header.identity, header.adapter, header.tenant)
    if not all(isinstance(text, str) for text in texts):
        raise Damaged("its header has the wrong types")
    if type(header.n_tokens) is not int or type(header.n_bytes) is not int:
        raise Damaged("its header has the wrong types")
    if header.n_tokens <= 0 or header.n_bytes <= 0:
        raise Damaged("it is empty")
    if type(header.seconds_per_token) is not float or not header.seconds_per_token >= 0:
        raise Damaged("its header has the wrong types")
    return header


def _exactly(file: BinaryIO, n_bytes: int) -> bytes:
    data = file.read(n_bytes)
    if len(data) != n_bytes:
        raise Damaged("it ends too early")
    return data


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file. A link is not followed, and a FIFO in a file's place does not block."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Damaged("it is not a regular file")
        yield file


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _sync(folder: Path) -> None:
    """Bring a name that was just made to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
