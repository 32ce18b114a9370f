"""From a server's refusal to the error type that says what the caller can do."""

import json
from typing import Any

from cama.core.errors import CamaError, InvalidRequest, ModelNotFound, QueueFull, Unauthorized

_KINDS: dict[int, type[CamaError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    404: ModelNotFound,
    503: QueueFull,
}


def problem(status: int, reason: str, body: bytes) -> CamaError:
    """The error behind an answer that is not a success.

    An answer without ``{"error": text}`` comes from something else than the API (an unknown path, a
    proxy), so that its status says nothing about models.
    """
    text = _error_text(body)
    if text is None:
        return CamaError(f"the server answered {status} {reason}".rstrip(), status=status)
    return _KINDS.get(status, CamaError)(text, status=status)


def _error_text(body: bytes) -> str | None:
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    text = answer.get("error") if isinstance(answer, dict) else None
    return text if isinstance(text, str) and text else None
