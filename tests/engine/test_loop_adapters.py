"""Adapters in the loop: who is in which pass, what is held, and what nobody shares."""

from collections import Counter
from pathlib import Path

import pytest

from cama.core.errors import InvalidModelFile, Unsupported
from cama.core.generation import Adapter, Adapters
from cama.engine.base import Plan
from cama.engine.loop import Loop
from tests.engine.fake import FakeEngine
from tests.engine.sinks import answer, drain, submit

PROMPT = "A camel crosses the desert by night, when the sand is cool."


def adapters(name: str, scale: float = 1.0) -> Adapters:
    return (Adapter(path=Path(name), digest=name, scale=scale),)


SETS: list[Adapters] = [(), adapters("one"), adapters("two"), adapters("two", 0.5)]


@pytest.mark.parametrize("mixes", [True, False])
def test_each_answers_as_alone_whoever_else_runs(mixes: bool) -> None:
    alone = [answer(FakeEngine(), PROMPT, num_predict=20, adapters=s).text for s in SETS]
    assert len(set(alone)) == len(SETS)
    engine = FakeEngine(mixes_adapters=mixes)
    loop = Loop(engine)
    sinks = [
        submit(loop, engine, f"{i}", PROMPT, num_predict=20, adapters=s) for i, s in enumerate(SETS)
    ]
    drain(loop)
    loop.check_integrity()
    assert [sink.text for sink in sinks] == alone
    assert not +engine.held


def test_engine_that_mixes_has_all_in_one_pass() -> None:
    engine = FakeEngine(mixes_adapters=True)
    loop = Loop(engine)
    for i, chosen in enumerate(SETS):
        submit(loop, engine, f"{i}", "Hello", num_predict=10, adapters=chosen)
    drain(loop)
    assert Counter(len(plan.spans) for plan in engine.plans)[len(SETS)] >= 9


def sets_of(plan: Plan) -> set[Adapters]:
    return {span.adapters for span in plan.spans}


def test_sets_take_turns_where_they_cannot_mix() -> None:
    """Nobody waits longer than the others' turns take, however many requests come for one set."""
    engine = FakeEngine(mixes_adapters=False, n_seq_max=4)
    loop = Loop(engine)
    long = submit(loop, engine, "long", "Hello", num_predict=60, adapters=SETS[1])
    short = [
        submit(loop, engine, f"{i}", f"Hello {i}", num_predict=4, adapters=SETS[2])
        for i in range(60)
    ]
    drain(loop)
    assert all(len(sets_of(plan)) == 1 for plan in engine.plans)
    turns = [plan.spans[0].adapters for plan in engine.plans]
    last = max(i for i, chosen in enumerate(turns) if chosen == SETS[1])
    waits, wait = [], 0
    for chosen in turns[:last]:
        wait = 0 if chosen == SETS[1] else wait + 1
        waits.append(wait)
    assert max(waits) <= 4
    assert len(long.text) > 0
    assert all(sink.is_over for sink in short)


def test_prompts_are_read_in_turns_of_one_pass() -> None:
    """Reading takes longer than changing adapters."""
    engine = FakeEngine(mixes_adapters=False, n_batch=8)
    loop = Loop(engine)
    for i, chosen in enumerate(SETS[1:]):
        submit(loop, engine, f"{i}", PROMPT, num_predict=1, adapters=chosen)
    drain(loop)
    turns = [plan.spans[0].adapters for plan in engine.plans]
    assert [turns[i : i + 3] for i in (0, 3, 6)] == [SETS[1:]] * 3


