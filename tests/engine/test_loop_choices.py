"""Several answers to one prompt: it is computed once, and its cells are shared."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cama.core.generation import Sampling, choices
from cama.core.load import LoadOptions
from cama.engine.base import Engine, Logits, Plan
from cama.engine.llama.engine import LlamaEngine
from cama.engine.loop import Loop
from cama.engine.native.engine import NativeEngine
from tests.engine.fake import FakeEngine
from tests.engine.sinks import Sink, drain, generation

N_PREDICT = 6


def test_choices_have_seeds_of_their_own() -> None:
    seeded = choices(generation("x", sampling=Sampling(seed=5)), 3)
    assert [one.sampling.seed for one in seeded] == [5, 6, 7]
    assert all(one.prompt == "x" for one in seeded)
    free = choices(generation("x", sampling=Sampling()), 2)
    assert [one.sampling.seed for one in free] == [-1, -1]  # a random one for each
    assert choices(generation("x"), 1) == (generation("x"),)


def test_no_seed_of_a_choice_means_a_random_one() -> None:
    seeds = [one.sampling.seed for one in choices(generation(sampling=Sampling(seed=-3)), 5)]
    assert -1 not in seeds
    assert len(set(seeds)) == 5


def _fake(n_batch: int) -> Engine:
    return FakeEngine(n_ctx=256, n_batch=n_batch, n_cells=1024, n_seq_max=12)


@pytest.fixture(params=["fake", "native", "llama"])
def make(tiny_model: Callable[..., Path], request: pytest.FixtureRequest) -> Iterator[object]:
    opened: list[Engine] = []

    def make(n_batch: int) -> Engine:
        if request.param == "fake":
            return _fake(n_batch)
        kind = NativeEngine if request.param == "native" else LlamaEngine
        load = LoadOptions(n_ctx=256, n_batch=n_batch, n_cells=1024, n_threads=1, cache_type="f32")
        opened.append(kind.open(tiny_model("llama", "F32"), load, "test", lambda _: None))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


def _count(engine: Engine) -> list[int]:
    """The tokens of each pass that ``engine`` will compute."""
    sizes: list[int] = []
    forward = engine.forward

    def counted(plan: Plan) -> Logits:
        sizes.append(plan.n_tokens)
        return forward(plan)

    engine.forward = counted  # type: ignore[method-assign]
    return sizes


@pytest.mark.native
@pytest.mark.parametrize("n_prompt", [3, 20, 63, 150])
@pytest.mark.parametrize(("n", "n_parallel"), [(4, 8), (7, 3)])
def test_prompt_of_several_answers_is_computed_once(
    make: Callable[[int], Engine], n_prompt: int, n: int, n_parallel: int
) -> None:
    engine = make(64)
    sizes = _count(engine)
    loop = Loop(engine, n_parallel)
    prompt = [97 + i % 23 for i in range(n_prompt)]
    wanted = generation(sampling=Sampling(seed=11), num_predict=N_PREDICT)
    sinks = [Sink() for _ in range(n)]
    for i, (one, sink) in enumerate(zip(choices(wanted, n), sinks, strict=True)):
        loop.submit(str(i), prompt, one, sink)
    most_cells = 0
    while loop.step():
        loop.check_integrity()
        most_cells = max(most_cells, engine.info.n_cells - engine.free_cells)
    # Each answer begins with the prompt's last token, and its own last one is not evaluated.
    n_answers = sum(sink.finish.eval_tokens for sink in sinks)
    assert sum(sizes) <= n_prompt + n_answers
    assert most_cells <= n_prompt + n_answers
    assert sorted(sink.finish.cached_tokens for sink in sinks) == [0] + [n_prompt - 1] * (n - 1)
    assert len({sink.text for sink in sinks}) > 1
    while loop._cache.evict():
        pass
    assert sinks[2].text == _alone(engine, prompt, choices(wanted, n)[2].sampling)


def _alone(engine: Engine, prompt: list[int], sampling: Sampling) -> str:
    loop, sink = Loop(engine), Sink()
    loop.submit("only", prompt, generation(sampling=sampling, num_predict=N_PREDICT), sink)
    drain(loop)
    return sink.text
