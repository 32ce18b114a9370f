"""Several streams as one."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from cama.api.merging import merged


class Streams:
    """Counts what was begun and closed."""

    def __init__(self) -> None:
        self.n_open = 0
        self.most_open = 0
        self.n_made = 0

    async def count(self, name: str, n: int) -> AsyncGenerator[str, None]:
        self.n_open += 1
        self.most_open = max(self.most_open, self.n_open)
        try:
            for i in range(n):
                await asyncio.sleep(0)
                self.n_made += 1
                yield f"{name}{i}"
        finally:
            self.n_open -= 1

    async def fail(self) -> AsyncGenerator[str, None]:
        yield "x"
        raise ZeroDivisionError


async def test_each_stream_keeps_its_order() -> None:
    streams = Streams()
    found = [item async for item in merged([streams.count(name, 5) for name in "abc"])]
    for name in "abc":
        assert [item for item in found if item[0] == name] == [f"{name}{i}" for i in range(5)]
    assert found != sorted(found)
    assert streams.n_open == 0


async def test_streams_run_no_faster_than_they_are_taken() -> None:
    streams = Streams()
    async with aclosing(merged([streams.count(name, 1000) for name in "ab"])) as items:
        await anext(items)
        for _ in range(100):
            await asyncio.sleep(0)
        assert streams.n_made < 10
    assert streams.n_open == 0


async def test_not_all_of_many_run_at_once() -> None:
    streams = Streams()
    found = [item async for item in merged([streams.count("a", 1) for _ in range(200)])]
    assert len(found) == 200
    assert 10 < streams.most_open <= 64


async def test_the_first_error_ends_all() -> None:
    streams = Streams()
    with pytest.raises(ZeroDivisionError):
        async for _ in merged([streams.count("a", 10**9), streams.fail()]):
            pass
    assert streams.n_open == 0
