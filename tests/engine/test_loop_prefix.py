"""Requests that have a beginning in common: it is read once, whoever comes and goes."""

import itertools
import random

import pytest

from cama.engine.loop import Loop
from tests.engine.fake import FakeEngine
from tests.engine.sinks import Sink, answer, drain, submit

TRUNK = "You are a camel, and you answer the questions of travellers shortly and kindly. " * 2


def _n_evaluated(engine: FakeEngine) -> int:
    return sum(plan.n_tokens for plan in engine.plans)


def _alone(prompt: str, n_predict: int) -> str:
    return answer(FakeEngine(n_ctx=512), prompt, num_predict=n_predict).text


def test_common_beginning_of_requests_that_come_at_once_is_read_once() -> None:
    engine = FakeEngine(n_ctx=512, n_batch=32, n_cells=2048)
    loop = Loop(engine)
    prompts = [f"{TRUNK}I am traveller number {i}." for i in range(8)]
    sinks = [submit(loop, engine, p, p, num_predict=5) for p in prompts]
    drain(loop)
    assert [sink.text for sink in sinks] == [_alone(p, 5) for p in prompts]
    # All but the number is common; four of five tokens of an answer are evaluated.
    n_common = len(TRUNK + "I am traveller number ")
    assert _n_evaluated(engine) == n_common + 8 * (2 + 4)
    assert sorted(sink.finish.cached_tokens for sink in sinks) == [0] + 7 * [n_common]


def test_request_waits_for_a_beginning_only_until_it_is_read() -> None:
    engine = FakeEngine(n_ctx=512, n_batch=32, n_cells=2048)
    loop = Loop(engine)
    submit(loop, engine, "long", TRUNK + "and a long story: " + "x" * 200, num_predict=1)
    short = submit(loop, engine, "short", TRUNK + "short", num_predict=1)
    for _ in range(7):
        loop.step()
    assert short.is_over
    assert short.finish.cached_tokens == len(TRUNK)


def test_request_does_not_wait_for_a_few_tokens() -> None:
    engine = FakeEngine(n_ctx=512, n_batch=16)
    loop = Loop(engine)
    submit(loop, engine, "long", TRUNK, num_predict=1)
    other = submit(loop, engine, "other", TRUNK[:40] + "?", num_predict=1)
    loop.step()
    loop.step()
    assert {span.seq for span in engine.plans[0].spans} == {0, 1}
    drain(loop)
    assert other.finish.cached_tokens == 0


def test_request_behind_a_waiting_one_passes_it() -> None:
    engine = FakeEngine(n_ctx=512, n_batch=16)
    loop = Loop(engine)
    submit(loop, engine, "first", TRUNK, num_predict=1)
    waits = submit(loop, engine, "waits", TRUNK + "?", num_predict=1)
    other = submit(loop, engine, "other", "something else", num_predict=1)
    for _ in range(3):
        loop.step()
    assert (other.is_over, waits.events) == (True, [])


def test_request_whose_leader_is_cancelled_reads_on_from_there() -> None:
    engine = FakeEngine(n_ctx=512, n_batch=32)
    loop = Loop(engine)
    submit(loop, engine, "dead", TRUNK + "dead", num_predict=5)
    sinks = [submit(loop, engine, str(i), f"{TRUNK}{i}?", num_predict=5) for i in range(3)]
    loop.step()
    loop.cancel("dead")
    drain(loop)
    assert [sink.text for sink in sinks] == [_alone(f"{TRUNK}{i}?", 5) for i in range(3)]
    assert _n_evaluated(engine) == len(TRUNK) + 3 * (2 + 4)
    loop.check_integrity()


def test_trunk_outlives_its_old_tails_when_cells_run_out() -> None:
    engine = FakeEngine(n_ctx=512, n_batch=64, n_cells=512)
    loop = Loop(engine)
    for i in range(12):
        prompt = TRUNK + f"{i:02d}" * 40
        sink = submit(loop, engine, str(i), prompt, num_predict=4)
        drain(loop)
        assert sink.finish.cached_tokens >= (len(TRUNK) if i else 0)
        loop.check_integrity()


def test_finish_tells_why_a_prompt_was_not_cached() -> None:
    engine = FakeEngine(n_ctx=512, n_cells=512)
    loop = Loop(engine)
    found = []
    prompts = [
        (TRUNK, ""), (TRUNK, ""), (TRUNK + "a", ""), (TRUNK + "b", ""), (TRUNK, "other"),
        ("x" * 400, ""), (TRUNK, ""),
    ]  # fmt: skip
    for i, (prompt, tenant) in enumerate(prompts):
        sink = submit(loop, engine, str(i), prompt, num_predict=1, tenant=tenant)
        drain(loop)
        found.append((sink.finish.miss_reason, sink.finish.diverged_at))
    n = len(TRUNK)
    assert found == [
        ("new", None), (None, None), (None, None), (None, None), ("tenant", None),
        ("new", None), ("evicted", None),
    ]  # fmt: skip
    sink = submit(loop, engine, "last", TRUNK[: n - 9] + "otherwise", num_predict=1)
    drain(loop)
    assert (sink.finish.miss_reason, sink.finish.diverged_at) == ("diverged", n - 9)


def test_finish_says_where_the_time_went() -> None:
    ticks = itertools.count()
    engine = FakeEngine(n_ctx=512, n_batch=64)
    loop = Loop(engine, 1, clock=lambda: float(next(ticks)))
    sinks = [submit(loop, engine, name, f"{name} {TRUNK}", num_predict=6) for name in "ab"]
    drain(loop)
    first, second = (sink.finish for sink in sinks)
    assert 0 < first.queue_seconds < second.queue_seconds
    assert first.prefill_seconds == 3  # a pass takes a tick of this clock
    assert first.decode_seconds == 5
    assert first.sampling_seconds > 0


# Storms


def _storm(loop: Loop, engine: FakeEngine, seed: int) -> tuple[dict[str, Sink], set[str]]:
    """500 requests, half of them cancelled at some moment."""
    chance = random.Random(seed)
    trunks = ["", TRUNK[:70], TRUNK, TRUNK[:100] + "otherwise"]
    sinks: dict[str, Sink] = {}
    cancelled: set[str] = set()
    victims: list[str] = []
    for i in range(500):
        name = str(i)
        prompt = chance.choice(trunks) + "x" * chance.randint(1, 60)
        sinks[name] = submit(loop, engine, name, prompt, num_predict=chance.randint(1, 30))
        victims += [name] * chance.randint(0, 1)
        for _ in range(chance.choice([0, 0, 0, 1, 5])):
            loop.step()
        while victims and chance.random() < 0.6:
            victim = victims.pop(chance.randrange(len(victims)))
            if not sinks[victim].is_over:
                cancelled.add(victim)
            loop.cancel(victim)
        if i % 20 == 0:
            loop.check_integrity()
    return sinks, cancelled


@pytest.mark.parametrize("grain", [1, 16])
def test_storm_of_cancellations_leaves_nothing_behind(grain: int) -> None:
    engine = FakeEngine(n_ctx=256, n_batch=64, n_cells=1024, n_seq_max=32, grain=grain)
    loop = Loop(engine, 8)
    sinks, cancelled = _storm(loop, engine, seed=grain)
    drain(loop)
    assert len(cancelled) > 100
    assert all(sink.is_over == (name not in cancelled) for name, sink in sinks.items())
    loop.check_integrity()
    while loop._cache.evict():
        pass
    assert engine.free_cells == engine.info.n_cells
    assert len(loop._cache._free) == engine.info.n_seq_max
