"""Images through libllama's engine: as libmtmd's own helpers see them, cached, cut and refused."""

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cama.core.errors import (
    EngineError,
    Interrupted,
    InvalidModelFile,
    InvalidRequest,
    LoadFailed,
    ModelNotFound,
    PromptTooLong,
    Unsupported,
    UnsupportedModel,
)
from cama.core.load import LoadOptions, PrefixFolder
from cama.engine.base import Logits, Plan, Prompt, SeqId, Span
from cama.engine.llama.engine import LlamaEngine
from cama.engine.llama.projector import _NODES
from cama.engine.loop import Loop
from cama.engine.prefix_file import read_header
from cama.engine.prefix_store import PrefixStore, identity
from cama.engine.select import open_engine
from cama.gguf import GGMLType, GGUFFile, TensorSource, write_gguf
from cama.gguf.encode import Writable
from cama.runner.pictures import look
from tests.engine.mtmd_reference import reference
from tests.engine.sinks import Sink, drain, generation, submit
from tests.projectors import SEES, make_projector, png
from tests.rewriting import rewrite

pytestmark = pytest.mark.native

A, B = SeqId(0), SeqId(1)

MARK = "<__media__>"


class Seer:
    """An engine that sees, and its files."""

    def __init__(self, model: Path, projector: Path, **load: Any) -> None:
        self.model, self.projector = model, projector
        defaults: dict[str, Any] = {"n_ctx": 2048, "n_threads": 1, "cache_type": "f32"}
        self.load = LoadOptions(**{**defaults, **load, "projector": projector})
        self.engine = LlamaEngine.open(model, self.load, "test", lambda _: None)

    def prompt(self, text: str, *images: bytes, **options: Any) -> Prompt:
        """That of a text with a mark for each image."""
        encoded = tuple(b64encode(image).decode() for image in images)
        for n in range(len(images)):
            text = text.replace(MARK, f"[img-{n}]", 1)
        return look(self.engine, generation(text, images=encoded, **options))

    def ask(self, loop: Loop, name: str, text: str, *images: bytes, **options: Any) -> Sink:
        """Hand a request to ``loop``."""
        sink, prompt = Sink(), self.prompt(text, *images)
        loop.submit(name, prompt.tokens, generation(**options), sink, prompt.images)
        return sink

    def answer(self, text: str, *images: bytes, **options: Any) -> Sink:
        """One request, alone on a fresh loop that starts with an empty cache."""
        loop = Loop(self.engine)
        sink = self.ask(loop, "only", text, *images, **options)
        drain(loop)
        for seq in range(self.engine.info.n_seq_max):
            self.engine.truncate(SeqId(seq), 0)
        return sink


@pytest.fixture(scope="module")
def seers(
    tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Seer]]:
    """By architecture; each is loaded once, and has an empty cache."""
    folder, made = tmp_path_factory.mktemp("seers"), dict[str, Seer]()

    def find(architecture: str) -> Seer:
        if architecture not in made:
            projector = make_projector(folder / f"{architecture}.gguf", SEES[architecture])
            made[architecture] = Seer(tiny_model(architecture, "F32"), projector)
        engine = made[architecture].engine
        for seq in range(engine.info.n_seq_max):
            engine.truncate(SeqId(seq), 0)
        return made[architecture]

    yield find
    for seer in made.values():
        seer.engine.close()


@pytest.fixture(params=sorted(SEES))
def seer(request: pytest.FixtureRequest, seers: Callable[[str], Seer]) -> Seer:
    return seers(request.param)


def evaluate(engine: LlamaEngine, prompt: Prompt, seq: SeqId = A) -> Logits:
    """Evaluate a prompt span by span; the logits behind it."""
    start, row = 0, np.empty(0, np.float32)
    starts = {placed.start: placed for placed in prompt.images}
    while start < len(prompt.tokens):
        placed = starts.get(start)
        end = min((at for at in starts if at > start), default=len(prompt.tokens))
        end = placed.end if placed else min(end, start + engine.info.n_batch)
        image = placed.image if placed else None
        span = Span(seq, start, prompt.tokens[start:end], int(end == len(prompt.tokens)), (), image)
        rows = engine.forward(Plan((span,)))
        row = rows[-1].copy() if len(rows) else row
        start = end
    return row


