"""Decisions as tables."""

from typing import Any

import pytest

from cama.scheduler.placement import (
    Decision,
    Evict,
    Limits,
    Load,
    Reload,
    Resident,
    Use,
    Wait,
    decide,
)
from tests.unit.scheduler.fakes import info, spec


def loaded(name: str, *, active: int = 0, last_used: float = 0.0, **load: Any) -> Resident:
    return Resident(spec=spec(name, **load), info=info(), active=active, last_used=last_used)


def loading(name: str, **load: Any) -> Resident:
    return Resident(spec=spec(name, **load))


def leaving(name: str, *, active: int = 0) -> Resident:
    return Resident(spec=spec(name), info=info(), active=active, leaving=True)


def key(name: str) -> str:
    return spec(name).key


@pytest.mark.parametrize(
    ("residents", "decision"),
    [
        ([], Load()),
        ([loaded("a")], Use(key("a"))),
        ([loaded("a", active=9)], Use(key("a"))),
        ([loading("a")], Use(key("a"))),
        ([leaving("a")], Wait()),
        ([loaded("b")], Load()),
        ([loading("b")], Load()),
        ([leaving("b")], Load()),
    ],
)
def test_decide_with_room(residents: list[Resident], decision: Decision) -> None:
    assert decide(residents, spec("a"), Limits(2)) == decision


@pytest.mark.parametrize(
    ("residents", "decision"),
    [
        ([loaded("b", last_used=2), loaded("c", last_used=1)], Evict(key("c"))),
        ([loaded("b", last_used=2), loaded("c", last_used=1, active=1)], Evict(key("b"))),
        (
            [loaded("b", last_used=2, active=1), loaded("c", last_used=1, active=1)],
            Evict(key("c")),
        ),
        ([loaded("b"), leaving("c")], Wait()),
        ([loaded("b"), leaving("c", active=1)], Wait()),
        ([loading("b"), loading("c")], Wait()),
        ([loading("b"), loaded("c", active=1)], Evict(key("c"))),
    ],
)
def test_decide_when_full(residents: list[Resident], decision: Decision) -> None:
    assert decide(residents, spec("a"), Limits(2)) == decision


@pytest.mark.parametrize(
    ("residents", "decision"),
    [
        ([], Load()),
        ([loaded("b")], Evict(key("b"))),
        ([leaving("b")], Wait()),
        ([loaded("a")], Use(key("a"))),
    ],
)
def test_decide_leaves_places_to_earlier_requests(
    residents: list[Resident], decision: Decision
) -> None:
    assert decide(residents, spec("a"), Limits(2), claims=1) == decision


def test_decide_reloads_a_model_with_other_options() -> None:
    decision = decide([loaded("a", n_ctx=2048)], spec("a", n_ctx=1024), Limits(3))
    assert decision == Reload(key("a"))


def test_decide_waits_for_a_load_with_other_options() -> None:
    assert decide([loading("a", n_ctx=2048)], spec("a", n_ctx=1024), Limits(3)) == Wait()


def test_limits_are_automatic_at_zero() -> None:
    assert Limits.of(0) == Limits(3)
    assert Limits.of(7) == Limits(7)
