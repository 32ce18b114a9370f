"""Interactive and batch requests on the loop: who starts, who is read, who gives way, who ages."""

import random

import pytest

from cama.core.priority import PATIENCE_SECONDS, Priority
from cama.engine.batcher import allot
from cama.engine.loop import Loop
from tests.engine.fake import FakeEngine
from tests.engine.sinks import Sink, answer, drain, submit

LONG = "A long story about a camel. " * 8


class Clock:
    """Stands nearly still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now


def _batch(loop: Loop, engine: FakeEngine, name: str, prompt: str, n_predict: int = 4) -> Sink:
    return submit(loop, engine, name, prompt, num_predict=n_predict, priority="batch")


def test_allot_gives_prompts_of_batch_requests_what_others_leave() -> None:
    assert allot([1, 500, 500, 1], 102, 0, [True, True, False, False]) == [1, 0, 100, 1]
    assert allot([500, 30], 100, 0, [True, False]) == [70, 30]
    assert allot([500, 500], 100, 0, [True, True]) == [50, 50]


def test_interactive_requests_start_before_batch_ones() -> None:
    engine = FakeEngine(n_seq_max=1)
    loop = Loop(engine)
    order: list[str] = []
    for name, priority in (("a", "batch"), ("b", "batch"), ("c", "interactive")):
        sink = submit(loop, engine, name, name * 3, num_predict=2, priority=priority)
        sink.events = _Noting(order, name)  # type: ignore[assignment]
    drain(loop)
    assert order == ["c", "a", "b"]


class _Noting(list[object]):
    """Notes the first event of a request."""

    def __init__(self, order: list[str], name: str) -> None:
        super().__init__()
        self._order, self._name = order, name

    def append(self, event: object) -> None:
        if not self:
            self._order.append(self._name)
        super().append(event)


def test_batch_requests_leave_one_place_free() -> None:
    engine = FakeEngine()
    loop = Loop(engine, 3)
    batch = [_batch(loop, engine, str(i), f"{i}: ", 50) for i in range(3)]
    loop.step()
    assert [bool(sink.events) for sink in batch] == [True, True, False]
    watched = submit(loop, engine, "watched", "now", num_predict=2)
    loop.step()
    assert watched.events
    drain(loop)
    assert all(sink.finish.eval_tokens == 50 for sink in batch)


def test_running_batch_answer_goes_on_while_an_interactive_prompt_is_read() -> None:
    engine = FakeEngine(n_batch=16)
    loop = Loop(engine)
    batch = _batch(loop, engine, "batch", "short", 30)
    loop.step()
    submit(loop, engine, "watched", LONG[:200], num_predict=1)
    n_before = len(batch.chunks)
    for _ in range(10):
        loop.step()
    assert len(batch.chunks) == n_before + 10


def test_interactive_prompt_is_read_before_a_batch_prompt() -> None:
    engine = FakeEngine(n_batch=16)
    loop = Loop(engine)
    batch = _batch(loop, engine, "batch", LONG[:150], 1)
    loop.step()
    watched = submit(loop, engine, "watched", "x" * 32, num_predict=1)
    loop.step()
    loop.step()
    assert watched.is_over
    assert not batch.events
    assert [len(plan.spans) for plan in engine.plans] == [1, 1, 1]


def test_batch_request_gives_its_cells_to_an_interactive_one() -> None:
    engine = FakeEngine(n_ctx=64, n_cells=64)
    loop = Loop(engine)
    batch = _batch(loop, engine, "batch", "b" * 30, 20)
    for _ in range(5):
        loop.step()
    watched = submit(loop, engine, "watched", "w" * 40, num_predict=5)
    loop.step()
    assert watched.events
    assert not batch.is_over
    drain(loop)
    loop.check_integrity()
    assert batch.text == answer(FakeEngine(n_ctx=64), "b" * 30, num_predict=20).text


def test_batch_request_is_preempted_before_a_younger_interactive_one() -> None:
    engine = FakeEngine(n_ctx=64, n_cells=64)
    loop = Loop(engine)
    batch = _batch(loop, engine, "batch", "batch", 50)
    watched = submit(loop, engine, "watched", "watched", num_predict=50)
    while not watched.is_over:
        loop.step()
    assert not batch.is_over
    drain(loop)
    assert batch.finish.eval_tokens == 50


def test_batch_request_is_not_preempted_for_one_that_would_not_fit_anyway() -> None:
    engine = FakeEngine(n_ctx=64, n_cells=96)
    loop = Loop(engine)
    submit(loop, engine, "first", "f" * 40, num_predict=20)
    batch = _batch(loop, engine, "batch", "b" * 8, 20)
    loop.step()
    submit(loop, engine, "second", "s" * 60, num_predict=1)
    for _ in range(10):
        n_before = len(batch.chunks)
        loop.step()
        assert len(batch.chunks) == n_before + 1


def test_batch_request_that_waited_long_enough_counts_as_interactive() -> None:
    clock = Clock()
    engine = FakeEngine(n_seq_max=1)
    loop = Loop(engine, clock=clock)
    old, new = _batch(loop, engine, "old", "old"), _batch(loop, engine, "new", "new")
    waited = 0.0
    for i in range(60):
        watched = submit(loop, engine, str(i), f"{i}: ", num_predict=1)
        drain_until(loop, watched)
        if not old.is_over:
            waited = clock.now
        clock.now += 1
        submit(loop, engine, f"{i} next", f"{i}; ", num_predict=1)
    assert old.is_over
    assert PATIENCE_SECONDS - 2 <= waited <= PATIENCE_SECONDS + 1
    assert not new.is_over  # they age one after the other
    drain(loop)
    assert new.is_over


def drain_until(loop: Loop, sink: Sink) -> None:
    while not sink.is_over:
        assert loop.step()


def test_batch_prompt_that_others_keep_from_being_read_ages_as_well() -> None:
    clock = Clock()
    engine = FakeEngine(n_batch=8, n_ctx=512, n_cells=4096, n_seq_max=32)
    loop = Loop(engine, 4, clock=clock)
    batch = _batch(loop, engine, "batch", "b" * 30, 1)
    loop.step()
    for i in range(80):
        submit(loop, engine, str(i), chr(40 + i) * 60, num_predict=1)
        loop.step()
        clock.now += 1
        if batch.is_over:
            break
    assert batch.is_over
    assert PATIENCE_SECONDS <= clock.now <= PATIENCE_SECONDS + 20


def test_interactive_request_lends_its_turn_to_the_batch_prompt_it_waits_for() -> None:
    engine = FakeEngine(n_batch=16, n_ctx=512)
    loop = Loop(engine)
    _batch(loop, engine, "batch", LONG, 1)
    loop.step()
    submit(loop, engine, "other", "o" * 400, num_predict=1)
    watched = submit(loop, engine, "watched", LONG + "?", num_predict=1)
    for _ in range(32):
        loop.step()
    assert watched.is_over
    assert watched.finish.cached_tokens == len(LONG)


@pytest.mark.parametrize("seed", range(12))
def test_any_history_ends_as_each_request_would_alone(seed: int) -> None:
    """Little room, much of everything: nobody starves, and no text depends on a priority."""
    chance, clock = random.Random(seed), Clock()
    engine = FakeEngine(
        n_ctx=48,
        n_batch=chance.randint(4, 24),
        n_cells=chance.randint(48, 160),
        n_seq_max=chance.randint(1, 5),
        grain=chance.choice([1, 1, 4]),
    )
    loop = Loop(engine, clock=clock)
    sinks: dict[tuple[str, int], list[Sink]] = {}
    for i in range(60):
        prompt = "".join(chance.choices("ab", k=chance.randint(1, 40)))
        n = chance.randint(1, 48 - len(prompt))
        priority: Priority = chance.choice(["interactive", "batch"])
        sink = submit(loop, engine, str(i), prompt, num_predict=n, priority=priority)
        sinks.setdefault((prompt, n), []).append(sink)
        for _ in range(chance.randint(0, 6)):
            loop.step()
            clock.now += chance.random() * 3
        loop.check_integrity()
    drain(loop)
    loop.check_integrity()
    for (prompt, n), same in sinks.items():
        expected = answer(FakeEngine(n_ctx=48), prompt, num_predict=n).text
        assert [sink.text for sink in same] == [expected] * len(same)


def test_endless_interactive_load_does_not_starve_a_batch_request() -> None:
    clock = Clock()
    engine = FakeEngine(n_ctx=64, n_cells=96, n_batch=16, n_seq_max=3)
    loop = Loop(engine, clock=clock)
    batch = [_batch(loop, engine, f"batch {i}", f"{i}" * 30, 20) for i in range(3)]
    ends: dict[int, float] = {}
    for i in range(3000):
        if len(loop._requests) < 8:
            submit(loop, engine, str(i), f"{i:04d} " * 6, num_predict=8)
        loop.step()
        clock.now += 0.5
        ends |= {j: clock.now for j, sink in enumerate(batch) if sink.is_over and j not in ends}
        if len(ends) == len(batch):
            break
    assert list(ends) == [0, 1, 2]
    assert all(end <= (j + 1) * PATIENCE_SECONDS + 120 for j, end in ends.items())