TEXTS = [
    (f"what is {MARK} here?", [png(1)]),
    (f"{MARK}{MARK} and {MARK}.", [png(1), png(2, 64, 64), png(1)]),
    (f"a tall one: {MARK}\n", [png(3, 20, 90)]),
]


@pytest.mark.parametrize(("text", "images"), TEXTS)
def test_images_are_seen_as_libmtmd_sees_them(
    seer: Seer, text: str, images: Sequence[bytes]
) -> None:
    with reference(seer.model, seer.projector, seer.load) as other:
        expected = other.logits(text, images)
        tokens = other.greedy(text, images, 12)
    found = evaluate(seer.engine, seer.prompt(text, *images))
    assert float(np.abs(found - expected).max()) <= 1e-4
    seer.engine.truncate(A, 0)
    sink = seer.answer(text, *images, num_predict=12, logprobs=0)
    logprobs = [one.token for chunk in sink.chunks for one in chunk.logprobs]
    assert logprobs == tokens[: len(logprobs)]
    assert len(logprobs) >= 11  # an end is not among them


def test_parts_of_a_picture_are_seen_as_libmtmd_sees_them(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    projector = make_projector(tmp_path / "p.gguf", "idefics3")
    plain = tiny_model("qwen3", "F32")
    seer = Seer(plain, projector)
    try:
        with pytest.raises(Unsupported, match="vocabulary lacks the tokens"):
            seer.prompt(MARK, png(1))
    finally:
        seer.engine.close()
    with GGUFFile.open(plain) as file:
        words = file.get("tokenizer.ggml.tokens")
    words[-3:] = ["\n\n", "<fake_token_around_image>", "<global-img>"]
    text, image = f"what is {MARK} here?", png(1)
    seer = Seer(rewrite(plain, tmp_path / "m.gguf", {"tokenizer.ggml.tokens": words}), projector)
    try:
        prompt = seer.prompt(text, image)
        assert len(prompt.images) == 5  # four parts, and all of it
        assert len({placed.image.tokens[0] for placed in prompt.images}) == 5
        found = evaluate(seer.engine, prompt)
        seer.engine.truncate(A, 0)
        sink = seer.answer(text, image, num_predict=3)
    finally:
        seer.engine.close()
    assert sink.finish.prompt_tokens == len(prompt.tokens)
    with reference(seer.model, projector, seer.load) as other:
        assert float(np.abs(found - other.logits(text, [image])).max()) <= 1e-4


def test_another_image_gives_another_answer(seer: Seer) -> None:
    text = f"what is {MARK} here?"
    rows = []
    for seed in (1, 2):
        rows.append(evaluate(seer.engine, seer.prompt(text, png(seed))))
        seer.engine.truncate(A, 0)
    assert float(np.abs(rows[0] - rows[1]).max()) > 0


def test_equal_images_are_cached_and_others_are_not(seer: Seer) -> None:
    loop, text = Loop(seer.engine), f"see {MARK} and tell me what it is"
    first = seer.ask(loop, "first", text, png(1), num_predict=3)
    drain(loop)
    again = seer.ask(loop, "again", text, png(1), num_predict=3)
    drain(loop)
    other = seer.ask(loop, "other", text, png(2), num_predict=3)
    drain(loop)
    loop.check_integrity()
    assert first.finish.cached_tokens == 0
    assert again.text == first.text
    assert again.finish.cached_tokens == again.finish.prompt_tokens - 1
    (placed,) = seer.prompt(text, png(2)).images
    if seer.engine.info.can_cut:
        assert other.finish.cached_tokens == placed.start
        assert other.finish.miss_reason == "diverged"
    else:  # a running state may have been remembered in front of it
        assert other.finish.cached_tokens <= placed.start


def test_what_is_saved_ends_in_front_of_an_image(
    seers: Callable[[str], Seer], tmp_path: Path
) -> None:
    seer, text = seers("qwen2vl"), f"{'a' * 100} see {MARK} and tell me what it is"
    (placed,) = seer.prompt(text, png(1)).images
    name = identity(seer.model, seer.engine.info, seer.load)
    folder = PrefixFolder(path=tmp_path, max_bytes=1 << 30, min_seconds=0.0)
    finishes = []
    for _ in range(2):
        store = PrefixStore(folder, name)
        loop = Loop(seer.engine, store=store)
        sink = seer.ask(loop, "only", text, png(1), num_predict=5)
        while not sink.is_over:
            loop.step()
        store.close()
        finishes.append((sink.text, sink.finish))
        seers("qwen2vl")
    (first, _), (again, finish) = finishes
    assert again == first
    assert finish.restored_tokens in (0, placed.start)  # 0 where reading it would not pay
    (file,) = tmp_path.glob("*.prefix")
    header, tokens = read_header(file)
    assert header.n_tokens == len(tokens) == placed.start


def test_an_image_at_the_end_is_read_again_as_a_whole(seers: Callable[[str], Seer]) -> None:
    """The last token of a prompt is always evaluated, and an image has no last token alone."""
    seer = seers("llama")
    loop, text = Loop(seer.engine), f"see {MARK}"
    sinks = []
    for name in ("first", "again"):
        sinks.append(seer.ask(loop, name, text, png(1), num_predict=4))
        drain(loop)
        loop.check_integrity()
    (placed,) = seer.prompt(text, png(1)).images
    assert placed.end == sinks[0].finish.prompt_tokens
    assert sinks[1].finish.cached_tokens == placed.start
    assert sinks[1].text == sinks[0].text


def test_images_do_not_disturb_what_is_generated_beside_them(seer: Seer) -> None:
    alone = Loop(seer.engine)
    plain = submit(alone, seer.engine, "plain", "Hello there", num_predict=20)
    drain(alone)
    for seq in range(4):
        seer.engine.truncate(SeqId(seq), 0)
    loop = Loop(seer.engine)
    beside = submit(loop, seer.engine, "beside", "Hello there", num_predict=20)
    for _ in range(3):
        loop.step()
    images = [
        seer.ask(loop, f"{n}", f"{MARK} or {MARK}?", png(n), png(n + 1), num_predict=5)
        for n in range(3)
    ]
    drain(loop)
    loop.check_integrity()
    assert beside.text == plain.text
    assert all(sink.finish.reason in ("length", "stop") for sink in images)


def test_a_prompt_with_images_is_cancelled_between_them(seer: Seer) -> None:
    loop = Loop(seer.engine)
    sink = seer.ask(loop, "gone", f"{MARK} {MARK} {MARK}", png(1), png(2), png(3))
    for _ in range(3):
        loop.step()
    loop.cancel("gone")
    drain(loop)
    loop.check_integrity()
    assert not sink.events
    again = seer.ask(loop, "again", f"{MARK} {MARK} {MARK}", png(1), png(2), png(3), num_predict=2)
    drain(loop)
    assert again.finish.cached_tokens >= seer.prompt(MARK, png(1)).images[0].end


def test_an_image_that_nobody_waits_for_is_encoded_no_further(seer: Seer) -> None:
    (placed,) = seer.prompt(MARK, png(1)).images
    projector, abort = seer.engine._projector, seer.engine._abort
    assert projector is not None
    projector._kept.clear()
    abort.set()
    with pytest.raises(Interrupted):
        projector.encode(placed.image)
    abort.clear()
    n_nodes = projector._n_nodes
    whole = projector.encode(placed.image)
    assert np.isfinite(whole).all()
    assert projector._n_nodes - n_nodes > _NODES  # a layer was not all that there was to do


def test_a_cut_never_parts_an_image_of_two_dimensions(seers: Callable[[str], Seer]) -> None:
    seer = seers("qwen2vl")
    prompt = seer.prompt(f"see {MARK} now", png(1, 80, 60))
    (placed,) = prompt.images
    assert placed.image.n_positions < len(placed.image.tokens)
    whole = evaluate(seer.engine, prompt)
    with pytest.raises(EngineError, match="cannot be resumed"):
        seer.engine.share(A, B, placed.start + 1)
    assert seer.engine.truncate(A, placed.start + 1) == placed.start
    again = Span(A, placed.start, placed.image.tokens, 0, (), placed.image)
    seer.engine.forward(Plan((again,)))
    seer.engine.share(A, B, placed.end)
    tail = prompt.tokens[placed.end :]
    row = seer.engine.forward(Plan((Span(B, placed.end, tail, 1),)))[0]
    assert float(np.abs(row - whole).max()) <= 1e-4


def test_a_full_window_drops_an_image_as_a_whole(seer: Seer) -> None:
    text = f"{MARK}" + " a" * (1990 - len(seer.prompt(MARK, png(1)).tokens))
    sink = seer.answer(text, png(1), num_predict=150, num_keep=0)
    n_image = len(seer.prompt(MARK, png(1)).images[0].image.tokens)
    assert sink.finish.reason in ("length", "stop")
    assert sink.finish.shifted_tokens >= n_image
    assert sink.finish.truncated_tokens == 0
    ended = seer.answer(text, png(1), num_predict=150, shift=False)
    assert ended.finish.reason == "length"
    assert ended.finish.eval_tokens < 150


def test_a_long_prompt_loses_whole_images_and_says_so(seers: Callable[[str], Seer]) -> None:
    seer = seers("llama")
    text = f"keep {MARK} " + "a " * 3000
    n_tokens = len(seer.prompt(text, png(1)).tokens)
    sink = seer.answer(text, png(1), num_predict=2, num_keep=10)
    assert sink.finish.truncated_tokens == n_tokens - sink.finish.prompt_tokens
    refused = seer.answer(text, png(1), truncate=False)
    assert isinstance(refused.error, PromptTooLong)


def test_a_picture_larger_than_half_the_context_is_made_smaller(
    seers: Callable[[str], Seer],
) -> None:
    seer, picture = seers("qwen2vl"), png(1, 1200, 1500)
    (placed,) = seer.prompt(f"see {MARK}", picture).images
    assert 700 < len(placed.image.tokens) <= 1024
    (other,) = seer.prompt(f"see {MARK} and more", picture).images
    assert other.image.tokens == placed.image.tokens
    sink = seer.answer(f"see {MARK}", picture, num_predict=2)
    assert sink.finish.truncated_tokens == 0


def test_images_that_give_way_are_seen_again(
    seers: Callable[[str], Seer], tiny_model: Callable[..., Path]
) -> None:
    """Cells for all answers at once are not there, so some begin again, with their images."""
    roomy = seers("qwen2vl")
    seer = Seer(roomy.model, roomy.projector, n_cells=256, n_batch=64)
    text = f"{'a' * 60} {MARK} or {MARK}?"
    try:
        loop = Loop(seer.engine)
        sinks = [seer.ask(loop, f"{n}", text, png(n), png(n + 9), num_predict=60) for n in range(4)]
        drain(loop)
        loop.check_integrity()
    finally:
        seer.engine.close()
    for n, sink in enumerate(sinks):
        assert sink.text == roomy.answer(text, png(n), png(n + 9), num_predict=60).text


def test_passes_of_images_may_be_longer_than_a_batch(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    model = tiny_model("llama", "F32")
    projector = make_projector(tmp_path / "p.gguf", "mlp")
    text, image = f"what is {MARK}?", png(1)
    seer = Seer(model, projector, n_batch=24)
    try:
        prompt = seer.prompt(text, image)
        assert len(prompt.images[0].image.tokens) > 24
        found = evaluate(seer.engine, prompt)
    finally:
        seer.engine.close()
    with reference(model, projector, seer.load) as other:
        assert float(np.abs(found - other.logits(text, [image])).max()) <= 1e-4


def test_an_image_that_is_seen_at_once_needs_a_pass_for_it(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    projector = make_projector(tmp_path / "p.gguf", "gemma3")
    seer = Seer(tiny_model("gemma3", "F32"), projector, n_batch=2)
    try:
        with pytest.raises(Unsupported, match="num_batch of 4 or more"):
            seer.prompt(f"see {MARK}", png(1))
    finally:
        seer.engine.close()


@pytest.mark.parametrize(
    ("text", "options", "error", "said"),
    [
        ("[img-0] [img-1]", {}, InvalidRequest, "invalid image index: 1"),
        ("none", {}, InvalidRequest, "leaves an image out"),
        ((1, 2), {}, InvalidRequest, "no place in a prompt of token ids"),
        ("[img-0] \ud800", {}, InvalidRequest, "half a surrogate pair"),
    ],
)
def test_prompts_that_do_not_go_with_their_images(
    seers: Callable[[str], Seer], text: Any, options: Any, error: type[Exception], said: str
) -> None:
    image = b64encode(png()).decode()
    with pytest.raises(error, match=said):
        look(seers("llama").engine, generation(text, images=(image,), **options))


@pytest.mark.parametrize("option", ["heal", "echo"])
def test_what_does_not_go_with_images(seers: Callable[[str], Seer], option: str) -> None:
    sink = seers("llama").answer(MARK, png(), **{option: True})
    assert isinstance(sink.error, Unsupported)


def test_a_model_with_a_projector_is_libllamas(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    projector = make_projector(tmp_path / "p.gguf", "mlp")
    load = LoadOptions(n_ctx=2048, n_threads=1, projector=projector)
    engine = open_engine(tiny_model("llama", "F32"), load, lambda _: None)
    try:
        assert engine.info.engine == "llama"
        assert "projector" in engine.info.reason
    finally:
        engine.close()


def test_an_engine_without_a_projector_says_so(tiny_model: Callable[..., Path]) -> None:
    load = LoadOptions(n_ctx=512, n_threads=1)
    engine = open_engine(tiny_model("llama", "F32"), load, lambda _: None)
    try:
        with pytest.raises(Unsupported, match="native engine runs this model without a projector"):
            look(engine, generation("[img-0]", images=(b64encode(png()).decode(),)))
    finally:
        engine.close()


def _other_key(key: str, value: Writable) -> Callable[[Path], object]:
    def spoil(path: Path) -> object:
        source = path.rename(path.with_suffix(".whole"))
        return rewrite(source, path, {f"clip.{key}": value})

    return spoil


def _other_tensor(name: str, shape: tuple[int, ...] | None) -> Callable[[Path], object]:
    """Leave a tensor out, or give it another shape."""

    def spoil(path: Path) -> None:
        with GGUFFile.open(path.rename(path.with_suffix(".whole"))) as file:
            head = {key: file.typed(key) for key in file.metadata}
            kept = [
                TensorSource(t.name, t.type, t.shape, bytes(file.data(t.name)))
                for t in file.tensors.values()
                if t.name != name
            ]
            if shape is not None:
                data = np.zeros(shape[::-1], np.float32).tobytes()
                kept.append(TensorSource(name, GGMLType.F32, shape, data))
            write_gguf(path, head, kept)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (lambda path: path.unlink(), ModelNotFound, "does not exist"),
        (lambda path: path.write_bytes(b"GGUF"), InvalidModelFile, "p.gguf"),
        (lambda path: make_projector(path, "mlp", n_embd=128), LoadFailed, "mismatch"),
        (_other_key("projector_type", "new"), LoadFailed, "p.gguf"),
        (_other_key("has_vision_encoder", False), UnsupportedModel, "not one for images"),
        (_other_key("vision.patch_size", "14"), InvalidModelFile, "patch_size is '14'"),
        (_other_key("vision.image_size", 0), InvalidModelFile, "image_size is 0"),
        (_other_key("vision.attention.head_count", 3), InvalidModelFile, "does not divide 32"),
        (_other_key("vision.embedding_length", 64), InvalidModelFile, "in a width of 64"),
        (_other_key("vision.attention.layer_norm_epsilon", 1), InvalidModelFile, "no float32"),
        (_other_tensor("v.patch_embd.weight", None), InvalidModelFile, "is missing"),
        (
            _other_tensor("v.blk.1.attn_k.weight", None),
            InvalidModelFile,
            "attn_k.weight is missing",
        ),
        (_other_tensor("v.blk.0.attn_q.weight", (16, 32)), InvalidModelFile, "has the shape"),
        (_other_tensor("v.blk.0.ffn_down.weight", (32, 32)), InvalidModelFile, "ffn_down"),
        (_other_tensor("v.blk.0.ffn_up.bias", (8,)), InvalidModelFile, "ffn_up.bias has the shape"),
    ],
)
def test_projectors_that_do_not_fit(
    tiny_model: Callable[..., Path],
    tmp_path: Path,
    spoil: Callable[[Path], object],
    error: type[Exception],
    said: str,
) -> None:
    projector = make_projector(tmp_path / "p.gguf", "mlp")
    spoil(projector)
    with pytest.raises(error, match=said):
        Seer(tiny_model("llama", "F32"), projector)
