"""The policy of the scheduler: sharing, keeping, evicting, waiting, failing."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from cama.core.errors import InvalidModelFile, LoadFailed, QueueFull, ServerUnavailable
from cama.core.model import ModelSpec
from cama.core.settings import Settings
from cama.runner.handle import Runner
from cama.scheduler.scheduler import Scheduler
from tests.unit.scheduler.fakes import Clock, FakeStarter, settle, spec


class World:
    """A scheduler with everything around it under the test's control."""

    def __init__(self, **settings: float) -> None:
        self.clock = Clock()
        self.starter = FakeStarter()
        values = {"keep_alive": 300.0, "max_loaded_models": 2, "max_queue": 100, **settings}
        self.scheduler = Scheduler(
            Settings(**values),  # type: ignore[arg-type]
            start=self.starter,
            clock=self.clock,
        )

    async def use(self, model: ModelSpec, keep_alive: float | None = None) -> Runner:
        """One request, from its lease to its end."""
        async with self.scheduler.lease(model, keep_alive) as runner:
            return runner

    async def request(self, model: ModelSpec, keep_alive: float | None = None) -> "Request":
        """A request that runs until it is ended."""
        request = Request(self.scheduler, model, keep_alive)
        await settle()
        return request

    async def later(self, seconds: float) -> None:
        self.clock.now += seconds
        self.scheduler.tick()
        await settle()

    def names(self) -> list[str]:
        return [model.spec.name for model in self.scheduler.loaded()]


class Request:
    def __init__(self, scheduler: Scheduler, model: ModelSpec, keep_alive: float | None) -> None:
        self.runner: Runner | None = None
        self._end = asyncio.Event()
        self.task = asyncio.create_task(self._run(scheduler, model, keep_alive))

    @property
    def is_served(self) -> bool:
        return self.runner is not None

    async def end(self) -> None:
        self._end.set()
        await self.task
        await settle()

    async def cancel(self) -> None:
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task
        await settle()

    async def _run(self, scheduler: Scheduler, model: ModelSpec, keep_alive: float | None) -> None:
        async with scheduler.lease(model, keep_alive) as runner:
            self.runner = runner
            await self._end.wait()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        world = World()
        stack.push_async_callback(world.scheduler.close)
        yield world


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


# Options


async def test_other_options_reload_an_idle_model(world: World) -> None:
    first = await world.use(spec("a"))
    second = await world.use(spec("a", n_ctx=1024))
    assert second is not first
    assert world.starter.running == ["a"]
    assert second.info.n_ctx == 1024


async def test_other_options_wait_for_a_busy_model(world: World) -> None:
    first = await world.request(spec("a"))
    second = await world.request(spec("a", n_ctx=1024))
    third = await world.request(spec("a"))
    assert (second.is_served, third.is_served) == (False, False)
    await first.end()
    assert second.is_served
    assert not third.is_served
    await second.end()
    assert third.is_served


async def test_other_options_wait_for_a_load(world: World) -> None:
    world.starter.ready.clear()
    first = await world.request(spec("a"))
    second = await world.request(spec("a", n_ctx=1024))
    world.starter.ready.set()
    await settle()
    assert (first.is_served, second.is_served) == (True, False)
    await first.end()
    assert second.is_served


# Eviction and waiting


async def test_the_least_recently_used_model_makes_room(world: World) -> None:
    for name in ("a", "b", "a"):
        await world.use(spec(name))
        await world.later(1)
    await world.use(spec("c"))
    assert sorted(world.starter.running) == ["a", "c"]


async def test_a_busy_model_is_not_evicted(world: World) -> None:
    await world.request(spec("a"))
    await world.later(1)
    await world.use(spec("b"))
    await world.use(spec("c"))
    assert sorted(world.starter.running) == ["a", "c"]


async def test_a_load_starts_after_the_evicted_process_is_gone(world: World) -> None:
    await world.use(spec("a"))
    await world.use(spec("b"))
    world.starter.started[0].closable.clear()
    request = await world.request(spec("c"))
    assert world.starter.attempts == ["a", "b"]
    world.starter.started[0].closable.set()
    await settle()
    assert request.is_served


async def test_a_request_waits_while_all_models_are_busy(world: World) -> None:
    first, _ = await world.request(spec("a")), await world.request(spec("b"))
    third = await world.request(spec("c"))
    assert not third.is_served
    await first.end()
    assert third.is_served


async def test_the_first_model_that_becomes_idle_makes_room(world: World) -> None:
    await world.request(spec("a"))
    await world.later(1)
    second = await world.request(spec("b"))
    third = await world.request(spec("c"))
    await second.end()
    assert third.is_served
    assert sorted(world.starter.running) == ["a", "c"]


async def test_a_stream_of_requests_does_not_starve_another_model(world: World) -> None:
    busy = await world.request(spec("a"))
    await world.later(1)
    await world.request(spec("b"))
    other = await world.request(spec("c"))
    late = await world.request(spec("a"))
    assert not late.is_served
    await busy.end()
    assert other.is_served


async def test_a_model_takes_requests_again_when_the_one_who_awaits_its_end_leaves(
    world: World,
) -> None:
    await world.request(spec("a"))
    await world.later(1)
    await world.request(spec("b"))
    other = await world.request(spec("c"))
    late = await world.request(spec("a"))
    await other.cancel()
    assert late.is_served
    assert world.starter.attempts == ["a", "b"]


async def test_models_that_wait_get_places_in_order_of_arrival(world: World) -> None:
    running = [await world.request(spec("a")), await world.request(spec("b"))]
    waiting = [await world.request(spec(name)) for name in ("c", "d")]
    await running[1].end()
    assert [request.is_served for request in waiting] == [True, False]
    await running[0].end()
    assert [request.is_served for request in waiting] == [True, True]


async def test_the_queue_has_a_bound() -> None:
    world = World(max_loaded_models=1, max_queue=2)
    running = await world.request(spec("a"))
    waiting = [await world.request(spec("b")) for _ in range(3)]
    with pytest.raises(QueueFull, match="server busy, please try again"):
        await world.use(spec("b"))
    assert (await world.request(spec("a"))).task.exception() is not None
    await running.end()
    assert all(request.is_served for request in waiting)
    await world.scheduler.close()


async def test_the_bound_does_not_count_requests_that_are_served() -> None:
    world = World(max_queue=0)
    requests = [await world.request(spec("a")) for _ in range(5)]
    assert all(request.is_served for request in requests)
    await world.scheduler.close()


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


async def test_a_model_that_is_refused_evicts_nothing() -> None:
    world = World(max_loaded_models=1)
    world.starter.error = LoadFailed("no memory")
    for _ in range(3):
        with pytest.raises(LoadFailed):
            await world.use(spec("a"))
    world.starter.error = None
    await world.use(spec("b"))
    with pytest.raises(LoadFailed):
        await world.use(spec("a"))
    assert world.starter.running == ["b"]
    await world.scheduler.close()


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


async def test_a_dead_runner_gives_its_place_to_who_waits() -> None:
    world = World(max_loaded_models=1)
    first = await world.request(spec("a"))
    second = await world.request(spec("b"))
    world.starter.started[0].alive = False
    await first.end()
    assert second.is_served
    await world.scheduler.close()


# The end


async def test_close_ends_all_runners(world: World) -> None:
    await world.use(spec("a"))
    await world.request(spec("b"))
    await world.scheduler.close()
    assert world.starter.running == []
    assert world.scheduler.idle


async def test_close_refuses_who_waits_and_who_comes() -> None:
    world = World(max_loaded_models=1)
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
