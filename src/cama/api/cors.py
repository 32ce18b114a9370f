"""Which web pages may call the API."""

import re
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cama.api.problems import Forbidden, refuse
from cama.core.errors import InvalidSetting

_LOCAL = tuple(
    f"{scheme}://{host}{port}"
    for host in ("localhost", "127.0.0.1", "0.0.0.0")
    for scheme in ("http", "https")
    for port in ("", ":*")
)
_APPLICATIONS = (
    "app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*",
)  # fmt: skip
_SCHEMES = (
    "http://", "https://", "chrome-extension://", "safari-extension://", "moz-extension://",
    "ms-browser-extension://",
)  # fmt: skip
_STAINLESS = (
    "arch", "async", "custom-poll-interval", "helper-method", "lang", "os", "package-version",
    "poll-helper", "retry-count", "runtime", "runtime-version", "timeout",
)  # fmt: skip
_MORE_HEADERS = (
    "X-Api-Key", "X-Request-Id", "Anthropic-Version", "Anthropic-Beta",
    "Anthropic-Dangerous-Direct-Browser-Access",
)  # fmt: skip
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS",
    "Access-Control-Allow-Headers": ",".join([
        "Authorization", "Content-Type", "User-Agent", "Accept", "X-Requested-With", "OpenAI-Beta",
        *(f"x-stainless-{name}" for name in _STAINLESS), *_MORE_HEADERS,
    ]),
    "Access-Control-Max-Age": "43200",
}  # fmt: skip


class Origins:
    """The origins that may call: those listed, and what runs on this machine."""

    def __init__(self, listed: Iterable[str]) -> None:
        """Raises InvalidSetting on an entry that cannot be an origin."""
        entries = tuple(listed)
        for entry in entries:
            _check(entry)
        self.any = "*" in entries
        self._patterns = [_pattern(entry) for entry in (*entries, *_LOCAL, *_APPLICATIONS)]

    def allow(self, origin: str) -> bool:
        return any(pattern.fullmatch(origin) for pattern in self._patterns)

    def know(self, host: str) -> bool:
        """Whether pages of ``host``, as a Host header names it, may call."""
        return self.allow(f"http://{host}") or self.allow(f"https://{host}")


def _check(entry: str) -> None:
    if entry.count("*") > 1:
        raise InvalidSetting(
            f"CAMA_ORIGINS: {entry!r} has more than one *", variable="CAMA_ORIGINS"
        )
    if "*" not in entry and not entry.startswith(_SCHEMES):
        raise InvalidSetting(
            f"CAMA_ORIGINS: {entry!r} must contain * or begin with {', '.join(_SCHEMES)}",
            variable="CAMA_ORIGINS",
        )


def _pattern(entry: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, entry.split("*"))))


class CORS:
    """Refuses pages of other origins, and tells the browser about those that may call."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin", "")
        if not origin or origin in _own(headers):
            await self._app(scope, receive, send)
        elif not self._origins.allow(origin):
            error = Forbidden(f"the origin {origin:.200} may not call: list it in CAMA_ORIGINS")
            await refuse(scope, receive, send, error)
        elif scope["method"] == "OPTIONS":
            allowed = _PREFLIGHT | {"Access-Control-Allow-Origin": self._named(origin)}
            await Response(status_code=204, headers=allowed)(scope, receive, send)
        else:
            await self._app(scope, receive, _with_origin(send, self._named(origin)))

    def _named(self, origin: str) -> str:
        return "*" if self._origins.any else origin


def _own(headers: Headers) -> tuple[str, str]:
    host = headers.get("host", "")
    return f"http://{host}", f"https://{host}"


def _with_origin(send: Send, origin: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers.add_vary_header("Origin")
        await send(message)

    return sending
