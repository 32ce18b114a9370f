"""The small HTTP client against servers that answer badly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cama.core.errors import PromptTooLong, RunnerError
from cama.runner.http import Disconnected, Endpoint

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


@asynccontextmanager
async def server_of(answer: bytes) -> AsyncIterator[Endpoint]:
    """A server that reads a request's head, sends ``answer`` and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Endpoint(server.sockets[0].getsockname()[1], "sesame")


async def lines_of(answer: bytes) -> list[bytes]:
    lines: list[bytes] = []
    async with server_of(answer) as endpoint, endpoint.stream("GET", "/") as response:
        while batch := await response.lines():
            lines += batch
    return lines


async def test_call_reads_an_answer_with_a_length() -> None:
    async with server_of(OK + b'content-length: 7\r\n\r\n{"a":1}') as endpoint:
        assert await endpoint.call("GET", "/") == {"a": 1}


async def test_stream_joins_lines_over_chunks() -> None:
    answer = CHUNKED + b"3\r\none\r\n1\r\n\n\r\n8\r\ntwo\nthre\r\n2\r\ne\n\r\n0\r\n\r\n"
    assert await lines_of(answer) == [b"one", b"two", b"three"]


async def test_stream_gives_a_last_line_without_end() -> None:
    assert await lines_of(CHUNKED + b"3\r\none\r\n0\r\n\r\n") == [b"one"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        OK + b"content-length: 10\r\n\r\nabc",
        CHUNKED,
        CHUNKED + b"5\r\nab",
        CHUNKED + b"2\r\nab\r\n",
    ],
)
async def test_stream_raises_when_the_answer_breaks_off(answer: bytes) -> None:
    with pytest.raises(Disconnected):
        await lines_of(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        OK + b"no header\r\n\r\n",
        OK + b"content-length: many\r\n\r\n",
        OK + b"content-length: -1\r\n\r\n",
        CHUNKED + b"xyz\r\n",
        CHUNKED + b"-5\r\n",
        b"HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 500 No\r\ncontent-length: 4\r\n\r\nnull",
        OK + b"x: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_stream_raises_on_an_answer_that_is_malformed(answer: bytes) -> None:
    with pytest.raises(RunnerError, match="malformed"):
        await lines_of(answer)


async def test_call_raises_the_error_that_is_answered() -> None:
    body = b'{"error": {"code": "prompt_too_long", "message": "too long", "fields": {"n": 5}}}'
    head = b"HTTP/1.1 400 No\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with server_of(head + body) as endpoint:
        with pytest.raises(PromptTooLong, match="too long") as caught:
            await endpoint.call("GET", "/")
    assert caught.value.fields == {"n": 5}


async def test_call_raises_when_nobody_listens() -> None:
    async with server_of(b"") as endpoint:
        pass
    with pytest.raises(Disconnected):
        await endpoint.call("GET", "/")
