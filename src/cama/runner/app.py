"""The HTTP face of a runner: a plain ASGI application over the engine thread."""

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from itertools import count
from typing import Any, TypeVar

from cama.core.errors import CamaError, InvalidInput, InvalidRequest, QueueFull
from cama.core.generation import Generation
from cama.engine.base import Prompt
from cama.runner.embedding import INLINE_CHARACTERS, embed, rank
from cama.runner.engine_thread import EngineThread, Ready
from cama.runner.outbox import Item, Outbox, Stream
from cama.runner.pictures import look
from cama.runner.protocol import (
    SECRET_HEADER,
    embedding_from_json,
    event_to_json,
    generation_from_json,
    ranking_from_json,
)

_T = TypeVar("_T")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BODY_BYTES = 64 << 20

_NOT_READY = 409
_STATUS: Mapping[type[CamaError], int] = {InvalidInput: 400, QueueFull: 503, CamaError: 500}


class _ClientGone(Exception):
    """The client disconnected before its request was complete."""


class App:
    """Answers the parent, and nobody else.

    ``on_failure_told`` is called when the parent has read that the load failed.
    """

    def __init__(
        self, secret: str, engine: EngineThread, outbox: Outbox, on_failure_told: Callable[[], None]
    ) -> None:
        self._secret = secret.encode()
        self._engine = engine
        self._outbox = outbox
        self._on_failure_told = on_failure_told
        self._ids = count()
        self._sight = asyncio.Lock()  # pixels take much memory: one request at a time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._is_trusted(scope):
            await _refuse(send, 403, InvalidRequest("the runner's secret is missing or wrong"))
            return
        try:
            await self._route(scope["method"], scope["path"], receive, send)
        except CamaError as error:
            await _refuse(send, _status(error), error)
        except _ClientGone:
            return

    def _is_trusted(self, scope: Scope) -> bool:
        given = dict(scope["headers"]).get(SECRET_HEADER.encode(), b"")
        return hmac.compare_digest(given, self._secret)

    async def _route(self, method: str, path: str, receive: Receive, send: Send) -> None:
        match method, path:
            case "GET", "/health":
                await self._health(send)
            case "GET", "/info":
                await self._info(send)
            case "POST", "/generate":
                await self._generate(await _body(receive), receive, send)
            case "POST", "/embed":
                await self._embed(await _body(receive), receive, send)
            case "POST", "/rank":
                await self._rank(await _body(receive), receive, send)
            case "POST", "/tokenize":
                await _answer(send, 200, await self._tokenize(await _body(receive)))
            case "POST", "/detokenize":
                await _answer(send, 200, self._detokenize(await _body(receive)))
            case "POST", "/pieces":
                await _answer(send, 200, self._pieces(await _body(receive)))
            case _:
                await _refuse(send, 404, InvalidRequest(f"no such endpoint: {method} {path}"))

    async def _health(self, send: Send) -> None:
        health = self._engine.health
        await _answer(send, 200, asdict(health))
        if health.status == "failed":
            self._on_failure_told()

    async def _info(self, send: Send) -> None:
        try:
            ready = self._engine.ready
        except CamaError as error:
            await _refuse(send, _NOT_READY, error)
        else:
            await _answer(send, 200, asdict(ready.info))

    async def _tokenize(self, body: Mapping[str, Any]) -> dict[str, Any]:
        match body:
            case {"text": str(text), "add_special": bool(special), "images": [_, *_] as images}:
                prompt = Generation(
                    prompt=text, add_special=special, images=tuple(map(str, images))
                )
                return {"tokens": (await self._prompt(prompt)).tokens}
            case {"text": str(text), "add_special": bool(special), "parse_special": bool(parse)}:
                return {"tokens": await _encode(self._engine.ready, text, special, parse)}
        raise InvalidRequest("tokenize needs text, add_special and parse_special")

    def _detokenize(self, body: Mapping[str, Any]) -> dict[str, Any]:
        ready = self._engine.ready
        match body:
            case {"tokens": list(tokens)}:
                _check(tokens, ready)
                return {"text": ready.engine.tokenizer.decode(tokens)}
        raise InvalidRequest("detokenize needs tokens")

    def _pieces(self, body: Mapping[str, Any]) -> dict[str, Any]:
        ready = self._engine.ready
        match body:
            case {"tokens": list(tokens)}:
                _check(tokens, ready)
                piece = ready.engine.tokenizer.piece
                return {"pieces": [piece(token).decode("latin-1") for token in tokens]}
        raise InvalidRequest("pieces needs tokens")

    async def _embed(self, body: Mapping[str, Any], receive: Receive, send: Send) -> None:
        wanted = _parsed(embedding_from_json, body)
        work = embed(self._engine.ready, str(next(self._ids)), wanted)
        await _answer(send, 200, (await _while_connected(receive, work)).to_json())

    async def _rank(self, body: Mapping[str, Any], receive: Receive, send: Send) -> None:
        work = rank(self._engine.ready, str(next(self._ids)), _parsed(ranking_from_json, body))
        await _answer(send, 200, asdict(await _while_connected(receive, work)))

    async def _generate(self, body: Mapping[str, Any], receive: Receive, send: Send) -> None:
        ready = self._engine.ready
        generation = _parsed(generation_from_json, body)
        request_id = str(next(self._ids))
        stream = self._outbox.open()
        async with _watched(receive, stream):
            prompt = await self._prompt(generation)
            submit = partial(
                ready.loop.submit,
                *(request_id, prompt.tokens, generation, stream.put, prompt.images),
            )
            try:
                if generation.constraint is None and not generation.heal:
                    submit()
                else:  # what is compiled once may take a while, in which streams keep flowing
                    await asyncio.to_thread(submit)
                await _send_stream(stream, send)
            finally:
                if not stream.finished:
                    ready.loop.cancel(request_id)

    async def _prompt(self, generation: Generation) -> Prompt:
        ready = self._engine.ready
        if not generation.images:
            return Prompt(await _prompt_tokens(ready, generation))
        async with self._sight:
            return await asyncio.to_thread(look, ready.engine, generation)


