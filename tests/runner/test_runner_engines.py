"""``python -m cama.runner`` as the server starts it, with the real engines."""

from pathlib import Path

import pytest

from cama.core.errors import InvalidModelFile, ModelNotFound
from cama.core.generation import Chunk, Event, Generation, Sampling
from cama.core.load import EngineChoice, LoadOptions
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


async def test_a_runner_refuses_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(InvalidModelFile):
        await start_runner(spec_of(path), load_timeout=60)


async def test_a_runner_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        await start_runner(spec_of(tmp_path / "model.gguf"), load_timeout=60)
