"""Reading a request's body."""

import asyncio
from typing import TypeVar

from starlette.requests import Request

from cama.api.problems import BodyTooLarge
from cama.wire.decode import MAX_BODY_BYTES, Fields, decode_body
from cama.wire.requests import Readable

_R = TypeVar("_R", bound=Readable)

_SLOW_BYTES = 256 << 10
"""From here on decoding is noticed by others and moves to a thread."""


async def read(request: Request, kind: type[_R]) -> _R:
    """The request in the body. Raises InvalidRequest and BodyTooLarge."""
    body = await _bytes(request)
    if len(body) < _SLOW_BYTES:
        return _decode(body, kind)
    return await asyncio.to_thread(_decode, body, kind)


def _decode(body: bytes, kind: type[_R]) -> _R:
    return kind.read(Fields(decode_body(body), kind.struct))


async def _bytes(request: Request) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_BODY_BYTES:
            raise BodyTooLarge(f"the request body is larger than {MAX_BODY_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces)
