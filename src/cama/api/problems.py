"""From an error to its answer: the one place where error types meet status codes."""

import logging
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from cama.core.errors import (
    CamaError,
    InvalidInput,
    InvalidOptionType,
    InvalidRequest,
    ModelNotFound,
    QueueFull,
    ServerUnavailable,
    Unauthorized,
    Unsupported,
)
from cama.wire.encode import encode

_log = logging.getLogger(__name__)

INTERNAL = "internal error, check server logs for details"


class BodyTooLarge(InvalidRequest):
    code = "body_too_large"


class BodyTooSlow(InvalidRequest):
    code = "body_too_slow"


class BodyEncoded(InvalidRequest):
    """The body is compressed, or not in UTF-8."""

    code = "body_encoded"


class Forbidden(CamaError):
    """A page or a name from elsewhere."""

    code = "forbidden"


class CloudDisabled(Unsupported):
    code = "cloud_disabled"


class NotAvailable(Unsupported):
    """A route of Ollama's API that this version does not have."""

    code = "not_available"


STATUS: Mapping[type[Exception], int] = {
    CamaError: 500,
    InvalidInput: 400,
    InvalidOptionType: 500,  # as Ollama has it
    BodyTooSlow: 408,
    BodyTooLarge: 413,
    BodyEncoded: 415,
    Unauthorized: 401,
    Forbidden: 403,
    CloudDisabled: 403,
    NotAvailable: 501,
    ModelNotFound: 404,
    QueueFull: 503,
    ServerUnavailable: 503,
}
_RETRY_SECONDS = 1


class JSON(Response):
    """A JSON answer as Ollama writes it."""

    media_type = "application/json; charset=utf-8"

    def render(self, content: Any) -> bytes:
        return content if isinstance(content, bytes) else encode(content)


def status_of(error: CamaError) -> int:
    """The status of the nearest type of ``error`` that the table has."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem_body(error: Exception) -> dict[str, str]:
    """What the client may know of ``error``; one that is not deliberate is logged instead."""
    if isinstance(error, CamaError):
        return {"error": error.message}
    _log.error("a request failed", exc_info=error)
    return {"error": INTERNAL}


async def on_cama_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, CamaError)
    status = status_of(error)
    if status >= 500 and not isinstance(error, InvalidInput):
        _log.warning("%s %s: %s", request.method, request.url.path, error.message)
    headers = {"Retry-After": str(_RETRY_SECONDS)} if isinstance(error, QueueFull) else None
    return JSON(problem_body(error), status, headers)


async def on_http_error(request: Request, error: Exception) -> Response:
    """The router's own refusals: no such path, no such method."""
    assert isinstance(error, HTTPException)
    texts = {404: "404 page not found", 405: "405 method not allowed"}
    text = texts.get(error.status_code, error.detail)
    return PlainTextResponse(text, error.status_code, error.headers)


async def on_disconnect(request: Request, error: Exception) -> Response:
    """The client left while it sent its request; nobody reads this."""
    return Response(status_code=499)


async def on_bug(request: Request, error: Exception) -> Response:
    """Starlette raises ``error`` again afterwards, so that the server logs it."""
    return JSON({"error": INTERNAL}, 500)


HANDLERS: Mapping[Any, Any] = {
    CamaError: on_cama_error,
    HTTPException: on_http_error,
    ClientDisconnect: on_disconnect,
    Exception: on_bug,
}
