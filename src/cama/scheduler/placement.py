"""What to do for a request, given what is loaded: a pure decision, carried out elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from cama.core.model import ModelSpec
from cama.runner.protocol import RunnerInfo
from cama.scheduler.options import serves

AUTOMATIC_MODELS = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """What all models together may take."""

    max_models: int

    @classmethod
    def of(cls, max_loaded_models: int) -> "Limits":
        return cls(max_loaded_models or AUTOMATIC_MODELS)


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


Decision = Use | Load | Evict | Reload | Wait


def decide(
    residents: Sequence[Resident], wanted: ModelSpec, limits: Limits, claims: int = 0
) -> Decision:
    """What to do for ``wanted``; ``claims`` is how many places earlier requests wait for."""
    own = next((r for r in residents if r.spec.key == wanted.key), None)
    if own is not None:
        return _decide_on(own, wanted)
    return _find_place(residents, limits, claims)


def _decide_on(own: Resident, wanted: ModelSpec) -> Decision:
    key = wanted.key
    if own.leaving:
        return Wait()
    if own.spec.load == wanted.load:
        return Use(key)
    if own.info is None:
        return Wait()
    return Use(key) if serves(own.spec.load, own.info, wanted.load) else Reload(key)


def _find_place(residents: Sequence[Resident], limits: Limits, claims: int) -> Decision:
    if limits.max_models - len(residents) > claims:
        return Load()
    staying = [r for r in residents if not r.leaving]
    if limits.max_models - len(staying) > claims:
        return Wait()
    loaded = [r for r in staying if r.info is not None]
    if not loaded:
        return Wait()
    # Idle ones first, then the least recently used. When all are busy one is still chosen: it takes
    # no new requests, so that it does become idle however many come for it.
    victim = min(loaded, key=lambda r: (r.active > 0, r.last_used))
    return Evict(victim.spec.key)
