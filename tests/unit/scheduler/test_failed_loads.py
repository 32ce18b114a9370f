"""The policy of the scheduler when a load or a runner fails."""

from collections.abc import Callable

import pytest

from cama.core.errors import InvalidModelFile, LoadFailed
from tests.unit.scheduler.fakes import settle, spec
from tests.unit.scheduler.world import World

# Failures


async def test_a_failed_load_fails_all_who_wait_for_it(world: World) -> None:
    world.starter.ready.clear()
    world.starter.error = LoadFailed("no memory")
    requests = [await world.request(spec("a")) for _ in range(2)]
    world.starter.ready.set()
    await settle()
    errors = [request.task.exception() for request in requests]
    assert [str(error) for error in errors] == ["no memory"] * 2
    assert errors[0] is not errors[1]
    assert world.scheduler.idle


async def test_a_failed_load_is_tried_again_by_the_next_request(world: World) -> None:
    world.starter.error = LoadFailed("no memory")
    with pytest.raises(LoadFailed):
        await world.use(spec("a"))
    world.starter.error = None
    await world.use(spec("a"))
    assert world.starter.attempts == ["a", "a"]


async def test_a_load_that_fails_three_times_is_not_tried_for_a_while(world: World) -> None:
    world.starter.error = LoadFailed("no memory")
    for _ in range(5):
        with pytest.raises(LoadFailed, match="no memory"):
            await world.use(spec("a"))
    assert len(world.starter.attempts) == 3
    await world.later(61)
    world.starter.error = None
    await world.use(spec("a"))


async def test_a_bad_file_is_looked_at_each_time(world: World) -> None:
    world.starter.error = InvalidModelFile("damaged")
    for _ in range(5):
        with pytest.raises(InvalidModelFile):
            await world.use(spec("a"))
    assert len(world.starter.attempts) == 5


async def test_a_model_that_is_refused_evicts_nothing(build: Callable[..., World]) -> None:
    world = build(max_loaded_models=1)
    world.starter.error = LoadFailed("no memory")
    for _ in range(3):
        with pytest.raises(LoadFailed):
            await world.use(spec("a"))
    world.starter.error = None
    await world.use(spec("b"))
    with pytest.raises(LoadFailed):
        await world.use(spec("a"))
    assert world.starter.running == ["b"]


async def test_an_unforeseen_error_of_a_start_reaches_the_request(world: World) -> None:
    world.starter.error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        await world.use(spec("a"))
    assert world.scheduler.idle


async def test_a_dead_runner_is_replaced(world: World) -> None:
    first = await world.use(spec("a"))
    world.starter.started[0].alive = False
    assert world.scheduler.loaded() == []
    assert world.scheduler.idle
    assert await world.use(spec("a")) is not first
    await settle()
    assert world.starter.started[0].closed


async def test_requests_of_a_dead_runner_end_without_harm(world: World) -> None:
    old = await world.request(spec("a"))
    world.starter.started[0].alive = False
    new = await world.request(spec("a"))
    await old.end()
    assert new.is_served
    assert world.scheduler.loaded()[0].active == 1


async def test_a_dead_runner_gives_its_place_to_who_waits(build: Callable[..., World]) -> None:
    world = build(max_loaded_models=1)
    first = await world.request(spec("a"))
    second = await world.request(spec("b"))
    world.starter.started[0].alive = False
    await first.end()
    assert second.is_served
