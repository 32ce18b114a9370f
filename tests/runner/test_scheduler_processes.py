"""The scheduler over real runner processes."""

import os
import signal
from collections.abc import AsyncIterator, Callable

import pytest

from cama.core.errors import LoadFailed, RunnerCrashed
from cama.core.generation import Generation
from cama.core.model import ModelSpec
from cama.core.settings import Settings
from cama.runner.handle import Runner, start_runner
from cama.scheduler.scheduler import Scheduler
from tests.runner.conftest import FAKE_CHILD, process_exists

pytestmark = pytest.mark.e2e

MakeSpec = Callable[..., ModelSpec]


async def start_fake_runner(spec: ModelSpec, *, load_timeout: float, debug: bool = False) -> Runner:
    return await start_runner(spec, load_timeout=load_timeout, debug=debug, command=FAKE_CHILD)


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(Settings(max_loaded_models=1), start=start_fake_runner)
    yield scheduler
    await scheduler.close()


async def test_a_killed_runner_is_replaced_by_the_next_lease(
    scheduler: Scheduler, make_spec: MakeSpec
) -> None:
    async with scheduler.lease(make_spec()) as runner:
        first = runner.pid
        events = runner.generate(Generation(prompt="go on"))
        await anext(events)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(RunnerCrashed):
            [_ async for _ in events]
    async with scheduler.lease(make_spec()) as runner:
        assert runner.pid != first
        assert await runner.tokenize("hi") == [104, 105]


async def test_a_killed_idle_runner_is_replaced_and_not_shown(
    scheduler: Scheduler, make_spec: MakeSpec
) -> None:
    async with scheduler.lease(make_spec()) as runner:
        pass
    os.kill(runner.pid, signal.SIGKILL)
    with pytest.raises(RunnerCrashed):
        await runner.tokenize("hi")
    assert scheduler.loaded() == []
    async with scheduler.lease(make_spec()) as replacement:
        assert await replacement.tokenize("hi") == [104, 105]


async def test_an_evicted_process_is_gone_before_the_next_starts(
    scheduler: Scheduler, make_spec: MakeSpec
) -> None:
    async with scheduler.lease(make_spec()) as runner:
        first = runner.pid
    async with scheduler.lease(make_spec("steps")):
        assert not process_exists(first)


async def test_a_model_that_crashes_while_loading_is_not_started_for_ever(
    scheduler: Scheduler, make_spec: MakeSpec
) -> None:
    spec = make_spec("exit")
    for _ in range(3):
        with pytest.raises(LoadFailed, match="exit status 7"):
            async with scheduler.lease(spec):
                pass
    spec.path.unlink()  # what would start now would fail with another error
    with pytest.raises(LoadFailed, match="exit status 7"):
        async with scheduler.lease(spec):
            pass


async def test_close_ends_the_processes(scheduler: Scheduler, make_spec: MakeSpec) -> None:
    async with scheduler.lease(make_spec()) as runner:
        pass
    await scheduler.close()
    assert not process_exists(runner.pid)
