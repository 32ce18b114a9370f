"""What to do for a request, given what is loaded: a pure decision, carried out elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from cama.core.model import ModelSpec
from cama.runner.protocol import RunnerInfo
from cama.scheduler.host import HostMemory
from cama.scheduler.options import serves

AUTOMATIC_MODELS = 3

_BOUNDLESS = HostMemory(total=2**63, available=2**63)


@dataclass(frozen=True, slots=True)
class Limits:
    """What all models together may take: places, and ``memory``."""

    max_models: int
    memory: HostMemory = _BOUNDLESS

    @classmethod
    def of(cls, max_loaded_models: int, memory: HostMemory = _BOUNDLESS) -> "Limits":
        return cls(max_loaded_models or AUTOMATIC_MODELS, memory)


@dataclass(frozen=True, slots=True)
class Claims:
    """What earlier requests wait for: so many places, and bytes for them."""

    n_places: int = 0
    n_bytes: int = 0


_NONE = Claims()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """A model that takes a place. ``info`` is None while it loads.

    ``leaving``: it is being unloaded, or will be as soon as it is idle; no request may join it.
    """

    spec: ModelSpec
    info: RunnerInfo | None = None
    active: int = 0
    last_used: float = 0.0
    leaving: bool = False

    @property
    def planned(self) -> int:
        """Bytes that it may come to take."""
        return self.spec.memory_bytes

    @property
    def taken(self) -> int:
        """Bytes that it took when it was loaded, none while it loads."""
        return self.info.rss_bytes if self.info else 0


@dataclass(frozen=True, slots=True)
class Use:
    """Take the resident ``key``, or join the wait for it while it loads."""

    key: str


@dataclass(frozen=True, slots=True)
class Load:
    """Start a runner: there is a place."""


@dataclass(frozen=True, slots=True)
class Evict:
    """Unload ``key`` as soon as it is idle, to make a place; then decide again."""

    key: str


@dataclass(frozen=True, slots=True)
class Reload:
    """Unload ``key`` as soon as it is idle, because it was loaded with other options."""

    key: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Something under way, a load or an unload, changes the picture: decide again then."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """It needs ``needed`` bytes, and with all others unloaded there would be ``available``."""

    needed: int
    available: int


Decision = Use | Load | Evict | Reload | Wait | Refuse


def decide(
    residents: Sequence[Resident], wanted: ModelSpec, limits: Limits, claims: Claims = _NONE
) -> Decision:
    """What to do for ``wanted``, after what earlier requests claim."""
    own = next((r for r in residents if r.spec.key == wanted.key), None)
    if own is not None:
        return _decide_on(own, wanted)
    return _find_place(residents, wanted, limits, claims)


def _decide_on(own: Resident, wanted: ModelSpec) -> Decision:
    key = wanted.key
    if own.leaving:
        return Wait()
    if own.spec.load == wanted.load:
        return Use(key)
    if own.info is None:
        return Wait()
    return Use(key) if serves(own.spec.load, own.info, wanted.load) else Reload(key)


def _find_place(
    residents: Sequence[Resident], wanted: ModelSpec, limits: Limits, claims: Claims
) -> Decision:
    needed = wanted.memory_bytes
    most = _most(residents, limits.memory)
    if needed > most:
        return Refuse(needed, most)
    missing = _Missing(
        n_places=len(residents) + claims.n_places + 1 - limits.max_models,
        # The first model may also use swap: better slow than not at all.
        n_bytes=needed + claims.n_bytes - _room(residents, limits.memory) if residents else 0,
    )
    if missing.is_met([]):
        return Load()
    if missing.is_met([r for r in residents if r.leaving]):
        return Wait()
    loaded = [r for r in residents if r.info is not None and not r.leaving]
    return Evict(_victim(loaded, missing).spec.key) if loaded else Wait()


@dataclass(frozen=True, slots=True)
class _Missing:
    """What must become free before a load, where it is more than nothing."""

    n_places: int
    n_bytes: int

    def is_met(self, leaving: Sequence[Resident]) -> bool:
        return self.n_places <= len(leaving) and self.n_bytes <= sum(r.planned for r in leaving)


def _victim(loaded: Sequence[Resident], missing: _Missing) -> Resident:
    """Idle ones first, of these one that makes room alone, then the least recently used.

    When all are busy one is still chosen: it takes no new requests, so that it does become idle
    however many come for it.
    """
    return min(loaded, key=lambda r: (r.active > 0, not missing.is_met([r]), r.last_used))


def _room(residents: Sequence[Resident], memory: HostMemory) -> int:
    """Bytes that are free for one more, when all that are there take what was planned.

    Weights are pages of files: the system counts them as available though models in use need them,
    so that what is planned counts as well as what is free.
    """
    coming = sum(max(0, r.planned - r.taken) for r in residents)
    return min(memory.available - coming, memory.total - sum(r.planned for r in residents))


def _most(residents: Sequence[Resident], memory: HostMemory) -> int:
    """Bytes that would be free, in memory and swap, if nothing were loaded."""
    freed = sum(max(r.planned, r.taken) for r in residents)
    return min(memory.available + freed, memory.total) + memory.swap
