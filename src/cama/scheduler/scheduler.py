"""Which model runs in which process: leases, loads, evictions, expiry.

All decisions are made in :meth:`Scheduler.tick`, on the event loop and without awaiting: whoever
changes something (a lease asked for or given back, a load or an unload that ended, a moment that
came) changes it and calls ``tick``. So the table needs no lock, and has one owner.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

from cama.core.errors import NotEnoughMemory, QueueFull, RunnerError, ServerUnavailable
from cama.core.model import ModelSpec
from cama.core.priority import Ageing, Priority, in_turn
from cama.core.settings import Settings
from cama.core.size import gibibytes
from cama.runner.handle import Runner, start_runner
from cama.scheduler.failures import LoadFailures
from cama.scheduler.host import HostMemory, host_memory, resident_bytes
from cama.scheduler.placement import (
    Claims,
    Evict,
    Limits,
    Load,
    Refuse,
    Reload,
    Use,
    Wait,
    decide,
)  # fmt: skip
from cama.scheduler.table import LoadedModel, Row, Ticket

log = logging.getLogger(__name__)

_T = TypeVar("_T")

MAX_SLEEP_SECONDS = 3600.0
"""A timer never runs longer; far and infinite moments need no special case."""


class RunnerStarter(Protocol):
    """Starts a process and loads a model in it; when cancelled it leaves no process behind."""

    async def __call__(
        self, spec: ModelSpec, *, load_timeout: float, debug: bool = False
    ) -> Runner: ...


class Scheduler:
    """Owns all runners. Its methods belong to one event loop."""

    def __init__(
        self,
        settings: Settings,
        *,
        start: RunnerStarter = start_runner,
        clock: Callable[[], float] = time.monotonic,
        memory: Callable[[], HostMemory] = host_memory,
        measure: Callable[[int], int] = resident_bytes,
    ) -> None:
        """``memory`` tells what the machine has left, ``measure`` what a process takes."""
        self._settings = settings
        self._start = start
        self._clock = clock
        self._memory = memory
        self._measure = measure
        self._limits = Limits.of(settings.max_loaded_models)
        self._failures = LoadFailures(clock)
        self._rows: dict[str, Row] = {}
        self._queue: dict[Ticket, None] = {}  # in order of arrival
        self._ageing = Ageing()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @asynccontextmanager
    async def lease(
        self,
        spec: ModelSpec,
        keep_alive: float | None = None,
        priority: Priority = "interactive",
    ) -> AsyncIterator[Runner]:
        """Hold a runner of ``spec``, loaded on demand, for the length of the block.

        ``keep_alive`` replaces how long the model stays after its last lease; ``priority`` says who
        is served first when several wait. Raises QueueFull, ServerUnavailable while closing, and
        the errors of the load.
        """
        row = await self._acquire(spec, keep_alive, priority)
        assert row.runner is not None
        try:
            yield row.runner
        finally:
            self._release(row)

    async def unload(self, key: str) -> None:
        """Unload a model now, or when its last lease ends; returns then only in the first case."""
        row = self._rows.get(key)
        if row is None:
            return
        row.keep_alive = 0.0
        self.tick()
        if row.closing is not None:
            await asyncio.wait({row.closing})

    def loaded(self) -> list[LoadedModel]:
        """What takes a place now, in the order of loading."""
        now = self._clock()
        return [row.loaded_model(now) for row in self._rows.values() if not row.is_dead]

    @property
    def idle(self) -> bool:
        """Nothing is loaded and nobody waits."""
        return not self._queue and all(row.is_dead for row in self._rows.values())

    async def close(self) -> None:
        """Refuse who waits, end all runners; bounded by the time that runners take to end."""
        self._closed = True
        waiting = [*self._queue, *(t for row in self._rows.values() for t in row.tickets)]
        self._refuse(waiting, ServerUnavailable("the server is shutting down"))
        for row in tuple(self._rows.values()):
            self._abandon(row)
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._set_timer(None)

    def tick(self) -> None:
        """Do all that can be done now. Called by itself; a test that moves the clock calls it."""
        self._bury()
        if not self._closed:
            self._serve_queue()
            self._expire()
            moments = [row.expires_at for row in self._rows.values()]
            self._set_timer(min(*moments, self._ageing.due(self._queue), math.inf))

    # Requests

    async def _acquire(self, spec: ModelSpec, keep_alive: float | None, priority: Priority) -> Row:
        if self._closed:
            raise ServerUnavailable("the server is shutting down")
        granted: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        ticket = Ticket(spec, keep_alive, self._clock(), priority == "batch", granted)
        self._queue[ticket] = None
        self.tick()
        if not ticket.granted.done() and self._n_waiting > self._settings.max_queue:
            self._withdraw(ticket)
            raise QueueFull("server busy, please try again.  maximum pending requests exceeded")
        try:
            return await ticket.granted
        except asyncio.CancelledError:
            self._withdraw(ticket)
            raise

    @property
    def _n_waiting(self) -> int:
        """Requests in the queue's sense: not those that a load is made for, nor the very first."""
        loads = [row for row in self._rows.values() if row.tickets]
        n_tickets = len(self._queue) + sum(len(row.tickets) for row in loads)
        return n_tickets - max(1, len(loads))

    def _withdraw(self, ticket: Ticket) -> None:
        """The request is gone; whatever was reserved for it is free."""
        granted = ticket.granted
        if granted.done() and not granted.cancelled() and granted.exception() is None:
            self._release(granted.result())
            return
        self._queue.pop(ticket, None)
        row = self._rows.get(ticket.spec.key)
        if row is not None and ticket in row.tickets:
            del row.tickets[ticket]
            if not row.tickets:
                self._abandon(row)
        self.tick()

    def _grant(self, ticket: Ticket, row: Row) -> None:
        if ticket.granted.done():  # cancelled in this very moment
            return
        row.active += 1
        row.last_used = self._clock()
        if ticket.keep_alive is not None:
            row.keep_alive = ticket.keep_alive
        ticket.granted.set_result(row)

    def _release(self, row: Row) -> None:
        row.active -= 1
        row.last_used = self._clock()
        self.tick()

    def _refuse(self, tickets: Iterable[Ticket], error: Exception) -> None:
        for ticket in tickets:
            self._queue.pop(ticket, None)
            if not ticket.granted.done():
                # Each its own: a raised exception collects the traceback of its task.
                ticket.granted.set_exception(copy(error))

    # Decisions

    def _serve_queue(self) -> None:
        promised: set[str] = set()  # rows that an earlier request awaits to become idle
        waiting: dict[str, ModelSpec] = {}  # models that an earlier request awaits
        self._ageing.promote(self._queue, self._clock())
        memory: HostMemory | None = None
        for ticket in in_turn(self._queue):
            key = ticket.spec.key
            if key in waiting or self._is_refused(ticket):
                continue
            residents = [row.resident(leaving=k in promised) for k, row in self._rows.items()]
            limits = self._limits
            if key not in self._rows:  # else memory does not matter, and is not looked at
                memory = memory or self._memory()
                limits = replace(limits, memory=memory)
            match decide(residents, ticket.spec, limits, self._claims(waiting)):
                case Use(key):
                    self._join(ticket, self._rows[key])
                case Load():
                    self._load(ticket)
                case Evict(victim) | Reload(victim):
                    promised.add(victim)
                    waiting[key] = ticket.spec
                    self._close_if_idle(self._rows[victim], "another model needs its place")
                case Wait():
                    waiting[key] = ticket.spec
                case Refuse(needed, available):
                    self._refuse([ticket], _too_large(needed, available))

    def _claims(self, waiting: Mapping[str, ModelSpec]) -> Claims:
        """What is to become free for models that are awaited and have no row yet."""
        specs = [spec for key, spec in waiting.items() if key not in self._rows]
        return Claims(len(specs), sum(spec.memory_bytes for spec in specs))

    def _is_refused(self, ticket: Ticket) -> bool:
        if ticket.spec.key in self._rows:
            return False
        error = self._failures.refusal(ticket.spec)
        if error is not None:
            self._refuse([ticket], error)
        return error is not None

    def _join(self, ticket: Ticket, row: Row) -> None:
        del self._queue[ticket]
        if row.is_ready:
            self._grant(ticket, row)
        else:
            row.tickets[ticket] = None

    def _expire(self) -> None:
        now = self._clock()
        for row in tuple(self._rows.values()):
            if row.expires_at <= now:
                self._close_if_idle(row, row.reason_to_leave)

    def _bury(self) -> None:
        """Give up the places of processes that ended by themselves."""
        for key, row in tuple(self._rows.items()):
            if row.is_dead:
                log.warning("the runner of %s has died", row.spec.name)
                self._close(row)
                del self._rows[key]

    # Processes

    def _load(self, ticket: Ticket) -> None:
        spec = ticket.spec
        row = Row(spec, self._settings.keep_alive, self._clock())
        row.loading = asyncio.create_task(self._started(spec), name=f"load {spec.name}")
        self._watch(row.loading, partial(self._loaded, row))
        self._rows[spec.key] = row
        self._join(ticket, row)

    async def _started(self, spec: ModelSpec) -> Runner:
        return await self._start(
            spec, load_timeout=self._settings.load_timeout, debug=self._settings.debug
        )

    def _loaded(self, row: Row, task: asyncio.Task[Runner]) -> None:
        tickets, row.tickets = row.tickets, {}
        row.loading = None
        error = None if task.cancelled() else task.exception()
        if error is None and not task.cancelled():
            self._admit(row, task.result(), tickets)
        else:
            del self._rows[row.spec.key]
        if isinstance(error, Exception):
            self._fail(row.spec, error, tickets)
        self.tick()

    def _admit(self, row: Row, runner: Runner, tickets: Iterable[Ticket]) -> None:
        log.info("loaded %s in process %d", row.spec.name, runner.pid)
        _compare(row.spec, runner.info.rss_bytes)
        self._failures.forget(row.spec)
        row.runner = runner
        row.last_used = self._clock()
        if row.abandoned:  # in the very moment when it became ready
            self._close(row)
            return
        for ticket in tickets:
            self._grant(ticket, row)

    def _fail(self, spec: ModelSpec, error: Exception, tickets: Iterable[Ticket]) -> None:
        log.error("cannot load %s: %s", spec.name, error)
        if isinstance(error, RunnerError):
            self._failures.add(spec, error)
        self._refuse(tickets, error)

    def _abandon(self, row: Row) -> None:
        """Nobody wants this row any more, whatever state it is in."""
        row.abandoned = True
        if row.loading is not None:
            row.loading.cancel()
        elif row.closing is None:
            self._close(row)

    def _close_if_idle(self, row: Row, reason: str) -> None:
        if row.is_idle:
            log.info("unloading %s: %s", row.spec.name, reason)
            self._close(row)

    def _close(self, row: Row) -> None:
        assert row.runner is not None
        _compare(row.spec, self._measure(row.runner.pid))
        row.closing = asyncio.create_task(row.runner.close(), name=f"unload {row.spec.name}")
        self._watch(row.closing, partial(self._unloaded, row))

    def _unloaded(self, row: Row, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("cannot end the runner of %s: %s", row.spec.name, error)
        if self._rows.get(row.spec.key) is row:
            del self._rows[row.spec.key]
        self.tick()

    def _watch(self, task: "asyncio.Task[_T]", then: "Callable[[asyncio.Task[_T]], None]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(then)

    def _set_timer(self, deadline: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline is not None and deadline < math.inf:
            delay = min(max(deadline - self._clock(), 0.0), MAX_SLEEP_SECONDS)
            self._timer = asyncio.get_running_loop().call_later(delay, self.tick)


def _compare(spec: ModelSpec, taken: int) -> None:
    """Log what a runner took of what was planned: weights that nobody used are not in memory."""
    if not spec.memory_bytes or not taken:
        return
    level = logging.WARNING if taken > spec.memory_bytes else logging.INFO
    parts = gibibytes(taken), gibibytes(spec.memory_bytes)
    log.log(level, "%s has %s in memory, %s were planned", spec.name, *parts)


def _too_large(needed: int, available: int) -> NotEnoughMemory:
    return NotEnoughMemory(
        f"model requires more system memory ({gibibytes(needed)}) "
        f"than is available ({gibibytes(available)})",
        needed=needed,
        available=available,
    )
