"""``python -m cama.runner`` as the server starts it, with the real engines."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cama.core.errors import InvalidModelFile, ModelNotFound
from cama.core.generation import Chunk, Event, Finish, Generation, Sampling
from cama.core.load import EngineChoice, LoadOptions, PrefixFolder
from cama.core.model import ModelSpec
from cama.runner.handle import start_runner

pytestmark = [pytest.mark.e2e, pytest.mark.native]


def spec_of(path: Path, engine: EngineChoice = "auto") -> ModelSpec:
    load = LoadOptions(n_ctx=256, n_threads=1, engine=engine)
    return ModelSpec(name=path.stem, path=path, digest="0", weights_bytes=1, load=load)


@pytest.mark.parametrize("engine", ["native", "llama"])
async def test_a_runner_tells_a_story(shared_data: Path, engine: EngineChoice) -> None:
    path = shared_data / "stories260K" / "stories260K-F32.gguf"
    runner = await start_runner(spec_of(path, engine), load_timeout=60)
    try:
        assert (runner.info.engine, runner.info.bos_text) == (engine, "<s>")
        story = Generation(
            prompt="Once upon a time", num_predict=12, sampling=Sampling(temperature=0)
        )
        events: list[Event] = [event async for event in runner.generate(story)]
    finally:
        await runner.close()
    text = "".join(event.text for event in events if isinstance(event, Chunk))
    assert text.startswith(", there was a little girl named")


STORY = Generation(
    prompt="Once upon a time there was a camel who lived in the desert. " * 4,
    num_predict=12,
    sampling=Sampling(temperature=0),
)


async def tell(path: Path, engine: EngineChoice, folder: PrefixFolder) -> tuple[str, Finish]:
    """The story and its accounts, from a process of its own."""
    runner = await start_runner(spec_of(path, engine), load_timeout=60, prefixes=folder)
    try:
        *events, finish = [event async for event in runner.generate(STORY)]
    finally:
        await runner.close()
    assert isinstance(finish, Finish)
    return "".join(event.text for event in events if isinstance(event, Chunk)), finish


@pytest.mark.parametrize("engine", ["native", "llama"])
async def test_a_runner_restores_what_another_process_has_read(
    tiny_model: Callable[..., Path], tmp_path: Path, engine: EngineChoice
) -> None:
    folder = PrefixFolder(path=tmp_path / "prefix", max_bytes=1 << 30, min_seconds=0)
    path = tiny_model("llama", "F32")
    first_text, first = await tell(path, engine, folder)
    text, finish = await tell(path, engine, folder)
    assert (first.cached_tokens, first.miss_reason) == (0, "new")
    assert finish.restored_tokens == finish.cached_tokens == finish.prompt_tokens - 1
    assert finish.miss_reason is None
    assert text == first_text
    assert finish.prefill_seconds == 0


async def test_a_runner_restores_nothing_for_a_model_that_was_replaced(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    folder = PrefixFolder(path=tmp_path / "prefix", max_bytes=1 << 30, min_seconds=0)
    path = tmp_path / "model.gguf"
    shutil.copy2(tiny_model("llama", "F32"), path)
    await tell(path, "native", folder)
    status = path.stat()
    shutil.copy2(tiny_model("llama", "F32"), path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # the change shows all the same
    _, finish = await tell(path, "native", folder)
    assert finish.restored_tokens == 0


async def test_a_runner_refuses_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(InvalidModelFile):
        await start_runner(spec_of(path), load_timeout=60)


async def test_a_runner_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        await start_runner(spec_of(tmp_path / "model.gguf"), load_timeout=60)
