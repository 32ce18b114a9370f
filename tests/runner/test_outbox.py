"""Events on their way from the engine thread to the event loop."""

import asyncio
import threading

from cama.core.errors import EngineError
from cama.core.generation import Chunk, Finish
from cama.runner.outbox import Item, Outbox, Stream

FINISH = Finish(
    reason="stop",
    prompt_tokens=1,
    cached_tokens=0,
    truncated_tokens=0,
    shifted_tokens=0,
    eval_tokens=1,
    prompt_seconds=0.0,
    eval_seconds=0.0,
)


def chunk(text: str) -> Chunk:
    return Chunk(text=text, n_tokens=1)


async def drain(stream: Stream) -> list[Item]:
    items: list[Item] = []
    while batch := await stream.take():
        items += batch
    return items


async def test_stream_gives_events_in_order_until_the_finish() -> None:
    stream = Outbox(asyncio.get_running_loop()).open()
    items: list[Item] = [chunk("a"), chunk("b"), FINISH]
    for item in items:
        stream.put(item)
    stream.put(chunk("late"))
    assert await drain(stream) == items
    assert stream.finished


async def test_stream_ends_with_an_error() -> None:
    stream = Outbox(asyncio.get_running_loop()).open()
    error = EngineError("no")
    stream.put(error)
    assert await drain(stream) == [error]


async def test_stream_gives_waiting_events_at_once() -> None:
    stream = Outbox(asyncio.get_running_loop()).open()
    stream.put(chunk("a"))
    stream.put(chunk("b"))
    assert await stream.take() == [chunk("a"), chunk("b")]


async def test_close_wakes_the_reader() -> None:
    stream = Outbox(asyncio.get_running_loop()).open()
    reader = asyncio.create_task(stream.take())
    await asyncio.sleep(0)
    stream.close()
    assert await reader == []
    assert not stream.finished


async def test_close_discards_what_comes_later() -> None:
    stream = Outbox(asyncio.get_running_loop()).open()
    stream.close()
    stream.put(chunk("a"))
    await asyncio.sleep(0)
    assert await stream.take() == []


async def test_outbox_loses_nothing_between_threads() -> None:
    outbox = Outbox(asyncio.get_running_loop())
    streams = [outbox.open() for _ in range(4)]
    expected: list[Item] = [*(chunk(str(n)) for n in range(2000)), FINISH]

    def produce() -> None:
        for item in expected:
            for stream in streams:
                stream.put(item)

    thread = threading.Thread(target=produce)
    thread.start()
    results = await asyncio.gather(*map(drain, streams))
    thread.join()
    assert results == [expected] * 4


async def test_outbox_wakes_the_loop_once_for_many_events() -> None:
    loop = CountingLoop()
    outbox = Outbox(loop)  # type: ignore[arg-type]
    stream = outbox.open()
    for _ in range(10):
        stream.put(chunk("a"))
    assert len(loop.calls) == 1


class CountingLoop:
    """Only what an outbox uses of a loop."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def call_soon_threadsafe(self, callback: object) -> None:
        self.calls.append(callback)
