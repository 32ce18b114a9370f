"""Adapters on both real engines: what they give is what the merged weights give."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cama.core.errors import EngineError, InvalidModelFile, UnsupportedModel
from cama.core.generation import Adapter, Adapters, combined
from cama.core.load import LoadOptions, PrefixFolder
from cama.engine.base import Logits, Plan, SeqId, Span
from cama.engine.llama.engine import LlamaEngine
from cama.engine.loop import Loop
from cama.engine.native.engine import NativeEngine
from cama.engine.prefix_store import PrefixStore
from cama.gguf import GGMLType
from tests.adapters import merge, write_adapter
from tests.engine.sinks import Sink, drain, generation

pytestmark = pytest.mark.native

RealEngine = NativeEngine | LlamaEngine
MakeAdapter = Callable[..., Adapter]

LOAD = LoadOptions(n_ctx=256, n_cells=512, n_batch=64, n_threads=1, cache_type="f32")
EXACT = 1e-4
HALF = 0.03  # half-precision adapters; the logits of these models spread over about 3
ROUGH = 0.1  # what is multiplied with quantized weights or adapters is quantized, in whole steps
TOKENS = tuple(range(30, 54))
A, B, C = SeqId(0), SeqId(1), SeqId(2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapters")


@pytest.fixture(params=["native-llama", "native-qwen2", "native-qwen3", "llama-llama"])
def case(request: pytest.FixtureRequest) -> tuple[type[RealEngine], str]:
    engine, architecture = request.param.split("-")
    return (NativeEngine if engine == "native" else LlamaEngine), architecture


@pytest.fixture
def base(case: tuple[type[RealEngine], str], tiny_model: Callable[..., Path]) -> Path:
    return tiny_model(case[1], "F32")


@pytest.fixture
def open_engine(case: tuple[type[RealEngine], str]) -> Iterator[Callable[[Path], RealEngine]]:
    opened: list[RealEngine] = []

    def make(path: Path) -> RealEngine:
        opened.append(case[0].open(path, LOAD, "test", lambda _: None))
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


@pytest.fixture
def engine(base: Path, open_engine: Callable[[Path], RealEngine]) -> RealEngine:
    return open_engine(base)


@pytest.fixture
def adapter(base: Path, folder: Path) -> MakeAdapter:
    """Makes an adapter of the base, once: ``adapter(seed=2, rank=16)``."""

    def make(seed: int = 1, **options: object) -> Adapter:
        name = f"{base.stem}-{seed}-{'-'.join(map(str, options.values()))}.gguf"
        return write_adapter(folder / name, base, seed=seed, **options)  # type: ignore[arg-type]

    return make


def feed(engine: RealEngine, seq: SeqId, adapters: Adapters = ()) -> Logits:
    """Logits behind the last two tokens of a prompt, and behind a token that follows."""
    n = len(TOKENS)
    first = engine.forward(Plan((Span(seq, 0, TOKENS, 2, adapters),))).copy()
    second = engine.forward(Plan((Span(seq, n, (7,), 1, adapters),))).copy()
    return np.concatenate((first, second))


def held(engine: RealEngine, *adapters: Adapter) -> Adapters:
    together = combined(adapters)
    engine.hold_adapters(together)
    return together


def distance(a: Logits, b: Logits) -> float:
    return float(np.abs(a - b).max())


def variants(adapter: MakeAdapter) -> dict[str, tuple[Sequence[Adapter], float]]:
    one, half = adapter(1), adapter(3, kind=GGMLType.F16, alpha=0.0)
    return {
        "one": ([one], EXACT),
        "less of it": ([replace(one, scale=0.25)], EXACT),
        "the opposite": ([replace(one, scale=-1.0)], EXACT),
        "odd rank": ([adapter(2, rank=11)], EXACT),
        "some weights": ([adapter(4, only="attn_v")], EXACT),
        "half precision": ([half], HALF),
        "quantized": ([adapter(5, kind=GGMLType.Q8_0)], ROUGH),
        "two added": ([one, replace(adapter(2, rank=11), scale=0.5)], EXACT),
        "two precisions": ([one, half], HALF),
    }


@pytest.mark.parametrize(
    "name",
    ["one", "less of it", "the opposite", "odd rank", "some weights", "half precision",
     "quantized", "two added", "two precisions"],
)  # fmt: skip
def test_adapter_equals_merged_weights(
    name: str,
    engine: RealEngine,
    base: Path,
    open_engine: Callable[[Path], RealEngine],
    adapter: MakeAdapter,
    tmp_path: Path,
) -> None:
    adapters, tolerance = variants(adapter)[name]
    found = feed(engine, A, held(engine, *adapters))
    merged = feed(open_engine(merge(tmp_path / "merged.gguf", base, *adapters)), A)
    assert distance(found, merged) <= tolerance
    assert distance(found, feed(engine, B)) > 10 * HALF  # it does something


def test_adapter_leaves_nothing_behind(engine: RealEngine, adapter: MakeAdapter) -> None:
    plain = feed(engine, A)
    adapters = held(engine, adapter(1))
    changed = feed(engine, B, adapters)
    engine.truncate(A, 0)
    assert distance(feed(engine, A), plain) <= EXACT
    engine.release_adapters(adapters)
    engine.truncate(B, 0)
    assert distance(feed(engine, B), plain) <= EXACT
    engine.truncate(B, 0)
    assert distance(feed(engine, B, held(engine, adapter(1))), changed) <= EXACT


def test_engines_agree(tiny_model: Callable[..., Path], folder: Path, tmp_path: Path) -> None:
    """On quantized weights as well, which nothing can be merged into."""
    base = tiny_model("llama", "Q4_K_M")
    adapters = (write_adapter(tmp_path / "a.gguf", base, rank=8, kind=GGMLType.F16),)
    found = []
    for kind in (NativeEngine, LlamaEngine):
        engine = kind.open(base, LOAD, "test", lambda _: None)
        engine.hold_adapters(adapters)
        found.append(feed(engine, A, adapters))
        engine.close()
    assert distance(*found) <= ROUGH


def test_state_with_an_adapter_is_saved_and_restored(
    engine: RealEngine, adapter: MakeAdapter
) -> None:
    adapters = held(engine, adapter(1))
    expected = feed(engine, A, adapters)[-1:]
    state = engine.save(A, len(TOKENS))
    engine.restore(B, state)
    row = engine.forward(Plan((Span(B, len(TOKENS), (7,), 1, adapters),)))
    assert distance(row, expected) <= EXACT


def test_adapters_that_nobody_holds_are_refused(engine: RealEngine, adapter: MakeAdapter) -> None:
    with pytest.raises(EngineError, match="not loaded"):
        feed(engine, A, (adapter(1),))
    expected = feed(engine, A)
    engine.truncate(A, 0)
    assert distance(feed(engine, A, held(engine)), expected) == 0


def test_adapter_that_does_not_fit_is_refused(
    engine: RealEngine, adapter: MakeAdapter, tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    good = adapter(1)
    foreign = write_adapter(
        tmp_path / "a.gguf", tiny_model("llama", "F32"), metadata={"general.architecture": "gemma"}
    )
    with pytest.raises(InvalidModelFile, match="the adapter is for gemma"):
        engine.hold_adapters((good, foreign))
    expected = feed(engine, A)
    engine.truncate(A, 0)
    assert distance(feed(engine, A), expected) == 0


def test_what_an_engine_cannot_change_is_refused(
    engine: RealEngine, base: Path, tmp_path: Path
) -> None:
    """An embedding's table: libllama would end the process where the output shares it."""
    path = tmp_path / "a.gguf"
    write_adapter(path, base, only="attn_q")
    data = path.read_bytes()
    old, new = b"blk.0.attn_q.weight", b"token_embd.weight"
    length = (len(old) + 7).to_bytes(8, "little"), (len(new) + 7).to_bytes(8, "little")
    for half in (b".lora_a", b".lora_b"):
        data = data.replace(length[0] + old + half, length[1] + new + half)
    path.write_bytes(data + bytes(64))
    with pytest.raises((UnsupportedModel, InvalidModelFile)):
        engine.hold_adapters((Adapter(path=path, digest="x"),))


