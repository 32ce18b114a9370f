"""How answers end: with errors, and when nobody listens any more."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import Message

from cama.api.app import create_app
from cama.api.described import ROUTES
from cama.api.problems import INTERNAL
from cama.api.streaming import Answer
from cama.core.errors import InvalidRequest, RunnerCrashed
from cama.core.generation import Chunk
from cama.core.settings import Settings
from cama.store.store import Store
from cama.wire.framing import ANTHROPIC_EVENTS, NDJSON, OPENAI_EVENTS, Framing, Reply
from tests.api.conftest import lines
from tests.api.fakes import FakeRunner, FakeScheduler

CRASH = RunnerCrashed("it <broke>")
HI = Chunk(text="Hi", n_tokens=1)


class Wire:
    """An ASGI connection in a test's hands."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: list[Message] = []
        self.sent_something = asyncio.Event()

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        self.sent_something.set()

    def post(self, app: Starlette, path: str, body: dict[str, Any]) -> "asyncio.Task[None]":
        scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(),
            "query_string": b"", "headers": [(b"host", b"localhost")], "root_path": "",
            "scheme": "http", "server": ("localhost", 1), "client": None, "http_version": "1.1",
        }  # fmt: skip
        self.inbox.put_nowait({"type": "http.request", "body": json.dumps(body).encode()})
        return asyncio.ensure_future(app(scope, self.inbox.get, self.send))

    def hang_up(self) -> None:
        self.inbox.put_nowait({"type": "http.disconnect"})


@pytest.fixture
def app(settings: Settings, store: Store, scheduler: FakeScheduler) -> Starlette:
    return create_app(settings, store, scheduler)


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": "chatty", "prompt": "Hi", **fields}


