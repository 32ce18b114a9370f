"""A client's connection, with bounds on what it may send beside a body, and on how slowly.

uvicorn takes headers of any length for as long as a client likes to send them, and waits without
end for a client that stops reading. The time for a body is bounded where bodies are read.
"""

import asyncio
import logging
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from cama.api.problems import shape_of
from cama.wire.encode import encode
from cama.wire.problems import Problem

_log = logging.getLogger(__name__)

_MALFORMED = Problem(status=400, message="the request is not valid HTTP", code="invalid_request")
_TOO_LONG = Problem(status=431, message="the headers are too long", code="headers_too_long")
_TOO_SLOW = Problem(status=408, message="the headers took too long", code="headers_too_slow")


class Connection(HttpToolsProtocol):
    """``head_seconds`` is for a request's headers; for the first byte on a new connection too, and
    for the rest of a body that nobody reads any more. ``stall_seconds`` is how long a client may
    take nothing of an answer.
    """

    max_head_bytes: ClassVar[int] = 64 << 10
    head_seconds: ClassVar[float] = 30.0
    stall_seconds: ClassVar[float] = 300.0

    url = b""
    _refusal = _MALFORMED
    _is_in_head = False
    _n_unread = 0
    """Bytes since the last request or the last piece of a body: headers, and what hides between
    chunks or behind them."""

    _deadline: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_deadline()
        self._stop_stall()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._n_unread += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._n_unread > self.max_head_bytes:
            self._refuse(_TOO_LONG)
        elif not self._is_busy:
            self._start_deadline()

    def on_message_begin(self) -> None:
        self._is_in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # else it is a trailer, which would go among the headers
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        n_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if n_bytes > self.max_head_bytes:
            self._refusal = _TOO_LONG
            raise ValueError(_TOO_LONG.message)
        self._is_in_head = False
        self._stop_deadline()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._n_unread = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._n_unread = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Called when the parser gives up."""
        self._refuse(self._refusal)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall = self.loop.call_later(self.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_stall()
        super().resume_writing()

    @property
    def _is_busy(self) -> bool:
        """Whether an answer is being made."""
        return self.cycle is not None and not self.cycle.response_complete

    def _start_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.head_seconds, self._expire)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _stop_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _expire(self) -> None:
        self._deadline = None
        if self._is_in_head:
            self._refuse(_TOO_SLOW)
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answer, unless another answer is on its way, and close the connection."""
        _log.info("refused a request: status=%d %s", problem.status, problem.message)
        if not self._is_busy:
            self.transport.write(_answer(self.url.decode("latin-1"), problem))
        self.transport.close()


def _answer(path: str, problem: Problem) -> bytes:
    body = encode(shape_of(path)(problem))
    head = (
        "content-type: application/json; charset=utf-8\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return STATUS_LINE[problem.status] + head.encode() + body
