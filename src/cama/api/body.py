"""Reading a request's body: how large, how slow and in which encoding it may come."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cama.api.access import tell_ignored
from cama.api.problems import BodyEncoded, BodyTooLarge, BodyTooSlow
from cama.wire.decode import MAX_BODY_BYTES, Fields, decode_body
from cama.wire.requests import Readable

_T = TypeVar("_T")
_R = TypeVar("_R", bound=Readable)

_SLOW_BYTES = 256 << 10
"""From here on decoding is noticed by others and moves to a thread."""

_GRACE_SECONDS = 30.0
_LEAST_RATE = 1 << 10
"""Bytes a second that a body must bring on average, when it takes longer than the grace."""


async def read(request: Request, kind: type[_R]) -> _R:
    """The request in the body, as Go would read it. Raises as :func:`read_object` does."""

    def make(data: dict[str, Any]) -> tuple[_R, Fields]:
        fields = Fields(data, kind.struct)
        return kind.read(fields), fields

    made, fields = await read_object(request, make)
    tell_ignored(request, fields.unread())
    return made


async def read_object(request: Request, make: Callable[[dict[str, Any]], _T]) -> _T:
    """What ``make`` makes of the object in the body.

    Raises InvalidRequest, its kinds for bodies, and what ``make`` raises.
    """
    _check_encoding(request)
    body = await _bytes(request)
    if len(body) < _SLOW_BYTES:
        return make(decode_body(body))
    return await asyncio.to_thread(lambda: make(decode_body(body)))


def _check_encoding(request: Request) -> None:
    """Whatever the type, what it says of an encoding must be true of JSON."""
    encodings = request.headers.getlist("content-encoding")
    if any(encoding.lower() not in ("", "identity") for encoding in encodings):
        raise BodyEncoded("a compressed request body is not supported: leave Content-Encoding out")
    _, _, charset = request.headers.get("content-type", "").lower().partition("charset=")
    charset = charset.partition(";")[0].strip(" \"'")
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise BodyEncoded(f"the request body must be in UTF-8, not {charset:.40}")


async def _bytes(request: Request) -> bytes:
    # The parser has made sure that it is a number.
    if int(request.headers.get("content-length", 0)) > MAX_BODY_BYTES:
        raise _too_large()
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_BODY_BYTES:
            raise _too_large()
        pieces.append(piece)
    return b"".join(pieces)


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"the request body is larger than {MAX_BODY_BYTES} bytes")


class Pace:
    """Ends the wait for a body that comes too slowly with BodyTooSlow, whoever reads it."""

    def __init__(
        self, app: ASGIApp, grace: float = _GRACE_SECONDS, least_rate: float = _LEAST_RATE
    ) -> None:
        self._app = app
        self._grace = grace
        self._least_rate = least_rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            receive = self._paced(receive, asyncio.get_running_loop().time)
        await self._app(scope, receive, send)

    def _paced(self, receive: Receive, clock: Callable[[], float]) -> Receive:
        deadline = clock() + self._grace
        is_coming = True

        async def paced() -> Message:
            nonlocal deadline, is_coming
            if not is_coming:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise BodyTooSlow("the request body took too long") from None
            deadline += len(message.get("body", b"")) / self._least_rate
            is_coming = bool(message.get("more_body"))
            return message

        return paced