# Many in one pass, which the native engine computes


@pytest.fixture
def native(tiny_model: Callable[..., Path]) -> Iterator[NativeEngine]:
    engine = NativeEngine.open(tiny_model("llama", "F32"), LOAD, "test", lambda _: None)
    yield engine
    engine.close()


@pytest.fixture
def several(tiny_model: Callable[..., Path], folder: Path) -> list[Adapters]:
    """No adapter, and several of different ranks and weights; two together."""
    base = tiny_model("llama", "F32")

    def make(seed: int, **options: object) -> Adapter:
        return write_adapter(folder / f"several-{seed}.gguf", base, seed=seed, **options)  # type: ignore[arg-type]

    one, two = make(11), make(12, rank=20)
    values = make(13, rank=3, only="attn_v")
    return [(), (one,), (two,), (values,), combined([one, two]), (replace(one, scale=0.5),)]


def test_rows_of_one_pass_have_adapters_of_their_own(
    native: NativeEngine, several: list[Adapters]
) -> None:
    """Prompts of different lengths in one pass, then a step of all of them."""
    for adapters in several[1:]:
        native.hold_adapters(adapters)
    prompts = [tuple(range(20 + i, 26 + 2 * i)) for i in range(len(several))]
    seqs = [SeqId(i) for i in range(len(several))]
    alone = []
    for seq, prompt, adapters in zip(seqs, prompts, several, strict=True):
        first = native.forward(Plan((Span(seq, 0, prompt, 1, adapters),))).copy()
        step = native.forward(Plan((Span(seq, len(prompt), (9,), 1, adapters),))).copy()
        alone.append((first[0], step[0]))
        native.truncate(seq, 0)
    every = list(zip(seqs, prompts, several, strict=True))
    firsts = native.forward(Plan(tuple(Span(s, 0, p, 1, a) for s, p, a in every))).copy()
    steps = native.forward(Plan(tuple(Span(s, len(p), (9,), 1, a) for s, p, a in every))).copy()
    for i, (first, step) in enumerate(alone):
        assert distance(firsts[i], first) <= EXACT
        assert distance(steps[i], step) <= EXACT
    assert min(distance(steps[i], steps[j]) for i in range(6) for j in range(i)) > HALF


