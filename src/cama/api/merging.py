"""Several streams as one."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

_T = TypeVar("_T")

_MOST_AT_ONCE = 64
"""Streams that run at the same time; the others wait for one to end."""


@dataclass(frozen=True, slots=True)
class _Item(Generic[_T]):
    value: _T


@dataclass(frozen=True, slots=True)
class _Ended:
    error: Exception | None = None


async def merged(streams: Sequence[AsyncGenerator[_T, None]]) -> AsyncGenerator[_T, None]:
    """What comes from any of ``streams``, as it comes, and no faster than it is taken.

    Streams that have something at the same time take turns. The first error ends all of them.
    However it ends, they are closed.
    """
    found: asyncio.Queue[_Item[_T] | _Ended] = asyncio.Queue()
    places = asyncio.Semaphore(_MOST_AT_ONCE)
    # Bounds the queue; a bound of the queue's own would not let streams take turns.
    turn = asyncio.Semaphore(1)

    async def give(item: _Item[_T] | _Ended) -> None:
        await turn.acquire()
        found.put_nowait(item)

    async def drain(stream: AsyncGenerator[_T, None]) -> None:
        try:
            async with places, aclosing(stream):
                async for item in stream:
                    await give(_Item(item))
        except Exception as error:  # noqa: BLE001 - raised again where the items are taken
            await give(_Ended(error))
        else:
            await give(_Ended())

    tasks = [asyncio.create_task(drain(stream)) for stream in streams]
    n_running = len(tasks)
    try:
        while n_running:
            next_ = await found.get()
            turn.release()
            if isinstance(next_, _Item):
                yield next_.value
            elif next_.error is not None:
                raise next_.error
            else:
                n_running -= 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
