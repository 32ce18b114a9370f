"""Answers that retake the end of their prompt: the token that its end cut short can come."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cama.core.generation import Constraint, Sampling
from cama.core.load import LoadOptions
from cama.engine.base import Engine
from cama.engine.constraint.healing import Healer
from cama.engine.llama.engine import LlamaEngine
from cama.engine.loop import Loop
from cama.engine.native.engine import NativeEngine
from cama.engine.tokenizer import LlamaTokenizer
from tests.engine.fake import ByteTokenizer
from tests.engine.sinks import GREEDY, Sink, drain, generation

pytestmark = pytest.mark.native


@pytest.fixture(scope="module", params=[NativeEngine.open, LlamaEngine.open])
def engine(request: pytest.FixtureRequest, shared_data: Path) -> Iterator[Engine]:
    """A model that tells stories."""
    open_engine: Callable[..., Engine] = request.param
    path = shared_data / "stories260K" / "stories260K-F32.gguf"
    load = LoadOptions(n_ctx=256, n_batch=64, n_cells=1024, n_threads=1, cache_type="f32")
    opened = open_engine(path, load, "test", lambda _: None)
    yield opened
    opened.close()


def tell(engine: Engine, prompt: str, *, heal: bool = True, **options: Any) -> Sink:
    loop, sink = Loop(engine), Sink()
    tokens = engine.tokenizer.encode(prompt, add_special=True, parse_special=False)
    given: dict[str, Any] = {"num_predict": 24} | options
    loop.submit("it", tokens, generation(heal=heal, **given), sink)
    drain(loop)
    loop.check_integrity()
    while loop._cache.evict():
        pass
    return sink


STORY = "Once upon a time, there was a little girl named Lily. She loved to play outside in the"


@pytest.mark.parametrize(
    "cut", ["She loved to pla", "She loved to play ", "She lo", "girl name", "Lil"]
)
def test_story_goes_on_where_the_prompt_was_cut(engine: Engine, cut: str) -> None:
    prompt = STORY[: STORY.index(cut) + len(cut)]
    behind = STORY[len(prompt) :]
    assert tell(engine, prompt).text.startswith(behind[:5])


def test_what_is_retaken_is_not_repeated(engine: Engine) -> None:
    sink = tell(engine, "Once upon a time, there was a little gi", logprobs=0)
    assert sink.text.startswith("rl named")
    retaken = b"".join(one.piece for chunk in sink.chunks for one in chunk.logprobs)
    assert retaken == b"i" + sink.text.encode()  # " g" and "i" are tokens, and so is "irl"


@pytest.mark.parametrize("n", range(20, 60, 3))
@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.0, top_k=0, seed=5)])
def test_answer_begins_with_what_is_retaken(engine: Engine, n: int, sampling: Sampling) -> None:
    sink = tell(engine, STORY[:n], sampling=sampling, logprobs=0, num_predict=8)
    whole = b"".join(one.piece for chunk in sink.chunks for one in chunk.logprobs)
    text = sink.text.encode()
    tokens = engine.tokenizer.encode(STORY[:n], add_special=True, parse_special=False)
    kept = b"".join(map(engine.tokenizer.piece, tokens[: sink.finish.prompt_tokens]))
    assert kept + whole == (b" " + STORY[:n].encode() + text)


def test_prompt_that_no_token_goes_on_from_is_left_alone(engine: Engine) -> None:
    plain, healed = (tell(engine, STORY, heal=heal) for heal in (False, True))
    tokens = engine.tokenizer.encode(STORY, add_special=True, parse_special=False)
    n_stay, retaken = Healer(engine.tokenizer, engine.info.n_vocab).split(tokens)
    assert healed.finish.prompt_tokens == n_stay
    if not retaken:
        assert healed.text == plain.text


@pytest.mark.parametrize("prompt", ["He said: ", "The answer is: o", 'It is "', "one  "])
def test_form_begins_behind_what_is_retaken(engine: Engine, prompt: str) -> None:
    constraint = Constraint(kind="regex", text="(one|on the tree|[0-9]{2,4})\\.")
    for seed in range(4):
        sampling = Sampling(temperature=1.0, top_k=0, seed=seed)
        sink = tell(engine, prompt, constraint=constraint, sampling=sampling)
        assert re.fullmatch(constraint.text, sink.text), sink.text
        assert sink.finish.reason == "stop"


def test_schema_is_kept_behind_what_is_retaken(engine: Engine) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"],
              "additionalProperties": False}  # fmt: skip
    constraint = Constraint(kind="json_schema", text=json.dumps(schema))
    for prompt in ("As JSON: ", "a", " ", "{"):
        assert json.loads(tell(engine, prompt, constraint=constraint).text)["a"] in (1, 2)


def test_stop_string_does_not_see_what_is_retaken(engine: Engine) -> None:
    prompt = "Once upon a time, there was a little gi"
    assert tell(engine, prompt, stop=(" gi", "girl")).text == tell(engine, prompt).text
    assert tell(engine, prompt, stop=("named",)).text == "rl "


# Vocabularies


def test_only_text_is_retaken() -> None:
    healer = Healer(ByteTokenizer(), 260)
    assert healer.split([*b"abc"]) == (3, b"")  # no token is longer than a byte
    assert healer.split([256]) == (1, b"")


@pytest.fixture(scope="module", params=["llama-bpe", "qwen2", "llama-spm", "gpt-2"])
def vocabulary(request: pytest.FixtureRequest, shared_data: Path) -> Iterator[LlamaTokenizer]:
    path = shared_data / "tokenizers" / f"ggml-vocab-{request.param}.gguf"
    with LlamaTokenizer(path) as tokenizer:
        yield tokenizer


WHOLE = "See https://example.com/index.html for more information, or call the administrator today."


def test_cut_text_can_be_told_as_the_whole_is(vocabulary: LlamaTokenizer) -> None:
    """Wherever a text is cut, its own tokens remain possible, or those of the cut do."""
    healer = Healer(vocabulary, vocabulary.n_tokens)
    whole = vocabulary.encode(WHOLE, add_special=False, parse_special=False)
    n_plain = n_healed = 0
    for n in range(1, len(WHOLE)):
        tokens = vocabulary.encode(WHOLE[:n], add_special=False, parse_special=False)
        n_stay, text = healer.split(tokens)
        assert b"".join(map(vocabulary.piece, tokens[n_stay:])) == text
        n_plain += tokens == whole[: len(tokens)]
        n_healed += tokens[:n_stay] == whole[:n_stay]
        guard = healer.guard(text, None)
        for token in tokens[n_stay:]:
            assert guard.allows(token)
            assert guard.allowed()[token]
            guard.accept(token)
    assert n_plain < 0.4 * len(WHOLE)
    assert n_healed > 0.9 * len(WHOLE)


def test_mask_shows_what_may_be_retaken(vocabulary: LlamaTokenizer) -> None:
    healer = Healer(vocabulary, vocabulary.n_tokens)
    for text in (b" ", b" admin", b"htt"):
        guard = healer.guard(text, None)
        mask = guard.allowed().marked()
        pieces = map(vocabulary.piece, range(vocabulary.n_tokens))
        fits = [bool(p) and (p.startswith(text) or text.startswith(p)) for p in pieces]
        assert mask.tolist() == fits
        assert all(guard.allows(token) for token in mask.nonzero()[0][:200].tolist())
