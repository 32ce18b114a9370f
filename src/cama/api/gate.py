"""Who may call: the one place where API keys are asked for."""

from itertools import product

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from cama.api.problems import refuse
from cama.core.errors import Unauthorized
from cama.core.keys import ApiKey, KeyRing, read_keys
from cama.core.settings import Settings

OPEN = frozenset(product(("GET", "HEAD"), ("/", "/docs", "/openapi.json")))
"""What anybody may ask: whether a server is there, and how to ask it."""

ANYBODY = ApiKey(digest=b"", name="", tenant="")
"""The caller of a server that has no keys."""

_MISSING = "an API key is missing: send the header 'Authorization: Bearer KEY', or set CAMA_API_KEY"
_WRONG = "the API key is not one of this server's"


def keys_of(settings: Settings) -> KeyRing:
    """The keys of a server. Raises InvalidSetting."""
    listed = read_keys(settings.api_key_file) if settings.api_key_file else ()
    return KeyRing((*settings.api_keys, *listed))


def caller(request: Request) -> ApiKey:
    """Who sent a request."""
    found: ApiKey = request.scope.get("state", {}).get("key", ANYBODY)
    return found


class Gate:
    """Answers 401 to a request without a key of the server. A ring without keys lets all in."""

    def __init__(self, app: ASGIApp, keys: KeyRing) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._keys or scope["type"] != "http" or (scope["method"], scope["path"]) in OPEN:
            await self._app(scope, receive, send)
            return
        sent = _sent(Headers(scope=scope))
        key = next(filter(None, map(self._keys.find, sent)), None)
        if key is not None:
            scope.setdefault("state", {})["key"] = key
            await self._app(scope, receive, send)
            return
        await refuse(scope, receive, send, Unauthorized(_WRONG if sent else _MISSING))


def _sent(headers: Headers) -> list[str]:
    """The keys that a request brings, as clients of OpenAI and of Anthropic send them."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return [key for key in (bearer, headers.get("x-api-key", "").strip()) if key]
