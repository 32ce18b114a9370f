"""Many requests on the loop: who goes into a pass, who waits, who makes room."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cama.core.errors import CacheFull
from cama.core.generation import Sampling
from cama.engine.base import Logits, Plan
from cama.engine.batcher import allot
from cama.engine.loop import Loop
from tests.engine.fake import FakeEngine
from tests.engine.sinks import Sink, answer, drain, submit

LONG = "A long story about a camel. " * 8


@given(st.lists(st.integers(1, 500), min_size=1, max_size=12), st.integers(1, 256), st.integers(0))
def test_allot_spends_the_budget_and_no_more(pending: list[int], budget: int, turn: int) -> None:
    shares = allot(pending, budget, turn, [n % 3 == 0 for n in pending])
    assert sum(shares) == min(sum(pending), budget)
    assert all(0 <= share <= n for share, n in zip(shares, pending, strict=True))


def test_allot_serves_generating_sequences_first() -> None:
    assert allot([900, 1, 1, 800], 4, 0, [False] * 4) == [1, 1, 1, 1]
    assert allot([900, 1, 1], 2, 0, [False, True, False]) == [0, 1, 1]


def test_allot_gives_short_prompts_all_and_the_rest_to_long_ones() -> None:
    assert allot([1000, 10, 1000], 110, 0, [False] * 3) == [50, 10, 50]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=9), st.integers(1, 8))
def test_allot_starves_nobody(pending: list[int], budget: int) -> None:
    served: set[int] = set()
    for turn in range(len(pending)):
        shares = allot(pending, budget, turn, [False] * len(pending))
        served |= {i for i, share in enumerate(shares) if share}
    ones = [i for i, n in enumerate(pending) if n == 1]
    assert served >= (set(range(len(pending))) if budget > len(ones) else set(ones))


def _run_together(engine: FakeEngine, prompts: list[str], n_predict: int = 24) -> list[Sink]:
    loop = Loop(engine)
    sinks = [
        submit(loop, engine, str(i), prompt, num_predict=n_predict)
        for i, prompt in enumerate(prompts)
    ]
    drain(loop)
    return sinks


def _alone(prompt: str, n_predict: int = 24, n_ctx: int = 256) -> str:
    return answer(FakeEngine(n_ctx=n_ctx), prompt, num_predict=n_predict).text


def test_many_requests_answer_as_each_would_alone() -> None:
    prompts = [f"{LONG[: 7 * i]}question {i}" for i in range(20)]
    sinks = _run_together(FakeEngine(n_ctx=256), prompts)
    assert [sink.text for sink in sinks] == [_alone(prompt) for prompt in prompts]


def test_requests_share_passes() -> None:
    engine = FakeEngine()
    _run_together(engine, ["one", "two", "three"], n_predict=10)
    assert len(engine.plans) == 10
    assert all(len(plan.spans) == 3 for plan in engine.plans)


def test_prompt_is_read_in_chunks_of_the_batch_size() -> None:
    engine = FakeEngine(n_batch=10)
    _run_together(engine, ["x" * 35], n_predict=1)
    assert [plan.n_tokens for plan in engine.plans] == [10, 10, 10, 5]
    assert [plan.n_outputs for plan in engine.plans] == [0, 0, 0, 1]


def test_generation_goes_on_while_a_long_prompt_is_read() -> None:
    engine = FakeEngine(n_batch=16)
    loop = Loop(engine)
    first = submit(loop, engine, "first", "short", num_predict=30)
    loop.step()
    submit(loop, engine, "long", LONG[:200], num_predict=1)
    n_before = len(first.chunks)
    for _ in range(10):
        loop.step()
    assert len(first.chunks) == n_before + 10


def test_short_prompt_does_not_wait_for_a_long_one() -> None:
    engine = FakeEngine(n_batch=16)
    loop = Loop(engine)
    submit(loop, engine, "long", LONG[:200], num_predict=1)
    short = submit(loop, engine, "short", "short", num_predict=5)
    loop.step()
    assert len(short.chunks) == 1


def test_requests_beyond_the_sequence_ids_wait_in_order() -> None:
    engine = FakeEngine(n_seq_max=2)
    loop = Loop(engine)
    sinks = [submit(loop, engine, name, name * 3, num_predict=4) for name in "abcd"]
    started: list[int] = []
    while loop.step():
        started += [i for i, sink in enumerate(sinks) if sink.events and i not in started]
        n_running = sum(bool(sink.events) and not sink.is_over for sink in sinks)
        assert n_running <= 2
    assert started == [0, 1, 2, 3]


def test_more_sequences_than_the_batch_holds_all_get_their_turn() -> None:
    prompts = [f"prompt {i}" for i in range(6)]
    sinks = _run_together(FakeEngine(n_batch=2), prompts)
    assert [sink.text for sink in sinks] == [_alone(prompt) for prompt in prompts]


def test_request_waits_until_its_prompt_fits() -> None:
    engine = FakeEngine(n_ctx=64, n_cells=64)
    loop = Loop(engine)
    first = submit(loop, engine, "first", "a" * 40, num_predict=10)
    second = submit(loop, engine, "second", "b" * 40, num_predict=10)
    while not first.is_over:
        assert not second.events
        loop.step()
    drain(loop)
    assert second.text == _alone("b" * 40, 10)


def test_full_pool_preempts_and_the_text_continues_seamlessly() -> None:
    engine = FakeEngine(n_ctx=64, n_cells=96)
    prompts = ["a camel ", "a llama ", "a goat "]
    sinks = _run_together(engine, prompts, n_predict=50)
    assert [sink.text for sink in sinks] == [_alone(p, 50, n_ctx=64) for p in prompts]
    n_written = sum(plan.n_tokens for plan in engine.plans)
    assert n_written > sum(len(p) + 49 for p in prompts)  # some tokens were evaluated twice


def test_preemption_takes_the_youngest() -> None:
    engine = FakeEngine(n_ctx=64, n_cells=64)
    loop = Loop(engine)
    old = submit(loop, engine, "old", "old", num_predict=50)
    young = submit(loop, engine, "young", "young", num_predict=50)
    while not old.is_over:
        loop.step()
    assert not young.is_over
    drain(loop)
    assert (old.finish.eval_tokens, young.finish.eval_tokens) == (50, 50)


def test_preempted_seeded_request_repeats_itself() -> None:
    sampling = Sampling(temperature=1.0, seed=3)
    expected = answer(FakeEngine(n_ctx=64), "young", sampling=sampling, num_predict=50).text
    engine = FakeEngine(n_ctx=64, n_cells=64)
    loop = Loop(engine)
    submit(loop, engine, "old", "old", num_predict=50)
    young = submit(loop, engine, "young", "young", sampling=sampling, num_predict=50)
    drain(loop)
    assert young.text == expected


def test_idle_prefixes_make_room_before_anyone_is_preempted() -> None:
    engine = FakeEngine(n_ctx=64, n_cells=128)
    loop = Loop(engine)
    for i in range(3):
        submit(loop, engine, f"idle {i}", f"{i}" * 40, num_predict=1)
        drain(loop)
    sink = submit(loop, engine, "new", "n" * 60, num_predict=4)
    n_before = len(engine.plans)
    drain(loop)
    assert sink.text == _alone("n" * 60, 4, n_ctx=64)
    assert sum(plan.n_tokens for plan in engine.plans[n_before:]) == 63


class _Tight(FakeEngine):
    """Has ``hidden`` cells less than it says, as an engine that needs some for itself."""

    hidden = 20

    def forward(self, plan: Plan) -> Logits:
        if plan.n_tokens > self.free_cells - self.hidden:
            raise CacheFull("no free cells for the plan")
        return super().forward(plan)


def test_engine_with_fewer_cells_than_it_says_gives_up_sequences_one_by_one() -> None:
    sinks = _run_together(_Tight(n_ctx=64, n_cells=96), ["a camel ", "a llama "], n_predict=40)
    assert [sink.text for sink in sinks] == [_alone(p, 40) for p in ("a camel ", "a llama ")]


def test_request_that_can_never_run_gets_the_engines_error() -> None:
    sink = answer(_Tight(n_ctx=64, n_cells=64), "a" * 60)
    assert isinstance(sink.error, CacheFull)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_mix_of_requests_ends_as_each_would_alone(data: st.DataObject) -> None:
    engine = FakeEngine(
        n_ctx=48,
        n_batch=data.draw(st.integers(1, 24)),
        n_cells=data.draw(st.integers(48, 160)),
        n_seq_max=data.draw(st.integers(1, 5)),
        grain=data.draw(st.sampled_from([1, 1, 4])),
    )
    prompts = data.draw(st.lists(st.text("ab", min_size=1, max_size=40), min_size=1, max_size=8))
    counts = [data.draw(st.integers(1, 48 - len(prompt))) for prompt in prompts]
    loop = Loop(engine)
    sinks = []
    for i, (prompt, n) in enumerate(zip(prompts, counts, strict=True)):
        sinks.append(submit(loop, engine, str(i), prompt, num_predict=n))
        for _ in range(data.draw(st.integers(0, 4))):
            loop.step()
    drain(loop)
    expected = [_alone(prompt, n) for prompt, n in zip(prompts, counts, strict=True)]
    assert [sink.text for sink in sinks] == expected


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_mix_with_cancellations_comes_to_rest_and_loses_no_cell(data: st.DataObject) -> None:
    engine = FakeEngine(
        n_ctx=24,
        n_batch=data.draw(st.integers(1, 16)),
        n_cells=data.draw(st.integers(16, 64)),
        n_seq_max=data.draw(st.integers(1, 4)),
        grain=data.draw(st.sampled_from([1, 4])),
        can_shift=data.draw(st.booleans()),
    )
    loop = Loop(engine)
    sinks: list[Sink] = []
    cancelled: set[int] = set()
    for i in range(data.draw(st.integers(1, 10))):
        prompt = data.draw(st.text("ab", min_size=1, max_size=40))
        options = {"num_predict": data.draw(st.integers(1, 60)), "shift": data.draw(st.booleans())}
        sinks.append(submit(loop, engine, str(i), prompt, **options))
        for _ in range(data.draw(st.integers(0, 6))):
            loop.step()
        victim = data.draw(st.integers(0, 20))
        if victim <= i and not sinks[victim].is_over:
            loop.cancel(str(victim))
            cancelled.add(victim)
    drain(loop)
    assert [sink.is_over for sink in sinks] == [i not in cancelled for i in range(len(sinks))]
    while loop._cache.evict():
        pass
    assert engine.free_cells == engine.info.n_cells


@pytest.mark.parametrize("n_cells", [64, 100, 333])
def test_no_cell_is_lost(n_cells: int) -> None:
    engine = FakeEngine(n_ctx=64, n_cells=n_cells, n_seq_max=3)
    loop = Loop(engine)
    for i, size in itertools.product(range(3), (5, 30, 60, 11)):
        submit(loop, engine, f"{i} {size}", f"{i}" * size, num_predict=20)
    drain(loop)
    while loop._cache.evict():
        pass
    assert engine.free_cells == n_cells


def test_no_more_requests_run_than_may_run_in_parallel() -> None:
    widths: list[int] = []
    engine = FakeEngine(on_forward=lambda plan: widths.append(len(plan.spans)))
    loop = Loop(engine, 2)
    sinks = [submit(loop, engine, str(i), f"prompt {i}", num_predict=4) for i in range(5)]
    drain(loop)
    assert all(sink.finish.eval_tokens == 4 for sink in sinks)
    assert max(widths) == 2
