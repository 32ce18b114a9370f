"""How each dialect of the API writes an error: pure functions from a problem to a JSON body."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a client may know of an error.

    ``code`` is stable, as in ``core.errors``; ``param`` is the field of the request that is wrong;
    ``request_id`` is in the log.
    """

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    request_id: str | None = None


Shape = Callable[[Problem], dict[str, Any]]

_OPENAI_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_OPENAI_CODES: Mapping[str, str] = {
    "prompt_too_long": "context_length_exceeded",
    "unsupported": "unsupported_parameter",
}
"""What clients of OpenAI look for, where it has another name than ours."""

_OPENAI_PARAMS: Mapping[str, str] = {"images": "messages"}
"""Where OpenAI has what Ollama has in a field of its own."""

_ANTHROPIC_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


def ollama_problem(problem: Problem) -> dict[str, Any]:
    return {"error": problem.message}


def openai_problem(problem: Problem) -> dict[str, Any]:
    otherwise = "invalid_request_error" if problem.status < 500 else "api_error"
    code, param = problem.code, problem.param
    return {
        "error": {
            "message": problem.message,
            "type": _OPENAI_TYPES.get(problem.status, otherwise),
            "param": _OPENAI_PARAMS.get(param, param) if param else None,
            "code": _OPENAI_CODES.get(code, code) if code else None,
        }
    }


def anthropic_problem(problem: Problem) -> dict[str, Any]:
    otherwise = "invalid_request_error" if problem.status < 500 else "api_error"
    kind = _ANTHROPIC_TYPES.get(problem.status, otherwise)
    body = {"type": "error", "error": {"type": kind, "message": problem.message}}
    return body | ({"request_id": problem.request_id} if problem.request_id else {})
