"""The policy of the scheduler: sharing, keeping, and the end."""

import asyncio
import logging
import math
from collections.abc import Callable

import pytest

from cama.core.errors import ServerUnavailable
from cama.core.model import ModelSpec
from cama.core.settings import Settings
from cama.scheduler.scheduler import Scheduler
from tests.unit.scheduler.fakes import FakeStarter, settle, spec
from tests.unit.scheduler.world import World

# Sharing


async def test_lease_loads_a_model_once(world: World) -> None:
    first = await world.use(spec("a"))
    assert await world.use(spec("a")) is first
    assert world.starter.attempts == ["a"]


async def test_names_of_one_file_share_a_runner(world: World) -> None:
    model = spec("a")
    alias = ModelSpec(name="alias", path=model.path, digest="x", weights_bytes=100)
    assert await world.use(model) is await world.use(alias)


async def test_requests_of_a_loading_model_share_its_load(world: World) -> None:
    world.starter.ready.clear()
    requests = [await world.request(spec("a")) for _ in range(3)]
    world.starter.ready.set()
    await settle()
    assert world.starter.attempts == ["a"]
    assert len({request.runner for request in requests}) == 1
    assert requests[0].is_served


async def test_one_who_leaves_does_not_stop_the_load_of_others(world: World) -> None:
    world.starter.ready.clear()
    first, second = await world.request(spec("a")), await world.request(spec("a"))
    await first.cancel()
    assert world.starter.cancelled == []
    world.starter.ready.set()
    await settle()
    assert second.is_served


async def test_a_load_that_nobody_awaits_is_cancelled(world: World) -> None:
    world.starter.ready.clear()
    requests = [await world.request(spec("a")) for _ in range(2)]
    for request in requests:
        await request.cancel()
    assert world.starter.cancelled == ["a"]
    assert world.scheduler.idle


async def test_a_request_after_a_cancelled_load_loads_anew(world: World) -> None:
    world.starter.ready.clear()
    request = await world.request(spec("a"))
    request.task.cancel()
    await asyncio.sleep(0)
    second = await world.request(spec("a"))
    world.starter.ready.set()
    await settle()
    assert second.is_served
    assert world.starter.attempts == ["a", "a"]


async def test_a_load_does_not_hold_up_loaded_models(world: World) -> None:
    await world.use(spec("a"))
    world.starter.ready.clear()
    slow = await world.request(spec("b"))
    assert (await world.request(spec("a"))).is_served
    assert not slow.is_served


async def test_two_models_load_at_the_same_time(world: World) -> None:
    world.starter.ready.clear()
    await world.request(spec("a"))
    await world.request(spec("b"))
    assert world.starter.attempts == ["a", "b"]


async def test_a_request_cancelled_when_it_is_granted_gives_its_lease_back(world: World) -> None:
    world.starter.ready.clear()
    request = await world.request(spec("a"))
    world.starter.ready.set()
    while not world.scheduler.loaded()[0].active:
        await asyncio.sleep(0)
    await request.cancel()
    assert world.scheduler.loaded()[0].active == 0


# Keeping


async def test_a_model_is_unloaded_when_its_time_is_over(world: World) -> None:
    await world.use(spec("a"))
    await world.later(299)
    assert world.names() == ["a"]
    await world.later(1)
    assert world.names() == []
    assert world.starter.running == []


async def test_the_time_counts_from_the_end_of_the_last_request(world: World) -> None:
    first, second = await world.request(spec("a")), await world.request(spec("a"))
    await world.later(1000)
    await first.end()
    await world.later(1000)
    await second.end()
    await world.later(299)
    assert world.names() == ["a"]
    await world.later(1)
    assert world.names() == []


async def test_a_request_starts_the_time_anew(world: World) -> None:
    await world.use(spec("a"))
    await world.later(200)
    await world.use(spec("a"))
    await world.later(200)
    assert world.names() == ["a"]


async def test_keep_alive_of_a_request_is_kept(world: World) -> None:
    await world.use(spec("a"), keep_alive=10)
    await world.use(spec("a"))
    assert world.scheduler.loaded()[0].expires_in == 10
    await world.use(spec("a"), keep_alive=20)
    assert world.scheduler.loaded()[0].expires_in == 20


@pytest.mark.parametrize("keep_alive", [0, -1])
async def test_no_keep_alive_unloads_after_the_request(world: World, keep_alive: float) -> None:
    request = await world.request(spec("a"), keep_alive)
    assert world.names() == ["a"]
    await request.end()
    assert world.starter.running == []


async def test_keep_alive_for_ever_never_unloads(world: World) -> None:
    await world.use(spec("a"), keep_alive=math.inf)
    await world.later(1e9)
    assert world.scheduler.loaded()[0].expires_in == math.inf


async def test_the_timer_unloads_by_itself() -> None:
    starter = FakeStarter()
    scheduler = Scheduler(Settings(keep_alive=0.01), start=starter)
    async with scheduler.lease(spec("a")):
        pass
    while not scheduler.idle:
        await asyncio.sleep(0.005)
    assert starter.started[0].closed


async def test_unload_ends_an_idle_model(world: World) -> None:
    await world.use(spec("a"), keep_alive=math.inf)
    await world.scheduler.unload(spec("a").key)
    assert world.starter.running == []
    assert world.scheduler.idle


async def test_unload_waits_for_the_last_request(world: World) -> None:
    request = await world.request(spec("a"))
    await world.scheduler.unload(spec("a").key)
    assert world.names() == ["a"]
    await request.end()
    assert world.scheduler.idle


async def test_the_log_says_why_a_model_is_unloaded(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cama.scheduler")
    await world.use(spec("asked"))
    await world.scheduler.unload(spec("asked").key)
    await world.use(spec("brief"), keep_alive=0)
    await settle()
    await world.use(spec("over"))
    await world.later(300)
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("unloading")]
    assert lines == [
        "unloading asked: keep_alive 0 asks for it",
        "unloading brief: keep_alive 0 asks for it",
        "unloading over: its time is over",
    ]


async def test_unload_of_a_model_that_is_not_loaded_does_nothing(world: World) -> None:
    await world.scheduler.unload(spec("a").key)
    assert world.scheduler.idle


async def test_loaded_tells_state_and_time(world: World) -> None:
    world.starter.ready.clear()
    request = await world.request(spec("a"))
    (model,) = world.scheduler.loaded()
    assert (model.info, model.active, model.expires_in) == (None, 0, 300)
    world.starter.ready.set()
    await settle()
    (model,) = world.scheduler.loaded()
    assert (model.info is not None, model.active, model.expires_in) == (True, 1, 300)
    await request.end()
    await world.later(100)
    (model,) = world.scheduler.loaded()
    assert (model.active, model.expires_in) == (0, 200)


# The end


async def test_close_ends_all_runners(world: World) -> None:
    await world.use(spec("a"))
    await world.request(spec("b"))
    await world.scheduler.close()
    assert world.starter.running == []
    assert world.scheduler.idle


async def test_close_refuses_who_waits_and_who_comes(build: Callable[..., World]) -> None:
    world = build(max_loaded_models=1)
    await world.request(spec("a"))
    waiting = await world.request(spec("b"))
    await world.scheduler.close()
    with pytest.raises(ServerUnavailable):
        await waiting.task
    with pytest.raises(ServerUnavailable):
        await world.use(spec("a"))


async def test_close_cancels_loads(world: World) -> None:
    world.starter.ready.clear()
    request = await world.request(spec("a"))
    await world.scheduler.close()
    assert world.starter.cancelled == ["a"]
    with pytest.raises(ServerUnavailable):
        await request.task
