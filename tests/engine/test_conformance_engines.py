"""Both real engines do what every engine must do."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cama.core.load import LoadOptions
from cama.engine.base import Engine
from cama.engine.llama.engine import LlamaEngine
from cama.engine.native.engine import NativeEngine
from tests.engine.conformance import *  # noqa: F403  (the suite)
from tests.engine.conformance import MakeEngine

pytestmark = pytest.mark.native

Open = Callable[..., Engine]

CASES: list[tuple[Open, str]] = [
    (NativeEngine.open, "llama"),
    (NativeEngine.open, "qwen2"),
    (NativeEngine.open, "qwen3"),
    (LlamaEngine.open, "llama"),
    (LlamaEngine.open, "qwen3"),
]


@pytest.fixture(
    params=CASES, ids=["native-llama", "native-qwen2", "native-qwen3", "llama", "qwen3"]
)
def make_engine(
    tiny_model: Callable[..., Path], request: pytest.FixtureRequest
) -> Iterator[MakeEngine]:
    open_engine, architecture = request.param
    opened: list[Engine] = []

    def make(*, n_ctx: int = 256, n_batch: int = 64, n_cells: int = 512) -> Engine:
        load = LoadOptions(n_ctx=n_ctx, n_batch=n_batch, n_cells=n_cells, n_threads=1)
        engine: Engine = open_engine(tiny_model(architecture), load, "test", lambda _: None)
        opened.append(engine)
        return engine

    yield make
    for engine in opened:
        engine.close()


@pytest.fixture
def tolerance() -> float:
    """Batches of other shapes take other kernels; logits of these models spread over about 3."""
    return 0.02