def test_set_of_batch_requests_lets_interactive_ones_go_first() -> None:
    engine = FakeEngine(mixes_adapters=False, n_seq_max=8)
    loop = Loop(engine)
    batch = [
        submit(
            loop, engine, f"batch {i}", "Hello", num_predict=40, adapters=chosen, priority="batch"
        )
        for i, chosen in enumerate(SETS[:2])
    ]
    for _ in range(6):
        loop.step()
    begun = len(engine.plans)
    watched = [
        submit(loop, engine, f"{i}", "Hello", num_predict=24, adapters=chosen)
        for i, chosen in enumerate(SETS[2:])
    ]
    while not all(sink.is_over for sink in watched):
        loop.step()
    turns = [plan.spans[0].adapters for plan in engine.plans[begun:]]
    n_batch = sum(turn in SETS[:2] for turn in turns)
    assert len(turns) / 6 <= n_batch <= len(turns) / 5 + 1  # one pass in five
    assert not any(sink.is_over for sink in batch)
    assert len(turns) <= 2 * 24 * 5 / 4 + 2
    drain(loop)
    assert all(sink.finish.eval_tokens == 40 for sink in batch)


def test_interactive_requests_take_those_of_their_set_along() -> None:
    engine = FakeEngine(mixes_adapters=False)
    loop = Loop(engine)
    same = submit(loop, engine, "same", "Hello", num_predict=20, adapters=SETS[1], priority="batch")
    other = submit(
        loop, engine, "other", "Hello", num_predict=20, adapters=SETS[2], priority="batch"
    )
    watched = submit(loop, engine, "watched", "Hello", num_predict=20, adapters=SETS[1])
    while not watched.is_over:
        loop.step()
    assert same.is_over or len(same.chunks) >= len(watched.chunks) - 2
    assert len(other.chunks) < len(watched.chunks) / 2
    drain(loop)
    assert other.finish.eval_tokens == 20


def test_damaged_adapter_ends_its_request_only() -> None:
    engine = FakeEngine()
    loop = Loop(engine)
    good = submit(loop, engine, "good", PROMPT, num_predict=5, adapters=SETS[1])
    bad = submit(loop, engine, "bad", PROMPT, num_predict=5, adapters=adapters("damaged"))
    drain(loop)
    loop.check_integrity()
    assert isinstance(bad.error, InvalidModelFile)
    assert good.finish.reason == "length"
    assert not +engine.held


def test_request_that_gives_way_holds_nothing_meanwhile() -> None:
    engine = FakeEngine(n_cells=128, n_ctx=96, n_batch=32)
    loop = Loop(engine)
    sinks = [
        submit(loop, engine, f"{i}", PROMPT[:20], num_predict=70, adapters=chosen)
        for i, chosen in enumerate(SETS)
    ]
    drain(loop)
    assert [sink.finish.eval_tokens for sink in sinks] == [70] * len(SETS)
    assert not +engine.held


def test_cancelled_request_lets_its_adapters_go() -> None:
    engine = FakeEngine()
    loop = Loop(engine)
    submit(loop, engine, "one", PROMPT, num_predict=50, adapters=SETS[1])
    for _ in range(5):
        loop.step()
    assert engine.held[SETS[1]] == 1
    loop.cancel("one")
    drain(loop)
    assert not +engine.held


def test_prefix_belongs_to_its_adapters_and_their_scale() -> None:
    engine = FakeEngine()
    loop = Loop(engine)
    for i, chosen in enumerate(SETS):
        first = submit(loop, engine, f"{i}", PROMPT, num_predict=5, adapters=chosen)
        drain(loop)
        assert first.finish.cached_tokens == 0
        assert first.finish.miss_reason == ("new" if i == 0 else "adapter")
    for i, chosen in enumerate(SETS):
        again = submit(loop, engine, f"{i}", PROMPT, num_predict=5, adapters=chosen)
        drain(loop)
        assert again.finish.cached_tokens == len(PROMPT) - 1


class _PlainEngine:
    """An engine that knows of no adapters."""

    def __init__(self) -> None:
        self._engine = FakeEngine()

    def __getattr__(self, name: str) -> object:
        if "adapters" in name:
            raise AttributeError(name)
        return getattr(self._engine, name)


def test_engine_without_adapters_refuses_them() -> None:
    engine = _PlainEngine()
    loop = Loop(engine)  # type: ignore[arg-type]
    bad = submit(loop, engine, "bad", PROMPT, adapters=SETS[1])  # type: ignore[arg-type]
    drain(loop)
    assert isinstance(bad.error, Unsupported)
