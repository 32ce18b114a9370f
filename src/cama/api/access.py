"""A line in the log for each request, and the id by which a client can ask about it."""

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cama.wire.ignored import ignored_header

_log = logging.getLogger(__name__)

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_MAX_PATH = 200
_CLIENT_GONE = 499
_BUG = 500


class Access:
    """Gives each request an id and logs how it was answered, whoever answers.

    The id is that of the header ``x-request-id`` where it is of letters, digits, ``.``, ``_`` and
    ``-``, else a new one. Neither bodies, queries nor headers are logged.
    """

    def __init__(self, app: ASGIApp, clock: Callable[[], float] = time.perf_counter) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        since = self._clock()
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception:
            exchange.status = exchange.status or _BUG
            raise
        finally:
            _log.info("%s ms=%.1f", exchange, (self._clock() - since) * 1000)


def tell_ignored(request: Request, names: Iterable[str]) -> None:
    """Let the answer name fields of ``request`` that have no effect, in a header."""
    request.scope["state"]["ignored"] = tuple(names)


class _Exchange:
    """A request and its answer as they pass."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._state: dict[str, Any] = scope.setdefault("state", {})
        self._state["request_id"] = self._id = _id(scope)
        self._n_received = 0
        self._n_sent = 0
        self.status = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._n_received += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._id
            headers["request-id"] = self._id  # as clients of Anthropic look for it
            headers.update(ignored_header(self._state.get("ignored", ())))
        else:
            self._n_sent += len(message.get("body", b""))
        await self._send(message)

    def __str__(self) -> str:
        key = self._state.get("key")
        return (
            f"id={self._id} method={self._scope['method']} path={_path(self._scope)}"
            f" status={self.status or _CLIENT_GONE} received={self._n_received}"
            f" sent={self._n_sent} key={key.name if key else '-'}"
        )


def _id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"


def _path(scope: Scope) -> str:
    """As it was sent, in ASCII without spaces, so that nobody can write lines of their own."""
    text: str = scope.get("raw_path", b"").decode("latin-1") or scope["path"]
    shown = "".join(char if "!" <= char <= "~" else "?" for char in text[:_MAX_PATH])
    return shown + ("..." if len(text) > _MAX_PATH else "")
