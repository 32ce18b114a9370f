"""A scheduler with everything around it under a test's control."""

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from cama.core.model import ModelSpec
from cama.core.priority import Priority
from cama.core.settings import Settings
from cama.runner.handle import Runner
from cama.scheduler.host import HostMemory
from cama.scheduler.scheduler import Scheduler
from tests.unit.scheduler.fakes import Clock, FakeStarter, settle


class World:
    def __init__(self, **settings: float) -> None:
        self.clock = Clock()
        self.starter = FakeStarter()
        self.taken = 0
        self.memory = HostMemory(total=2**40, available=2**40)
        values = {"keep_alive": 300.0, "max_loaded_models": 2, "max_queue": 100, **settings}
        self.scheduler = Scheduler(
            Settings(**values),  # type: ignore[arg-type]
            start=self.starter,
            clock=self.clock,
            memory=lambda: self.memory,
            measure=lambda pid: self.taken,
        )
        # The event loop itself holds tasks weakly: one that nobody else knows may vanish
        self._requests: list[Request] = []

    async def use(self, model: ModelSpec, keep_alive: float | None = None) -> Runner:
        """One request, from its lease to its end."""
        async with self.scheduler.lease(model, keep_alive) as runner:
            return runner

    async def request(
        self,
        model: ModelSpec,
        keep_alive: float | None = None,
        priority: Priority = "interactive",
    ) -> "Request":
        """A request that runs until it is ended."""
        request = Request(self.scheduler, model, keep_alive, priority)
        self._requests.append(request)
        await settle()
        return request

    async def later(self, seconds: float) -> None:
        self.clock.now += seconds
        self.scheduler.tick()
        await settle()

    async def close(self) -> None:
        await self.scheduler.close()
        tasks = [request.task for request in self._requests]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def names(self) -> list[str]:
        return [model.spec.name for model in self.scheduler.loaded()]


class Request:
    def __init__(
        self,
        scheduler: Scheduler,
        model: ModelSpec,
        keep_alive: float | None,
        priority: Priority,
    ) -> None:
        self.runner: Runner | None = None
        self._end = asyncio.Event()
        self.task = asyncio.create_task(self._run(scheduler.lease(model, keep_alive, priority)))

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

    async def _run(self, lease: AbstractAsyncContextManager[Runner]) -> None:
        async with lease as runner:
            self.runner = runner
            await self._end.wait()
