"""A runner whose engine hangs is ended, whatever it hangs in; one that works or waits is not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from cama.core.errors import RunnerCrashed
from cama.core.generation import Finish, Generation
from cama.core.model import ModelSpec
from cama.core.settings import Settings
from cama.runner.handle import Runner, start_runner
from cama.scheduler.scheduler import Scheduler
from tests.runner.conftest import FAKE_CHILD, StartFake, process_exists

pytestmark = pytest.mark.e2e

TIMEOUT = 0.6


async def ask(runner: Runner, prompt: str, num_predict: int = 3) -> Finish:
    *_, last = [
        e async for e in runner.generate(Generation(prompt=prompt, num_predict=num_predict))
    ]
    assert isinstance(last, Finish)
    return last


@pytest.mark.parametrize(
    ("prompt", "reason"), [("!hang", "no progress for 0.6 seconds"), ("!hold", "Timeout")]
)
async def test_runner_that_hangs_is_ended(start_fake: StartFake, prompt: str, reason: str) -> None:
    runner = await start_fake(stall_timeout=TIMEOUT)
    asked = [ask(runner, "hello there", num_predict=100_000), ask(runner, prompt)]
    for end in await asyncio.gather(*asked, return_exceptions=True):
        assert isinstance(end, RunnerCrashed)
        assert reason in end.message
    assert not runner.alive
    assert not process_exists(runner.pid)


async def test_runner_that_works_or_waits_is_left_alone(start_fake: StartFake) -> None:
    runner = await start_fake(stall_timeout=TIMEOUT)
    await asyncio.sleep(2 * TIMEOUT)
    finish = await ask(runner, "long", num_predict=1000)
    assert finish.prompt_seconds + finish.eval_seconds > 2 * TIMEOUT
    await asyncio.sleep(2 * TIMEOUT)
    assert (await ask(runner, "hello")).eval_tokens == 3


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    start = partial(start_runner, command=FAKE_CHILD, stall_timeout=TIMEOUT)
    scheduler = Scheduler(Settings(max_loaded_models=1), start=start)
    yield scheduler
    await scheduler.close()


async def test_runner_that_hung_is_replaced_by_the_next_lease(
    scheduler: Scheduler, make_spec: Callable[..., ModelSpec]
) -> None:
    async with scheduler.lease(make_spec()) as runner:
        with pytest.raises(RunnerCrashed):
            await ask(runner, "!hang")
    async with scheduler.lease(make_spec()) as replacement:
        assert replacement.pid != runner.pid
        assert (await ask(replacement, "hello")).eval_tokens == 3
