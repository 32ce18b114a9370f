"""From an error to its answer: the one place where error types meet status codes."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cama.core.errors import (
    CamaError,
    InvalidInput,
    InvalidOptionType,
    InvalidRequest,
    ModelNotFound,
    Offline,
    QueueFull,
    ServerUnavailable,
    Unauthorized,
    Unsupported,
)
from cama.wire.encode import encode
from cama.wire.problems import (
    Problem,
    Shape,
    anthropic_problem,
    ollama_problem,
    openai_problem,
)

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


class SignedOut(CamaError):
    """Nobody is signed in to ollama.com, and nobody can be."""

    code = "signed_out"


class UnknownRenderer(Unsupported):
    """A model's prompts would be made by a renderer that is not part of Cama."""

    code = "unknown_renderer"


class ResponseNotFound(InvalidRequest):
    """No response of that name is kept."""

    code = "response_not_found"


STATUS: Mapping[type[Exception], int] = {
    CamaError: 500,
    InvalidInput: 400,
    InvalidOptionType: 500,  # as Ollama has it
    BodyTooSlow: 408,
    BodyTooLarge: 413,
    BodyEncoded: 415,
    Unauthorized: 401,
    SignedOut: 401,
    Forbidden: 403,
    CloudDisabled: 403,
    UnknownRenderer: 500,  # as Ollama has it
    ModelNotFound: 404,
    ResponseNotFound: 404,
    QueueFull: 503,
    Offline: 503,
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


def problem_of(error: Exception) -> Problem:
    """What the client may know of ``error``; one that is not deliberate is logged instead."""
    if not isinstance(error, CamaError):
        _log.error("a request failed", exc_info=error)
        return _BUG
    param = error.fields.get("field") or error.fields.get("option")
    return Problem(
        status=status_of(error),
        message=error.message,
        code=error.code,
        param=param if isinstance(param, str) else None,
    )


def shape_of(path: str) -> Shape:
    """How errors are written below ``path``: the one place that knows which paths are whose."""
    if path == "/v1/messages" or path.startswith("/v1/messages/"):
        return anthropic_problem
    return openai_problem if is_foreign(path) else ollama_problem


def is_foreign(path: str) -> bool:
    """Whether ``path`` belongs to a dialect other than Ollama's."""
    return path == "/v1" or path.startswith("/v1/")


async def on_cama_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, CamaError)
    problem = problem_of(error)
    if problem.status >= 500 and not isinstance(error, InvalidInput):
        _log.warning("%s %s: %s", request.method, request.url.path, error.message)
    return _answer(request, problem, _headers(error))


async def refuse(scope: Scope, receive: Receive, send: Send, error: CamaError) -> None:
    """Answer ``error`` from outside of the routes."""
    response = await on_cama_error(Request(scope), error)
    await response(scope, receive, send)


async def on_http_error(request: Request, error: Exception) -> Response:
    """The router's own refusals: no such path, no such method."""
    assert isinstance(error, HTTPException)
    status, path = error.status_code, request.url.path
    texts = {404: "404 page not found", 405: "405 method not allowed"}
    if is_foreign(path):
        texts = {
            404: f"unknown URL: {request.method} {path}",
            405: f"{path} is not for {request.method}",
        }
    problem = Problem(status=status, message=texts.get(status, error.detail))
    return _answer(request, problem, error.headers)


async def on_disconnect(request: Request, error: Exception) -> Response:
    """The client left while it sent its request; nobody reads this."""
    return Response(status_code=499)


async def on_bug(request: Request, error: Exception) -> Response:
    """Starlette raises ``error`` again afterwards, so that the server logs it."""
    # Starlette's handler of bugs is outside of all middleware, and so of what adds the id.
    name = request.scope.get("state", {}).get("request_id")
    return _answer(request, _BUG, {"x-request-id": name} if name else None)


def _answer(
    request: Request, problem: Problem, headers: Mapping[str, str] | None = None
) -> Response:
    problem = replace(problem, request_id=request.scope.get("state", {}).get("request_id"))
    return JSON(shape_of(request.url.path)(problem), problem.status, headers)


def _headers(error: CamaError) -> Mapping[str, str] | None:
    match error:
        case QueueFull():
            return {"Retry-After": str(_RETRY_SECONDS)}
        case Unauthorized():
            return {"WWW-Authenticate": "Bearer"}
    return None


_BUG = Problem(status=500, message=INTERNAL)

HANDLERS: Mapping[Any, Any] = {
    CamaError: on_cama_error,
    HTTPException: on_http_error,
    ClientDisconnect: on_disconnect,
    Exception: on_bug,
}
