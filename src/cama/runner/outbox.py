"""The way from the engine thread to the event loop: events of all requests, few wake-ups."""

import asyncio
from collections import deque

from cama.core.errors import CamaError
from cama.core.generation import Chunk, Event

Item = Event | CamaError
"""What a generation gives out; everything but a Chunk is the last."""


class Stream:
    """The events of one request. :meth:`put` belongs to the engine thread, the rest to the loop."""

    def __init__(self, outbox: "Outbox") -> None:
        self._outbox = outbox
        self._items: list[Item] = []
        self._changed = asyncio.Event()
        self._closed = False
        self.finished = False

    def put(self, item: Item) -> None:
        """Take an event; called on the engine thread, never blocks."""
        self._outbox.post(self, item)

    def close(self) -> None:
        """Nobody reads any more."""
        self._closed = True
        self._changed.set()

    async def take(self) -> list[Item]:
        """All events since the last call, at least one; none once the stream ended or closed."""
        while not (self._items or self._closed or self.finished):
            await self._changed.wait()
            self._changed.clear()
        items, self._items = self._items, []
        return [] if self._closed else items

    def deliver(self, item: Item) -> None:
        """Receive an event; called on the loop."""
        if self._closed or self.finished:
            return
        self._items.append(item)
        self.finished = not isinstance(item, Chunk)
        self._changed.set()


class Outbox:
    """Carries events to the loop in batches: one wake-up however many wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pending: deque[tuple[Stream, Item]] = deque()
        self._is_scheduled = False

    def open(self) -> Stream:
        return Stream(self)

    def post(self, stream: Stream, item: Item) -> None:
        # Append before looking at the flag, and in _drain clear it before looking at the queue:
        # in this order no event is left behind without a wake-up, and no lock is needed.
        self._pending.append((stream, item))
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._is_scheduled = False
        while self._pending:
            stream, item = self._pending.popleft()
            stream.deliver(item)
