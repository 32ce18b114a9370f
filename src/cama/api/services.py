"""What the handlers work with, and the part of the scheduler that they see."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

from starlette.requests import Request

from cama.api.gate import ANYBODY, caller
from cama.api.responses import Responses
from cama.core.keys import ApiKey
from cama.core.model import ModelSpec
from cama.core.priority import Priority
from cama.core.settings import Settings
from cama.runner.handle import Runner
from cama.runner.protocol import RunnerInfo
from cama.scheduler.host import HostMemory, host_memory
from cama.store.store import Store

_TRANSFERS = 16
"""Pulls and pushes that run at the same time; others wait for their turn."""


class Loaded(Protocol):
    """A model that has a runner or is getting one; ``info`` is None meanwhile."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def info(self) -> RunnerInfo | None: ...

    @property
    def expires_in(self) -> float: ...


class Scheduler(Protocol):
    def lease(
        self,
        spec: ModelSpec,
        keep_alive: float | None = None,
        priority: Priority = "interactive",
    ) -> AbstractAsyncContextManager[Runner]: ...

    async def unload(self, key: str) -> None: ...

    def loaded(self) -> Sequence[Loaded]: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Services:
    """``stopping`` is set when answers that still run must end; ``caller`` is who asks.

    ``responses`` are those of OpenAI's API that a later request may name; ``memory`` tells what is
    free. ``transfers`` are places for pulls and pushes.
    """

    settings: Settings
    store: Store
    scheduler: Scheduler
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    caller: ApiKey = ANYBODY
    responses: Responses = field(default_factory=Responses)
    memory: Callable[[], HostMemory] = host_memory
    transfers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_TRANSFERS))

    def priority(self, asked: Priority) -> Priority:
        """That of a request: it can have no more than its caller."""
        return "batch" if self.caller.priority == "batch" else asked


def services(request: Request) -> Services:
    """What the handler of ``request`` works with."""
    found: Services = request.app.state.services
    return replace(found, caller=caller(request))
