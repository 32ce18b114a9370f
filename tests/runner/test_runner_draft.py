"""A runner with a draft model: what may be wrong is told before the model itself is loaded."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cama.core.errors import CamaError, InvalidModelFile, InvalidOption, LoadFailed
from cama.core.generation import Chunk, Finish, Generation, Sampling
from cama.core.load import Draft, EngineChoice, LoadOptions
from cama.core.model import ModelSpec
from cama.engine.speculation.vocabulary import read_vocabulary, require_same
from cama.gguf import write_gguf
from cama.runner.handle import start_runner
from tests.runner.conftest import StartFake, write_model

TOKENS = [f"token {i}" for i in range(300)]


def _draft(path: Path) -> Draft:
    return Draft(path=path, digest="0")


def _vocabulary(path: Path, tokens: list[str] | None, kind: str = "gpt2") -> Path:
    metadata: dict[str, str | list[str]] = {"general.architecture": "llama"}
    metadata["tokenizer.ggml.model"] = kind
    if tokens is not None:
        metadata["tokenizer.ggml.tokens"] = tokens
    write_gguf(path, metadata, [])
    return path


@pytest.mark.parametrize(
    ("tokens", "kind", "reason"),
    [
        (None, "gpt2", "it has no tokens"),
        (TOKENS, "llama", "its tokenizer is 'llama', the model's 'gpt2'"),
        (TOKENS[:100], "gpt2", "it has 100 tokens, the model 300"),
        (["a", *TOKENS[1:]], "gpt2", "its token 0 is 'a', the model's 'token 0'"),
    ],
)
def test_other_vocabulary_is_refused(
    tmp_path: Path, tokens: list[str] | None, kind: str, reason: str
) -> None:
    model = read_vocabulary(_vocabulary(tmp_path / "model.gguf", TOKENS))
    draft = read_vocabulary(_vocabulary(tmp_path / "draft.gguf", tokens, kind))
    with pytest.raises(InvalidOption, match="the draft model has another vocabulary") as caught:
        require_same(model, draft)
    assert caught.value.message.endswith(reason)


def test_vocabularies_may_differ_in_their_padding(tmp_path: Path) -> None:
    model = read_vocabulary(_vocabulary(tmp_path / "model.gguf", TOKENS))
    draft = read_vocabulary(_vocabulary(tmp_path / "draft.gguf", [*TOKENS, "[pad]"]))
    require_same(model, draft)
    require_same(draft, model)


async def test_runner_answers_with_a_draft_model(start_fake: StartFake, tmp_path: Path) -> None:
    write_model(tmp_path / "draft.gguf")
    runner = await start_fake(draft=_draft(tmp_path / "draft.gguf"))
    generation = Generation(prompt="hello", add_special=False)
    events = [event async for event in runner.generate(generation)]
    assert "".join(event.text for event in events if isinstance(event, Chunk)) == " world"


@pytest.mark.parametrize(
    ("make", "kind", "reason"),
    [
        (lambda path: None, InvalidOption, "the draft model cannot be used: .*draft.gguf"),
        (lambda path: path.write_bytes(b"GGUF?"), InvalidOption, "the draft model cannot be used"),
        (lambda path: _vocabulary(path, TOKENS), InvalidOption, "another vocabulary"),
        (lambda path: write_model(path, "invalid"), InvalidOption, "the file is damaged"),
        (lambda path: write_model(path, "unsupported"), InvalidOption, "no engine runs this"),
        (lambda path: write_model(path, "exit"), LoadFailed, "terminated"),
    ],
)
async def test_draft_model_that_cannot_be_used_is_told_before_the_model_is_loaded(
    start_fake: StartFake,
    tmp_path: Path,
    make: Callable[[Path], object],
    kind: type[CamaError],
    reason: str,
) -> None:
    make(tmp_path / "draft.gguf")
    with pytest.raises(kind, match=reason):
        await start_fake("hang", load_timeout=20, draft=_draft(tmp_path / "draft.gguf"))


async def test_what_is_wrong_with_the_model_is_not_held_against_its_draft(
    start_fake: StartFake, tmp_path: Path
) -> None:
    write_model(tmp_path / "draft.gguf")
    with pytest.raises(InvalidModelFile, match="the file is damaged"):
        await start_fake("invalid", draft=_draft(tmp_path / "draft.gguf"))


# Real engines


def _spec(path: Path, draft: Path | None, engine: EngineChoice = "auto") -> ModelSpec:
    load = LoadOptions(
        n_ctx=256,
        n_threads=1,
        engine=engine,
        cache_type="f32",
        draft=_draft(draft) if draft else None,
    )
    return ModelSpec(name=path.stem, path=path, digest="0", weights_bytes=1, load=load)


@pytest.mark.e2e
@pytest.mark.native
@pytest.mark.parametrize("engine", ["native", "llama"])
async def test_text_is_the_same_with_a_draft_model(
    tiny_model: Callable[..., Path], engine: EngineChoice
) -> None:
    texts = []
    for draft in (None, tiny_model("llama", "Q4_0")):
        runner = await start_runner(
            _spec(tiny_model("llama", "F32"), draft, engine), load_timeout=60
        )
        try:
            sampling = Sampling(temperature=0.8, seed=3)
            story = Generation(prompt="Once upon a time", num_predict=60, sampling=sampling)
            *chunks, finish = [event async for event in runner.generate(story)]
        finally:
            await runner.close()
        assert isinstance(finish, Finish)
        n_proposed = finish.proposed_tokens
        texts.append("".join(one.text for one in chunks if isinstance(one, Chunk)))
    assert texts[0] == texts[1]
    assert n_proposed > 0


@pytest.mark.e2e
@pytest.mark.native
async def test_models_with_a_running_state_and_drafts_that_have_one_are_refused(
    shared_data: Path,
) -> None:
    recurrent = shared_data / "toy" / "lfm2.gguf"
    reason = "the draft model cannot be used: it keeps a running state"
    with pytest.raises(InvalidOption, match=reason):
        await start_runner(_spec(recurrent, recurrent), load_timeout=60)


@pytest.mark.e2e
@pytest.mark.native
async def test_model_with_a_running_state_takes_no_draft(shared_data: Path) -> None:
    recurrent, other = shared_data / "toy" / "lfm2.gguf", shared_data / "toy" / "llama.gguf"
    if read_vocabulary(recurrent)[1:] != read_vocabulary(other)[1:]:
        pytest.skip("these toys have vocabularies of their own")
    with pytest.raises(InvalidOption, match="keeps a running state: a draft model cannot help"):
        await start_runner(_spec(recurrent, other), load_timeout=60)
