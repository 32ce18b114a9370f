"""Memory decides who may stay, beside the number of places."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from cama.core.errors import NotEnoughMemory
from cama.core.model import ModelSpec
from cama.scheduler.host import HostMemory
from tests.unit.scheduler.fakes import settle, spec
from tests.unit.scheduler.world import World

GIB = 2**30


def sized(name: str, gibibytes: float) -> ModelSpec:
    return replace(spec(name), memory_bytes=int(gibibytes * GIB))


@pytest.fixture
async def small(build: Callable[..., World]) -> World:
    """A machine of 8 GiB with many places."""
    world = build(max_loaded_models=9)
    world.memory = HostMemory(total=8 * GIB, available=8 * GIB)
    return world


async def test_memory_makes_idle_models_leave_before_places_do(small: World) -> None:
    for name in ("a", "b", "c"):
        await small.use(sized(name, 3))
        small.clock.now += 1
    await settle()
    assert small.names() == ["b", "c"]


async def test_memory_lets_small_models_stay_together(small: World) -> None:
    for name in "abcdefgh":
        await small.use(sized(name, 1))
    assert len(small.names()) == 8


async def test_memory_waits_for_a_busy_model(small: World) -> None:
    busy = await small.request(sized("a", 5))
    waiting = await small.request(sized("b", 5))
    assert busy.is_served
    assert not waiting.is_served
    await busy.end()
    assert waiting.is_served
    assert small.names() == ["b"]
    await waiting.end()


async def test_memory_refuses_a_model_that_never_fits(small: World) -> None:
    await small.use(sized("a", 1))
    with pytest.raises(NotEnoughMemory) as caught:
        await small.use(sized("b", 9.5))
    assert caught.value.message == (
        "model requires more system memory (9.5 GiB) than is available (8.0 GiB)"
    )
    assert small.names() == ["a"], "nothing was unloaded for it"
    assert small.starter.attempts == ["a"]


async def test_memory_refuses_when_others_took_it(small: World) -> None:
    small.memory = HostMemory(total=8 * GIB, available=2 * GIB)
    with pytest.raises(NotEnoughMemory, match=r"\(3.0 GiB\) than is available \(2.0 GiB\)"):
        await small.use(sized("a", 3))


async def test_memory_of_an_earlier_request_is_not_taken_by_a_later_one(small: World) -> None:
    busy = await small.request(sized("a", 5))
    large = await small.request(sized("b", 6))
    later = await small.request(sized("c", 3))
    assert not later.is_served
    await busy.end()
    assert large.is_served
    await large.end()
    await later.end()
    assert small.starter.attempts == ["a", "b", "c"]


async def test_memory_of_crowds_never_exceeds_the_machine(small: World) -> None:
    async def one(number: int) -> None:
        async with small.scheduler.lease(sized(f"m{number % 7}", 1 + number % 5)):
            taken = sum(row.spec.memory_bytes for row in small.scheduler.loaded())
            assert taken <= 8 * GIB
            await asyncio.sleep(0)

    await asyncio.gather(*(one(number) for number in range(60)))


async def test_memory_is_not_looked_at_for_a_model_that_is_loaded(small: World) -> None:
    await small.use(sized("a", 1))
    small.memory = HostMemory(total=0, available=0)
    await small.use(sized("a", 1))
    assert small.names() == ["a"]


@pytest.mark.parametrize(("taken", "level"), [(1, "INFO"), (3, "WARNING")])
async def test_memory_that_was_taken_is_compared_with_the_plan(
    small: World, caplog: pytest.LogCaptureFixture, taken: int, level: str
) -> None:
    await small.use(sized("a", 2))
    small.taken = taken * GIB
    with caplog.at_level("INFO"):
        await small.scheduler.unload(sized("a", 2).key)
    found = [r for r in caplog.records if "were planned" in r.message]
    assert [(r.levelname, r.message) for r in found] == [
        (level, f"a has {taken}.0 GiB in memory, 2.0 GiB were planned")
    ]
