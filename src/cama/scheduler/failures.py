"""Memory of loads that failed, so that a model that cannot load is not tried for ever."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass

from cama.core.errors import RunnerError
from cama.core.load import LoadOptions
from cama.core.model import ModelSpec

MAX_FAILURES = 3
FORGOTTEN_SECONDS = 60.0

_Key = tuple[str, int, LoadOptions]


@dataclass(frozen=True, slots=True)
class _Failure:
    count: int
    at: float
    error: RunnerError


class LoadFailures:
    """Counts failures in a row; a success, a minute without any, or other options start anew."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: dict[_Key, _Failure] = {}

    def add(self, spec: ModelSpec, error: RunnerError) -> None:
        before = self._recent(spec)
        count = before.count + 1 if before else 1
        self._failures[_key(spec)] = _Failure(count, self._clock(), error)

    def forget(self, spec: ModelSpec) -> None:
        self._failures.pop(_key(spec), None)

    def refusal(self, spec: ModelSpec) -> RunnerError | None:
        """The last error, when ``spec`` failed so often that it is not tried again for now."""
        failure = self._recent(spec)
        return copy(failure.error) if failure and failure.count >= MAX_FAILURES else None

    def _recent(self, spec: ModelSpec) -> _Failure | None:
        oldest = self._clock() - FORGOTTEN_SECONDS
        self._failures = {key: f for key, f in self._failures.items() if f.at > oldest}
        return self._failures.get(_key(spec))


def _key(spec: ModelSpec) -> _Key:
    return spec.key, spec.weights_bytes, spec.load
