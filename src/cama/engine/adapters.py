"""What an engine keeps loaded of adapters: those in use, and others up to a size."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

MAX_IDLE_BYTES = 1 << 30
"""Of adapters that no request uses; to load one again takes a fraction of a second."""

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


@dataclass(slots=True)
class _Entry(Generic[_V]):
    value: _V
    n_bytes: int
    n_holders: int = 0


class Pool(Generic[_K, _V]):
    """Loaded things by key: held as often as they are used, else kept while there is room.

    Idle ones are unloaded, the least recently used first, when they take more than ``max_bytes``.
    """

    def __init__(self, unload: Callable[[_V], None], max_bytes: int = MAX_IDLE_BYTES) -> None:
        self._unload = unload
        self._max_bytes = max_bytes
        self._entries: OrderedDict[_K, _Entry[_V]] = OrderedDict()  # the last used at the end

    def __getitem__(self, key: _K) -> _V:
        """What is held. Raises KeyError."""
        return self._entries[key].value

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def n_bytes(self) -> int:
        return sum(entry.n_bytes for entry in self._entries.values())

    def hold(self, key: _K, load: Callable[[], tuple[_V, int]]) -> None:
        """Keep ``key`` until it is released; ``load`` gives it and its bytes when it is not there.

        What ``load`` raises goes through, and nothing has changed.
        """
        if key not in self._entries:
            value, n_bytes = load()
            self._entries[key] = _Entry(value, n_bytes)
        self._entries[key].n_holders += 1
        self._entries.move_to_end(key)
        self._trim()

    def release(self, key: _K) -> None:
        self._entries[key].n_holders -= 1
        self._trim()

    def clear(self) -> None:
        """Unload everything, held or not."""
        while self._entries:
            self._unload(self._entries.popitem()[1].value)

    def _trim(self) -> None:
        idle = [key for key, entry in self._entries.items() if not entry.n_holders]
        n_bytes = sum(self._entries[key].n_bytes for key in idle)
        for key in idle:
            if n_bytes <= self._max_bytes:
                return
            entry = self._entries.pop(key)
            n_bytes -= entry.n_bytes
            self._unload(entry.value)
