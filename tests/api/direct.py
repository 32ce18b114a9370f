"""An ASGI application asked without an HTTP client in between, which would take the most time."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message


@dataclass
class Answered:
    status: int = 0
    content_type: str = ""
    pieces: list[bytes] = field(default_factory=list)

    @property
    def text(self) -> str:
        return b"".join(self.pieces).decode()


async def ask(
    app: ASGIApp,
    method: str,
    path: str,
    pieces: Iterable[bytes] = (b"",),
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> Answered:
    """Send a body in ``pieces``; the client stays until it is answered."""
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": [(b"host", b"127.0.0.1"), *headers], "root_path": "",
        "scheme": "http", "server": ("127.0.0.1", 11434), "client": None, "http_version": "1.1",
    }  # fmt: skip
    answer, stays = Answered(), asyncio.Event()
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages[-1]["more_body"] = False

    async def receive() -> Message:
        if not messages:
            await stays.wait()
        return messages.pop(0)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.content_type = dict(message["headers"]).get(b"content-type", b"").decode()
        else:
            answer.pieces.append(message["body"])

    await app(scope, receive, send)
    return answer
