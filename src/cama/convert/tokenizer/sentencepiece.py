"""Reading ``tokenizer.model``: the few fields of SentencePiece's protocol buffer that matter."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cama.convert.tokenizer.vocabulary import MAX_TOKENS, Kind, Token
from cama.core.errors import InvalidModelFile, UnsupportedModel

_MAX_BYTES: Final = 64 << 20
_BPE: Final = 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class SentencePiece:
    tokens: tuple[Token, ...]
    adds_space: bool


class Malformed(Exception):
    """Bytes that are no message."""


def read_model(path: Path) -> SentencePiece:
    """Raises InvalidModelFile, and UnsupportedModel on other models than BPE."""
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    try:
        if len(data) > _MAX_BYTES:
            raise Malformed
        return _read(data)
    except (Malformed, UnicodeDecodeError, ValueError, struct.error):
        raise InvalidModelFile(
            f"{path.name} is no SentencePiece model", path=str(path), field="tokenizer.model"
        ) from None


def _read(data: bytes) -> SentencePiece:
    tokens: list[Token] = []
    kind, adds_space = 1, True
    for number, value in _fields(data):
        if not isinstance(value, bytes):
            continue
        match number:
            case 1:
                tokens.append(_piece(value))
            case 2:
                kind = _integer(value, 3, kind)
            case 3:
                adds_space = bool(_integer(value, 3, 1))
    if not tokens or len(tokens) > MAX_TOKENS:
        raise Malformed
    if kind != _BPE:
        raise UnsupportedModel("tokenizer.model: only BPE models of SentencePiece are supported")
    return SentencePiece(tuple(tokens), adds_space)


def _piece(data: bytes) -> Token:
    text, score, kind = "", 0.0, 1
    for number, value in _fields(data):
        match number, value:
            case 1, bytes():
                text = value.decode()
            case 2, bytes():
                score = struct.unpack("<f", value)[0]
            case 3, int():
                kind = value
    return Token(text, Kind(kind), score)


def _integer(data: bytes, wanted: int, default: int) -> int:
    found = [v for number, v in _fields(data) if number == wanted and isinstance(v, int)]
    return found[-1] if found else default


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a message; of a fixed size as their bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            length, at = _varint(data, at)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise Malformed
        if length > len(data) - at:
            raise Malformed
        yield number, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Malformed
        value |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            return value, at
    raise Malformed
