"""Loads that fail again and again."""

from cama.core.errors import LoadFailed
from cama.scheduler.failures import LoadFailures
from tests.unit.scheduler.fakes import Clock, spec


def failed(times: int, clock: Clock) -> LoadFailures:
    failures = LoadFailures(clock)
    for n in range(times):
        failures.add(spec("a"), LoadFailed(f"no {n}"))
    return failures


def test_two_failures_are_forgiven() -> None:
    assert failed(2, Clock()).refusal(spec("a")) is None


def test_three_failures_refuse_with_the_last_error() -> None:
    refusal = failed(3, Clock()).refusal(spec("a"))
    assert isinstance(refusal, LoadFailed)
    assert refusal.message == "no 2"


def test_failures_are_forgotten_with_time() -> None:
    clock = Clock()
    failures = failed(3, clock)
    clock.now += 61
    assert failures.refusal(spec("a")) is None


def test_failures_are_forgotten_after_a_success() -> None:
    failures = failed(3, Clock())
    failures.forget(spec("a"))
    assert failures.refusal(spec("a")) is None


def test_failures_of_one_model_do_not_refuse_another() -> None:
    failures = failed(3, Clock())
    assert failures.refusal(spec("b")) is None
    assert failures.refusal(spec("a", n_ctx=512)) is None
