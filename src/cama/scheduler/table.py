"""The rows of the scheduler's table, and the requests that wait for one."""

import asyncio
import math
from dataclasses import dataclass, field

from cama.core.model import ModelSpec
from cama.runner.handle import Runner
from cama.runner.protocol import RunnerInfo
from cama.scheduler.placement import Resident


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model as ``ps`` shows it; ``info`` is None while it loads.

    ``expires_in``: seconds until it is unloaded, counted as if its requests ended now.
    """

    spec: ModelSpec
    info: RunnerInfo | None
    expires_in: float
    active: int


@dataclass(eq=False, slots=True)
class Ticket:
    """A request on its way to a row. It is in the queue, or in the row whose load it awaits.

    ``arrived`` is when it came; ``is_batch``: others go first.
    """

    spec: ModelSpec
    keep_alive: float | None
    arrived: float
    is_batch: bool
    granted: "asyncio.Future[Row]"


@dataclass(eq=False, slots=True)
class Row:
    """One model's place. Exactly one of loading, ready and closing.

    ``tickets`` await the load, in order of arrival. ``keep_alive`` is in seconds from
    ``last_used``, the moment of the last change of ``active``. ``abandoned``: nobody wants it.
    """

    spec: ModelSpec
    keep_alive: float
    last_used: float
    loading: "asyncio.Task[Runner] | None" = None
    runner: Runner | None = None
    closing: "asyncio.Task[None] | None" = None
    tickets: dict[Ticket, None] = field(default_factory=dict)
    active: int = 0
    abandoned: bool = False

    @property
    def is_ready(self) -> bool:
        return self.runner is not None and self.closing is None

    @property
    def is_idle(self) -> bool:
        return self.is_ready and not self.active

    @property
    def is_dead(self) -> bool:
        """Whether the process ended by itself."""
        return self.runner is not None and self.closing is None and not self.runner.alive

    @property
    def is_leaving(self) -> bool:
        return self.abandoned or self.closing is not None

    @property
    def expires_at(self) -> float:
        """When an idle row is unloaded; infinite for others."""
        return self.last_used + max(self.keep_alive, 0.0) if self.is_idle else math.inf

    @property
    def reason_to_leave(self) -> str:
        """Why a row that expired is unloaded."""
        return "its time is over" if self.keep_alive > 0 else "keep_alive 0 asks for it"

    def resident(self, *, leaving: bool) -> Resident:
        return Resident(
            spec=self.spec,
            info=self.runner.info if self.runner else None,
            active=self.active,
            last_used=self.last_used,
            leaving=leaving or self.is_leaving,
        )

    def loaded_model(self, now: float) -> LoadedModel:
        keep_alive = max(self.keep_alive, 0.0)
        remaining = self.expires_at - now if self.is_idle else keep_alive
        return LoadedModel(
            spec=self.spec,
            info=self.runner.info if self.runner else None,
            expires_in=0.0 if self.is_leaving else max(remaining, 0.0),
            active=self.active,
        )
