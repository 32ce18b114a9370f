"""GET /openapi.json, the API described for programs, and GET /docs, the same for people."""

import asyncio
import functools
from collections.abc import Iterable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from cama.api.problems import JSON
from cama.wire.encode import encode

_POLICY = (
    "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
)


async def openapi(request: Request) -> Response:
    return JSON(await asyncio.to_thread(_encoded, tuple(_operations(request.app.routes))))


async def docs(request: Request) -> Response:
    """One page without anything from elsewhere, which reads the document."""
    page = await asyncio.to_thread((files("cama.api") / "docs.html").read_text, "utf-8")
    return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})


def _operations(routes: Iterable[BaseRoute]) -> Iterable[tuple[str, str]]:
    for route in routes:
        if isinstance(route, Route):
            yield from ((method, route.path) for method in sorted(route.methods or ()))


@functools.lru_cache(maxsize=2)
def _encoded(operations: tuple[tuple[str, str], ...]) -> bytes:
    from cama.api.openapi import document  # read when it is asked for, which is seldom

    return encode(document(operations))
