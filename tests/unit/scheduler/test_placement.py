"""Decisions as tables."""

from dataclasses import replace
from typing import Any

import pytest

from cama.scheduler.host import HostMemory
from cama.scheduler.placement import (
    Claims,
    Decision,
    Evict,
    Limits,
    Load,
    Refuse,
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


def sized(name: str, planned: int, taken: int = 0, **fields: Any) -> Resident:
    """A loaded model, in units of a byte."""
    model = replace(spec(name), memory_bytes=planned)
    return Resident(spec=model, info=replace(info(), rss_bytes=taken), **fields)


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
    assert decide(residents, spec("a"), Limits(2), Claims(1)) == decision


def test_decide_reloads_a_model_with_other_options() -> None:
    decision = decide([loaded("a", n_ctx=2048)], spec("a", n_ctx=1024), Limits(3))
    assert decision == Reload(key("a"))


def test_decide_waits_for_a_load_with_other_options() -> None:
    assert decide([loading("a", n_ctx=2048)], spec("a", n_ctx=1024), Limits(3)) == Wait()


@pytest.mark.parametrize(
    ("residents", "needed", "decision"),
    [
        ([], 100, Load()),
        ([], 120, Load()),  # the first may swap
        ([], 121, Refuse(121, 120)),
        ([sized("b", 40, taken=40)], 60, Load()),
        ([sized("b", 40, taken=40)], 61, Evict(key("b"))),
        ([sized("b", 40)], 61, Evict(key("b"))),
        ([sized("b", 40, taken=40)], 121, Refuse(121, 120)),
        ([sized("b", 40, leaving=True)], 61, Wait()),
        ([replace(sized("b", 40), info=None)], 61, Wait()),
        ([sized("b", 40, active=1)], 61, Evict(key("b"))),
        # the least recently used of those that make room alone
        ([sized("b", 10, last_used=1), sized("c", 30, last_used=2)], 80, Evict(key("c"))),
        ([sized("b", 30, last_used=2), sized("c", 30, last_used=1)], 60, Evict(key("c"))),
        # none does: the least recently used
        ([sized("b", 30, last_used=2), sized("c", 30, last_used=1)], 99, Evict(key("c"))),
        # a busy one only when no idle one is left
        ([sized("b", 60, active=1), sized("c", 10, last_used=9)], 80, Evict(key("c"))),
    ],
)
def test_decide_by_memory(residents: list[Resident], needed: int, decision: Decision) -> None:
    memory = HostMemory(total=100, available=100, swap=20)
    wanted = replace(spec("a"), memory_bytes=needed)
    assert decide(residents, wanted, Limits(9, memory)) == decision


def test_decide_counts_what_models_have_not_taken_yet() -> None:
    memory = HostMemory(total=1000, available=50)
    wanted = replace(spec("a"), memory_bytes=40)
    assert decide([sized("b", 30, taken=30)], wanted, Limits(9, memory)) == Load()
    assert decide([sized("b", 30, taken=10)], wanted, Limits(9, memory)) == Evict(key("b"))


def test_decide_leaves_memory_to_earlier_requests() -> None:
    memory = HostMemory(total=100, available=100)
    wanted = replace(spec("a"), memory_bytes=40)
    residents = [sized("b", 20, taken=0)]
    assert decide(residents, wanted, Limits(9, memory), Claims(1, 40)) == Load()
    assert decide(residents, wanted, Limits(9, memory), Claims(1, 41)) == Evict(key("b"))


def test_limits_are_automatic_at_zero() -> None:
    assert Limits.of(0) == Limits(3)
    assert Limits.of(7) == Limits(7)
