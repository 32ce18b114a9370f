"""Creating models. The work is done on a thread, and by children of that."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cama.api.body import read
from cama.api.creation import check_names, recipe_of
from cama.api.names import local_name
from cama.api.pulling import pull_model
from cama.api.services import Services, services
from cama.api.streaming import Answer
from cama.api.transfers import reporting
from cama.core.errors import InvalidModelFile, InvalidRequest, ModelNotFound
from cama.modelfile.create import create_from_recipe
from cama.runner.jobs import Jobs
from cama.store.names import ModelName
from cama.wire.creation import CreateRequest
from cama.wire.framing import Reply

_AT_ONCE = 4
_threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="create")
"""Of their own: creating takes minutes, and the loop's threads are for what is short."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What the work is told by and tells: ``stop`` and ``jobs`` end it, ``put`` takes its lines."""

    put: Callable[[Reply], None]
    jobs: Jobs
    stop: threading.Event = field(default_factory=threading.Event)

    def status(self, text: str) -> None:
        """Raises Cancelled when nobody listens any more."""
        self.jobs.check()
        self.put({"status": text})

    def cancel(self) -> None:
        self.stop.set()
        self.jobs.cancel()


Work = Callable[[Desk], None]


async def create(request: Request) -> Response:
    body = await read(request, CreateRequest)
    check_names(body)
    has = services(request)
    events = _events(_work(has, body), has.settings.num_threads)
    replies = events if body.stream else _last(events)
    return Answer(replies, stream=body.stream, stopping=has.stopping)


def _work(has: Services, body: CreateRequest) -> Work:
    def work(desk: Desk) -> None:
        recipe = recipe_of(body, has.store)
        for name in recipe.models:
            _ensure(has, name, desk)
        try:
            create_from_recipe(has.store, body.model, recipe, desk.status, desk.jobs)
        except InvalidModelFile as error:  # one that the client has left here
            raise InvalidRequest(error.message, field="files") from error

    return work


def _ensure(has: Services, name: str, desk: Desk) -> None:
    """Pull the base of a new model if it is not here and may be fetched."""
    try:
        has.store.get(local_name(name))
    except ModelNotFound:
        if has.settings.offline:
            raise
        report = reporting(desk.put)
        pull_model(has, ModelName.parse(name), report, desk.stop, insecure=False)


async def _events(work: Work, n_threads: int) -> AsyncGenerator[Reply, None]:
    """What ``work`` tells of itself. It is cancelled, and over, when this is closed."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Reply | None] = asyncio.Queue()

    def put(event: Reply) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, event)

    desk = Desk(put, Jobs(lambda *progress: put(_progress(*progress)), n_threads))
    running = loop.run_in_executor(_threads, work, desk)
    running.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (event := await queue.get()) is not None:
            yield event
        running.result()
    finally:
        desk.cancel()
        await asyncio.wait({running})


def _progress(status: str, completed: int, total: int) -> dict[str, Any]:
    # The digest of what is being made is not known yet; clients tell bars apart by it.
    return {
        "status": status,
        "digest": "0000000000000000000",
        "total": total,
        "completed": completed,
    }


async def _last(events: AsyncGenerator[Reply, None]) -> AsyncGenerator[Reply, None]:
    """Only that it is done."""
    async for _ in events:
        pass
    yield {"status": "success"}