async def _while_connected(receive: Receive, work: Coroutine[Any, Any, _T]) -> _T:
    """The result of ``work``, which is cancelled when the client is gone."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    task, gone = asyncio.create_task(work), asyncio.create_task(watch())
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise _ClientGone
        return task.result()
    finally:
        gone.cancel()
        task.cancel()


@asynccontextmanager
async def _watched(receive: Receive, stream: Stream) -> AsyncIterator[None]:
    """Close ``stream`` as soon as the client is gone; a write would notice it too late."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        stream.close()

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()


async def _send_stream(stream: Stream, send: Send) -> None:
    items = await stream.take()
    # An error that comes first is the answer's status; a later one is its last line.
    if items and isinstance(items[0], CamaError):
        raise items[0]
    await _start(send, 200, b"application/x-ndjson")
    while items:
        lines = b"".join(map(_line, items))
        await send({"type": "http.response.body", "body": lines, "more_body": True})
        items = await stream.take()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _line(item: Item) -> bytes:
    data = {"error": item.to_dict()} if isinstance(item, CamaError) else event_to_json(item)
    return _dumps(data) + b"\n"


async def _prompt_tokens(ready: Ready, generation: Generation) -> list[int]:
    if isinstance(generation.prompt, str):
        return await _encode(ready, generation.prompt, generation.add_special, True)
    tokens = list(generation.prompt)
    _check(tokens, ready)
    return tokens


async def _encode(ready: Ready, text: str, add_special: bool, parse_special: bool) -> list[int]:
    def encode() -> list[int]:
        return ready.engine.tokenizer.encode(
            text, add_special=add_special, parse_special=parse_special
        )

    return encode() if len(text) <= INLINE_CHARACTERS else await asyncio.to_thread(encode)


def _check(tokens: list[Any], ready: Ready) -> None:
    """Refuse what is no token of the model: native code would read outside its tables."""
    n_vocab = ready.info.n_vocab
    for token in tokens:
        if type(token) is not int or not 0 <= token < n_vocab:
            raise InvalidRequest(f"{token!r} is not a token of this model")


def _parsed(parse: Callable[[Mapping[str, Any]], _T], body: Mapping[str, Any]) -> _T:
    try:
        return parse(body)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRequest(f"the request is malformed: {error}") from error


async def _body(receive: Receive) -> dict[str, Any]:
    content = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientGone
        content += message.get("body", b"")
        more = message.get("more_body", False)
        if len(content) > MAX_BODY_BYTES:
            raise InvalidRequest("the request is too large")
    try:
        body = json.loads(content)
    except ValueError as error:
        raise InvalidRequest(f"the request is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise InvalidRequest("the request is not a JSON object")
    return body


def _status(error: CamaError) -> int:
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


async def _refuse(send: Send, status: int, error: CamaError) -> None:
    await _answer(send, status, {"error": error.to_dict()})


async def _answer(send: Send, status: int, data: Mapping[str, Any]) -> None:
    content = _dumps(data)
    await _start(send, status, b"application/json", (b"content-length", b"%d" % len(content)))
    await send({"type": "http.response.body", "body": content, "more_body": False})


async def _start(send: Send, status: int, kind: bytes, *headers: tuple[bytes, bytes]) -> None:
    all_headers = [(b"content-type", kind), *headers]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})


def _dumps(data: Mapping[str, Any]) -> bytes:
    # Errors carry fields of any type, such as paths.
    return json.dumps(data, default=str).encode()
