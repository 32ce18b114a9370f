"""Whose turn it is: order, ageing, and that nobody waits for ever."""

import math
import random
from dataclasses import dataclass

import pytest

from cama.core.priority import PATIENCE_SECONDS, Ageing, in_turn


@dataclass(eq=False)
class Waiting:
    arrived: float
    is_batch: bool = True


def test_interactive_requests_go_before_batch_ones_in_order_of_arrival() -> None:
    a, b, c, d = Waiting(1), Waiting(2, False), Waiting(3), Waiting(4, False)
    assert in_turn([a, b, c, d]) == [b, d, a, c]


def test_batch_request_that_waited_long_enough_counts_as_interactive() -> None:
    ageing = Ageing()
    old, new, watched = Waiting(0), Waiting(1), Waiting(20, False)
    waiting = [old, new, watched]
    assert ageing.due(waiting) == PATIENCE_SECONDS
    assert not ageing.promote(waiting, PATIENCE_SECONDS - 0.001)
    assert ageing.promote(waiting, PATIENCE_SECONDS)
    assert in_turn(waiting) == [old, watched, new]


def test_batch_requests_age_one_after_the_other() -> None:
    ageing = Ageing()
    crowd = [Waiting(0) for _ in range(1000)]
    assert ageing.promote(crowd, 100)
    assert not ageing.promote(crowd, 100 + PATIENCE_SECONDS - 1)
    assert ageing.promote(crowd, 100 + PATIENCE_SECONDS)
    assert [request.is_batch for request in crowd] == [False] * 2 + [True] * 998


def test_nothing_ages_where_no_batch_request_waits() -> None:
    assert Ageing().due([Waiting(0, False)]) == math.inf
    assert not Ageing().promote([], 1e9)


@pytest.mark.parametrize("seed", range(20))
def test_no_request_starves_under_endless_interactive_load(seed: int) -> None:
    """One is served each second, and there is always somebody who watches."""
    chance, ageing = random.Random(seed), Ageing()
    waiting: list[Waiting] = []
    served: list[tuple[Waiting, int]] = []
    arrived_as_batch: list[Waiting] = []
    for now in range(3000):
        waiting.append(Waiting(now, False))
        if now < 1000 and chance.random() < 0.02:
            batch = Waiting(now)
            arrived_as_batch.append(batch)
            waiting.append(batch)
        ageing.promote(waiting, now)
        first = in_turn(waiting)[0]
        waiting.remove(first)
        served.append((first, now))
    moments = dict(served)
    assert arrived_as_batch
    assert list(filter(moments.__contains__, arrived_as_batch)) == arrived_as_batch
    order = sorted(arrived_as_batch, key=moments.__getitem__)
    assert order == arrived_as_batch
    for n, request in enumerate(arrived_as_batch, 1):
        assert moments[request] - request.arrived <= PATIENCE_SECONDS * n + len(arrived_as_batch)
