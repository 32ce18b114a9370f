"""Random histories: whatever happens, limits hold and nobody waits for ever."""

import random

import pytest

from cama.core.errors import CamaError, LoadFailed
from cama.core.priority import Priority
from tests.unit.scheduler.fakes import FakeRunner, settle, spec
from tests.unit.scheduler.world import Request, World

MODELS = [spec("a"), spec("b"), spec("c"), spec("d"), spec("a", n_ctx=512)]


class History:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.world = World(max_loaded_models=2, max_queue=6, keep_alive=20)
        self.requests: list[Request] = []

    async def step(self) -> None:
        act = self.random.choice([self.ask, self.ask, self.end, self.end, self.drop, self.trouble])
        await act()
        self.forget_the_done()
        await self.world.later(self.random.choice([0, 1, 10]))
        self.check()

    async def ask(self) -> None:
        keep_alive = self.random.choice([None, 0, 5])
        priority: Priority = self.random.choice(["interactive", "batch"])
        model = self.random.choice(MODELS)
        self.requests.append(await self.world.request(model, keep_alive, priority))

    async def end(self) -> None:
        served = [request for request in self.requests if request.is_served]
        if served:
            await self.random.choice(served).end()

    async def drop(self) -> None:
        if self.requests:
            self.random.choice(self.requests).task.cancel()
            await settle()

    async def trouble(self) -> None:
        starter = self.world.starter
        match self.random.randrange(4):
            case 0:
                toggle = starter.ready.clear if starter.ready.is_set() else starter.ready.set
                toggle()
            case 1:
                starter.error = None if starter.error else LoadFailed("no memory")
            case 2:
                if starter.started:
                    self.random.choice(starter.started).alive = False
            case 3:
                await self.world.scheduler.unload(self.random.choice(MODELS).key)

    def forget_the_done(self) -> None:
        for request in self.requests:
            if request.task.done() and not request.task.cancelled():
                assert isinstance(request.task.exception(), CamaError | None)
        self.requests = [request for request in self.requests if not request.task.done()]

    def check(self) -> None:
        scheduler, starter = self.world.scheduler, self.world.starter
        assert len(scheduler.loaded()) <= 2
        served = [request for request in self.requests if request.is_served]
        alive = {id(runner) for runner in starter.started if runner.alive}
        in_use = [request for request in served if id(request.runner) in alive]
        assert sum(model.active for model in scheduler.loaded()) == len(in_use)
        assert all(not _closed(request) for request in in_use)

    async def finish(self) -> None:
        """With all obstacles gone every request is served in the end."""
        self.world.starter.ready.set()
        self.world.starter.error = None
        await self.world.later(61)
        while self.requests:
            served = [request for request in self.requests if request.is_served]
            assert served, "a request waits for nothing"
            for request in served:
                await request.end()
            self.forget_the_done()
        await self.world.later(1e6)
        assert self.world.scheduler.idle
        assert self.world.starter.running == []


def _closed(request: Request) -> bool:
    assert isinstance(request.runner, FakeRunner)
    return request.runner.closed


@pytest.mark.parametrize("seed", range(40))
async def test_any_history_ends_well(seed: int) -> None:
    history = History(seed)
    for _ in range(60):
        await history.step()
    await history.finish()
