"""What a client may do to a connection, tried on real sockets with short bounds."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from cama.api.body import Pace
from cama.api.connection import Connection
from cama.api.problems import on_cama_error
from cama.core.errors import CamaError

SECONDS = 0.3
MAX_HEAD = 4096


class Brief(Connection):
    max_head_bytes = MAX_HEAD
    head_seconds = SECONDS
    stall_seconds = SECONDS


async def length(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer how long the body is, and which header ``x`` came."""
    from starlette.requests import Request
    from starlette.responses import JSONResponse

    request = Request(scope, receive)
    try:
        body = await request.body()
        response: Any = JSONResponse([len(body), request.headers.get("x")])
    except CamaError as error:
        response = await on_cama_error(request, error)
    await response(scope, receive, send)


class Flood:
    """An answer without an end, and whether its client was found to be gone."""

    def __init__(self) -> None:
        self.was_left = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        flood = asyncio.ensure_future(self._flood(send))
        assert (await receive())["type"] == "http.disconnect"
        self.was_left.set()
        flood.cancel()

    async def _flood(self, send: Send) -> None:
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """The port of a server."""
    config = uvicorn.Config(app, http=Brief, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        task = asyncio.ensure_future(server._serve([listener]))
        while not server.started:
            await asyncio.sleep(0)
        yield int(listener.getsockname()[1])
        server.should_exit = True
        await task


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with serving(Pace(length, grace=SECONDS, least_rate=1 << 20)) as port:
        yield port


class Raw:
    """A client that sends what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, port: int) -> "Raw":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def send(self, *parts: bytes) -> None:
        self.writer.writelines(parts)

    async def all(self) -> bytes:
        """Everything until the server closes the connection, which it may do while we send."""
        pieces: list[bytes] = []
        async with asyncio.timeout(20):
            with suppress(ConnectionError):
                while piece := await self.reader.read(1 << 16):
                    pieces.append(piece)
        self.writer.close()
        return b"".join(pieces)

    async def dribble(self, data: bytes) -> bytes:
        """Send ``data`` again and again, little by little, until the server has enough."""
        answer = asyncio.ensure_future(self.all())
        while not answer.done():
            self.send(data)
            await asyncio.wait([answer], timeout=SECONDS / 10)
        return answer.result()

    async def answer(self) -> tuple[int, Any]:
        return parsed(await self.all())


def parsed(data: bytes) -> tuple[int, Any]:
    """The status and body of the one answer before the server closed the connection."""
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close" in head
    return int(head.split()[1]), json.loads(body)


def head(*headers: bytes, target: bytes = b"/") -> bytes:
    lines = [b"POST " + target + b" HTTP/1.1", b"Host: x", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


CLOSE = b"Connection: close"


async def test_a_sound_request_is_answered(port: int) -> None:
    client = await Raw.to(port)
    client.send(head(b"Content-Length: 3", b"x: y", CLOSE), b"abc")
    assert await client.answer() == (200, [3, "y"])


@pytest.mark.parametrize(
    "parts",
    [
        [head(b"x: " + b"y" * MAX_HEAD)],
        [head(*[b"x%d: y" % i for i in range(MAX_HEAD // 4)])],
        [head(target=b"/" + b"y" * MAX_HEAD)],
        [b"POST / HTTP/1.1\r\nx: ", b"y" * (MAX_HEAD + 1)],
        [b"\r\n" * MAX_HEAD],
    ],
    ids=["one", "many", "target", "unfinished", "nothing"],
)
async def test_long_headers_are_refused(port: int, parts: list[bytes]) -> None:
    client = await Raw.to(port)
    client.send(*parts)
    assert await client.answer() == (431, {"error": "the headers are too long"})


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nx\x00y: z\r\n\r\n",
        head(b"Content-Length: -1"),
        head(b"Content-Length: 1", b"Content-Length: 2"),
        head(b"Content-Length: 1", b"Transfer-Encoding: chunked"),
        head(b"Transfer-Encoding: chunked") + b"zz\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n\r\n",
        head(target="/ü".encode()),
    ],
)
async def test_what_is_no_http_is_refused(port: int, request_: bytes) -> None:
    client = await Raw.to(port)
    client.send(request_)
    data = await client.all()
    assert data.startswith(b"HTTP/1.1 400 ") or (b"chunked" in request_ and not data)


async def test_other_dialects_hear_it_in_their_own_shape(port: int) -> None:
    client = await Raw.to(port)
    client.send(head(b"x: " + b"y" * MAX_HEAD, target=b"/v1/messages"))
    status, body = await client.answer()
    assert (status, body["type"]) == (431, "error")


async def test_slow_headers_are_refused(port: int) -> None:
    client = await Raw.to(port)
    client.send(b"POST / HTTP/1.1\r\n")
    complaint = {"error": "the headers took too long"}
    assert parsed(await client.dribble(b"a: b\r\n")) == (408, complaint)


async def test_a_connection_that_says_nothing_is_closed(port: int) -> None:
    assert await (await Raw.to(port)).all() == b""


async def test_a_slow_body_is_refused(port: int) -> None:
    client = await Raw.to(port)
    client.send(head(b"Content-Length: 100000", CLOSE))
    complaint = {"error": "the request body took too long"}
    assert parsed(await client.dribble(b"a")) == (408, complaint)


async def test_a_body_may_take_its_time_as_long_as_it_comes(port: int) -> None:
    client = await Raw.to(port)
    piece = b"x" * (1 << 18)
    client.send(head(b"Content-Length: %d" % (5 * len(piece)), CLOSE))
    for _ in range(5):
        client.send(piece)
        await asyncio.sleep(SECONDS / 2)
    assert await client.answer() == (200, [5 * len(piece), None])


async def test_trailers_are_no_headers_and_have_bounds(port: int) -> None:
    client = await Raw.to(port)
    chunks = b"3\r\nabc\r\n0\r\n"
    client.send(head(b"Transfer-Encoding: chunked", CLOSE), chunks, b"x: forged\r\n\r\n")
    assert await client.answer() == (200, [3, None])
    client = await Raw.to(port)
    client.send(head(b"Transfer-Encoding: chunked"), chunks, b"x: ")
    assert await client.dribble(b"y" * MAX_HEAD) == b""


async def test_a_connection_is_kept_between_requests(port: int) -> None:
    client = await Raw.to(port)
    for _ in range(3):
        client.send(head(b"Content-Length: 1"), b"a")
        assert b"[1,null]" in await client.reader.readuntil(b"]")
        await asyncio.sleep(SECONDS * 1.5)
    client.send(head(b"Content-Length: 2", CLOSE), b"ab")
    assert await client.answer() == (200, [2, None])


async def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    client = await Raw.to(port)
    client.send(*[head(b"Content-Length: %d" % n) + b"a" * n for n in range(3)])
    client.send(head(b"Content-Length: 3", CLOSE), b"abc")
    bodies = [line for line in (await client.all()).split(b"\r\n") if line.startswith(b"[")]
    assert [json.loads(body.partition(b"HTTP")[0])[0] for body in bodies] == [0, 1, 2, 3]


async def test_a_client_that_takes_nothing_is_taken_for_gone() -> None:
    flood = Flood()
    async with serving(flood) as port:
        client = await Raw.to(port)
        client.send(head(b"Content-Length: 0"))
        async with asyncio.timeout(20):
            await flood.was_left.wait()
        client.writer.close()
