"""Runner processes with a fake engine."""

import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from cama.core.load import LoadOptions
from cama.core.model import ModelSpec
from cama.gguf import write_gguf
from cama.runner.handle import Runner, start_runner

FAKE_CHILD = [sys.executable, str(Path(__file__).with_name("fake_child.py"))]

StartFake = Callable[..., Coroutine[Any, Any, Runner]]


def write_model(path: Path, script: str = "") -> None:
    """A model file without weights, for the fake engine."""
    metadata: dict[str, str | int | list[str]] = {
        "general.architecture": "fake",
        "fake.load": script,
        "tokenizer.ggml.tokens": [*map(chr, range(256)), "<s>", "</s>", "<a>", "<b>"],
        "tokenizer.ggml.eos_token_id": 257,
    }
    write_gguf(path, metadata, [])


@pytest.fixture
def make_spec(tmp_path: Path) -> Callable[..., ModelSpec]:
    def make(script: str = "", **load: Any) -> ModelSpec:
        path = tmp_path / f"{script or 'model'}.gguf"
        write_model(path, script)
        options = LoadOptions(**{"n_ctx": 512, "n_threads": 1, **load})
        return ModelSpec(name="fake:latest", path=path, digest="0", weights_bytes=1, load=options)

    return make


@pytest.fixture
async def start_fake(make_spec: Callable[..., ModelSpec]) -> AsyncIterator[StartFake]:
    """Start a runner with a fake engine; it is closed when the test ends."""
    async with AsyncExitStack() as stack:

        async def start(
            script: str = "", *, load_timeout: float = 60, stall_timeout: float = 0, **load: Any
        ) -> Runner:
            spec = make_spec(script, **load)
            runner = await start_runner(
                spec, load_timeout=load_timeout, stall_timeout=stall_timeout, command=FAKE_CHILD
            )
            stack.push_async_callback(runner.close)
            return runner

        yield start


def process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
