"""The policy of the scheduler: who waits for what, and who makes room."""

import asyncio
from collections.abc import Callable

import pytest

from cama.core.errors import QueueFull
from cama.core.priority import PATIENCE_SECONDS
from tests.unit.scheduler.fakes import settle, spec
from tests.unit.scheduler.world import World

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


async def test_the_queue_has_a_bound(build: Callable[..., World]) -> None:
    world = build(max_loaded_models=1, max_queue=2)
    running = await world.request(spec("a"))
    waiting = [await world.request(spec("b")) for _ in range(3)]
    with pytest.raises(QueueFull, match="server busy, please try again"):
        await world.use(spec("b"))
    assert (await world.request(spec("a"))).task.exception() is not None
    await running.end()
    assert all(request.is_served for request in waiting)


async def test_the_bound_does_not_count_requests_that_are_served(
    build: Callable[..., World],
) -> None:
    world = build(max_queue=0)
    requests = [await world.request(spec("a")) for _ in range(5)]
    assert all(request.is_served for request in requests)


# Priorities


async def test_an_interactive_request_gets_the_place_before_a_batch_one(world: World) -> None:
    running = [await world.request(spec("a")), await world.request(spec("b"))]
    batch = await world.request(spec("c"), priority="batch")
    watched = await world.request(spec("d"))
    await running[0].end()
    assert (batch.is_served, watched.is_served) == (False, True)
    await running[1].end()
    assert batch.is_served


async def test_an_interactive_request_does_not_end_a_batch_one_that_runs(world: World) -> None:
    batch = [await world.request(spec(name), priority="batch") for name in "ab"]
    watched = await world.request(spec("c"))
    assert not watched.is_served
    await batch[0].end()
    assert watched.is_served


async def test_a_batch_request_for_a_loaded_model_is_served_at_once(world: World) -> None:
    await world.use(spec("a"))
    assert (await world.request(spec("a"), priority="batch")).is_served


async def test_a_batch_request_ages(world: World) -> None:
    running = [await world.request(spec("a")), await world.request(spec("b"))]
    batch = await world.request(spec("c"), priority="batch")
    await world.later(PATIENCE_SECONDS - 1)
    early = await world.request(spec("d"))
    await world.later(2)
    late = await world.request(spec("e"))
    await running[0].end()
    assert (batch.is_served, early.is_served, late.is_served) == (True, False, False)
    await running[1].end()
    assert (early.is_served, late.is_served) == (True, False)


async def test_a_batch_request_ages_while_nothing_else_happens(world: World) -> None:
    """The moment in which it does is one for the timer."""
    await world.request(spec("a"))
    await world.request(spec("b"), keep_alive=-1)
    await world.request(spec("c"), priority="batch")
    timer = world.scheduler._timer
    assert timer is not None
    assert timer.when() - asyncio.get_running_loop().time() <= PATIENCE_SECONDS
