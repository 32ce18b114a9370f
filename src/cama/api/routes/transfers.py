"""Pulling and pushing. What talks to registries is imported with the first request for it."""

import threading
from collections.abc import AsyncGenerator

from starlette.requests import Request
from starlette.responses import Response

from cama.api.body import read
from cama.api.names import local_name
from cama.api.pulling import access_of, pull_model
from cama.api.services import Services, services
from cama.api.streaming import Answer
from cama.api.transfers import Tell, Work, reporting, transfer
from cama.core.errors import InvalidModelName, InvalidRequest
from cama.store.names import ModelName
from cama.wire.framing import Reply
from cama.wire.requests import PullRequest, PushRequest


async def pull(request: Request) -> Response:
    body = await read(request, PullRequest)
    name = _name(body.model, "invalid model name")
    has, stop = services(request), threading.Event()

    def work(tell: Tell) -> None:
        pull_model(has, name, reporting(tell), stop, insecure=body.insecure)

    return _answer(has, work, stop, stream=body.stream)


async def push(request: Request) -> Response:
    body = await read(request, PushRequest)
    if not body.model:
        raise InvalidRequest("model is required")
    name = _name(body.model, f"unqualified name: {body.model[:100]}")
    has, stop = services(request), threading.Event()

    def work(tell: Tell) -> None:
        from cama.registry.push import push

        access = access_of(has, stop, insecure=body.insecure)
        push(name, has.store, access, reporting(tell))

    return _answer(has, work, stop, stream=body.stream)


def _name(text: str, complaint: str) -> ModelName:
    try:
        return ModelName.parse(local_name(text))
    except InvalidModelName:
        raise InvalidModelName(complaint, name=text) from None


def _answer(has: Services, work: Work, stop: threading.Event, *, stream: bool) -> Answer:
    events = transfer(work, stop, has.transfers)
    return Answer(events if stream else _last(events), stream=stream, stopping=has.stopping)


async def _last(events: AsyncGenerator[Reply, None]) -> AsyncGenerator[Reply, None]:
    """Only how it ended."""
    last: Reply = {}
    try:
        async for event in events:
            last = event
    finally:
        await events.aclose()
    yield last