async def test_an_error_before_the_first_byte_has_its_own_status(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.script = [InvalidRequest("too long")]
    response = await api.post("/api/generate", json=ask())
    assert (response.status_code, response.json()) == (400, {"error": "too long"})


async def test_an_error_after_the_first_byte_is_the_last_line(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.script = [HI, CRASH]
    response = await api.post("/api/generate", json=ask())
    first, last = lines(response)
    assert response.status_code == 200
    assert first["response"] == "Hi"
    assert last == {"error": "it <broke>"}


async def test_an_error_without_a_stream_has_its_own_status(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.script = [HI, CRASH]
    response = await api.post("/api/generate", json=ask(stream=False))
    assert (response.status_code, response.json()) == (500, {"error": "it <broke>"})


async def test_an_answer_that_does_not_end_is_an_error(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.script = [HI]
    last = lines(await api.post("/api/generate", json=ask()))[-1]
    assert last == {"error": "the model runner ended an answer without saying why"}


async def test_an_error_ends_the_lease(
    api: httpx.AsyncClient, runner: FakeRunner, scheduler: FakeScheduler
) -> None:
    runner.script = [HI, CRASH]
    await api.post("/api/generate", json=ask())
    assert scheduler.n_active == 0


TURNS = {"messages": [{"role": "user", "content": "Hi"}]}
STREAMING: dict[str, dict[str, Any]] = {
    "/api/generate": {"prompt": "Hi"},
    "/api/chat": TURNS,
    "/v1/chat/completions": TURNS,
    "/v1/completions": {"prompt": "Hi"},
    "/v1/responses": {"input": "Hi"},
    "/v1/messages": TURNS | {"max_tokens": 100_000},
}
SEVERAL = {"/v1/chat/completions", "/v1/completions"}
"""These can give several answers at once."""


def test_every_route_that_streams_is_left() -> None:
    told = {path for (_, path), about in ROUTES.items() if about.piece is not None}
    assert told == STREAMING.keys() | {"/api/create", "/api/pull", "/api/push"}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", STREAMING)
async def test_a_client_that_leaves_cancels_its_answer(
    app: Starlette, runner: FakeRunner, scheduler: FakeScheduler, path: str, stream: bool
) -> None:
    wire = Wire()
    runner.going.clear()
    task = wire.post(app, path, {"model": "chatty", **STREAMING[path], "stream": stream})
    while not runner.generations:
        await asyncio.sleep(0)
    wire.hang_up()
    await task
    assert runner.n_ended == 1
    assert scheduler.n_active == 0
    assert wire.sent == []


@pytest.mark.parametrize("path", STREAMING)
async def test_a_client_that_leaves_in_the_middle_cancels_its_answer(
    app: Starlette, runner: FakeRunner, scheduler: FakeScheduler, path: str
) -> None:
    wire = Wire()
    runner.script = [HI] * 100_000
    n = 3 if path in SEVERAL else 1
    several = {"n": n} if path in SEVERAL else {}
    task = wire.post(app, path, {"model": "chatty", **STREAMING[path], "stream": True, **several})
    await wire.sent_something.wait()
    while len(runner.generations) < n:
        await asyncio.sleep(0)
    wire.hang_up()
    await task
    assert len(wire.sent) < 1000
    assert runner.n_ended == n
    assert scheduler.n_active == 0


async def test_a_server_that_stops_breaks_answers_off(
    app: Starlette, runner: FakeRunner, scheduler: FakeScheduler
) -> None:
    wire = Wire()
    runner.script = [HI] * 100_000
    task = wire.post(app, "/api/generate", ask())
    await wire.sent_something.wait()
    app.state.services.stopping.set()
    await task
    assert json.loads(wire.sent[-1]["body"]) == {"error": "the server is shutting down"}
    assert wire.sent[-1]["more_body"] is False
    assert scheduler.n_active == 0


async def test_a_server_that_stops_refuses_answers_that_were_not_begun(
    app: Starlette, runner: FakeRunner, scheduler: FakeScheduler
) -> None:
    wire = Wire()
    runner.going.clear()
    task = wire.post(app, "/api/generate", ask())
    while not runner.generations:
        await asyncio.sleep(0)
    app.state.services.stopping.set()
    await task
    assert wire.sent[0]["status"] == 503
    assert scheduler.n_active == 0


async def test_a_server_that_is_cancelled_cancels_its_answers(
    app: Starlette, runner: FakeRunner, scheduler: FakeScheduler
) -> None:
    runner.going.clear()
    task = Wire().post(app, "/api/generate", ask())
    while not runner.generations:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert runner.n_ended == 1
    assert scheduler.n_active == 0


async def test_a_bug_after_the_first_byte_is_told_without_details(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def replies() -> AsyncGenerator[Reply, None]:
        yield {"response": "Hi"}
        raise ZeroDivisionError("a secret")

    wire = Wire()
    stopping = asyncio.Event()
    answer = Answer(replies(), stream=True, stopping=stopping)
    await answer({"type": "http", "path": "/"}, wire.inbox.get, wire.send)
    assert json.loads(wire.sent[-1]["body"]) == {"error": INTERNAL}
    assert wire.sent[-1]["more_body"] is False
    assert "a secret" in caplog.text


GOOD = {"type": "piece", "text": "a\nb"}
DATA = b'data: {"type":"piece","text":"a\\nb"}\n\n'


@pytest.mark.parametrize(
    ("framing", "good", "end", "bad"),
    [
        (NDJSON, DATA[6:-1], b"", b'{"error":"it \\u003cbroke\\u003e"}\n'),
        (
            OPENAI_EVENTS,
            DATA,
            b"data: [DONE]\n\n",
            b'data: {"error":{"message":"it \\u003cbroke\\u003e","type":"api_error","param":null,'
            b'"code":"runner_crashed"}}\n\n',
        ),
        (
            ANTHROPIC_EVENTS,
            b"event: piece\n" + DATA,
            b"",
            b'event: error\ndata: {"type":"error","error":{"type":"api_error",'
            b'"message":"it \\u003cbroke\\u003e"}}\n\n',
        ),
    ],
)
@pytest.mark.parametrize("breaks", [True, False])
async def test_each_dialect_has_its_frames(
    framing: Framing, good: bytes, end: bytes, bad: bytes, breaks: bool
) -> None:
    async def replies() -> AsyncGenerator[Reply, None]:
        yield GOOD
        if breaks:
            raise CRASH

    wire = Wire()
    answer = Answer(
        replies(),
        stream=True,
        stopping=asyncio.Event(),
        framing=framing,
    )
    answer.headers["x-extra"] = "1"
    await answer({"type": "http", "path": "/"}, wire.inbox.get, wire.send)
    assert b"".join(message["body"] for message in wire.sent[1:]) == good + (bad if breaks else end)
    headers = dict(wire.sent[0]["headers"])
    assert headers[b"content-type"].startswith(framing.media_type.encode())
    assert headers[b"x-extra"] == b"1"


async def test_a_bug_before_the_first_byte_is_told_without_details(
    api: httpx.AsyncClient, scheduler: FakeScheduler
) -> None:
    del scheduler.leases
    response = await api.post("/api/generate", json=ask())
    assert (response.status_code, response.json()) == (500, {"error": INTERNAL})