def test_sets_come_and_go_while_others_run(native: NativeEngine, several: list[Adapters]) -> None:
    """A stack is made anew for what does not fit, and for what is one too many."""
    running = several[3]
    native.hold_adapters(running)
    expected = feed(native, A, running)
    native.truncate(A, 0)
    native.forward(Plan((Span(A, 0, TOKENS, 2, running),)))
    for scale in range(1, 9):
        native.hold_adapters((replace(several[2][0], scale=scale / 8),))
    found = native.forward(Plan((Span(A, len(TOKENS), (7,), 1, running),)))
    assert distance(found, expected[-1:]) <= EXACT
    for scale in range(1, 9):
        native.release_adapters((replace(several[2][0], scale=scale / 8),))


def test_pass_without_adapters_is_computed_as_ever(
    native: NativeEngine, several: list[Adapters]
) -> None:
    plain = feed(native, A)
    native.hold_adapters(several[1])
    native.truncate(A, 0)
    feed(native, B, several[1])
    nodes = native._graphs._current
    assert nodes is not None
    n_with = len(nodes.graph.nodes)
    assert distance(feed(native, A), plain) == 0
    nodes = native._graphs._current
    assert nodes is not None
    assert len(nodes.graph.nodes) < n_with


def test_libllama_takes_one_set_in_a_pass(
    tiny_model: Callable[..., Path], several: list[Adapters]
) -> None:
    engine = LlamaEngine.open(tiny_model("llama", "F32"), LOAD, "test", lambda _: None)
    engine.hold_adapters(several[1])
    with pytest.raises(EngineError, match="the same adapters for all"):
        engine.forward(Plan((Span(A, 0, (1, 2), 1, several[1]), Span(B, 0, (1, 2), 1))))
    engine.close()


# Through the loop


def answers(loop: Loop, sets: Sequence[Adapters]) -> list[Sink]:
    """Greedy answers to one prompt, with all ``sets`` at the same time."""
    sinks = [Sink() for _ in sets]
    for i, (adapters, sink) in enumerate(zip(sets, sinks, strict=True)):
        wanted = generation(num_predict=12, adapters=adapters)
        loop.submit(f"{i}", list(range(30, 80)), wanted, sink)
    drain(loop)
    loop.check_integrity()
    return sinks


def forget(loop: Loop) -> None:
    """Empty the cache."""
    while loop._cache.evict():
        pass


@pytest.mark.parametrize("kind", [NativeEngine, LlamaEngine])
def test_requests_with_different_adapters_answer_as_alone(
    kind: type[RealEngine], tiny_model: Callable[..., Path], several: list[Adapters]
) -> None:
    engine = kind.open(tiny_model("llama", "F32"), LOAD, "test", lambda _: None)
    alone = []
    for adapters in several:
        loop = Loop(engine)
        alone.append(answers(loop, [adapters])[0].text)
        forget(loop)
    loop = Loop(engine)
    together = answers(loop, several)
    assert [sink.text for sink in together] == alone
    assert len(set(alone)) == len(several)
    assert {sink.finish.cached_tokens for sink in together} == {0}
    again = answers(loop, several)
    assert [sink.text for sink in again] == alone
    assert {sink.finish.cached_tokens for sink in again} == {49}
    engine.close()


@pytest.mark.parametrize("kind", [NativeEngine, LlamaEngine])
def test_prefixes_on_disk_are_of_one_set_of_adapters(
    kind: type[RealEngine],
    tiny_model: Callable[..., Path],
    several: list[Adapters],
    tmp_path: Path,
) -> None:
    engine = kind.open(tiny_model("llama", "F32"), LOAD, "test", lambda _: None)
    folder = PrefixFolder(path=tmp_path / "prefix", max_bytes=1 << 30, min_seconds=0)
    sets = several[1:3]

    def restored(adapters: Adapters) -> tuple[int, str]:
        """Tokens that a fresh loop has from disk, and the answer."""
        store = PrefixStore(folder, "0123456789abcdef")
        loop = Loop(engine, 4, store)
        sink = Sink()
        wanted = generation(num_predict=12, adapters=adapters)
        loop.submit("only", list(range(30, 130)), wanted, sink)
        while not sink.is_over:
            loop.step()
        forget(loop)
        store.close()
        return sink.finish.restored_tokens, sink.text

    first = [restored(adapters) for adapters in sets]
    second = [restored(adapters) for adapters in sets]
    assert [n for n, _ in first] == [0, 0]
    assert [n for n, _ in second] == [99, 99]
    assert [text for _, text in first] == [text for _, text in second]
    engine.close()
