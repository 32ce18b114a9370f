"""The libllama engine does what every engine must do."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cama.core.load import LoadOptions
from cama.engine.llama.engine import LlamaEngine
from tests.engine.conformance import *  # noqa: F403  (the suite)
from tests.engine.conformance import MakeEngine

pytestmark = pytest.mark.native


@pytest.fixture(params=["llama", "qwen3"])
def make_engine(
    tiny_model: Callable[..., Path], request: pytest.FixtureRequest
) -> Iterator[MakeEngine]:
    opened: list[LlamaEngine] = []

    def make(*, n_ctx: int = 256, n_batch: int = 64, n_cells: int = 512) -> LlamaEngine:
        load = LoadOptions(n_ctx=n_ctx, n_batch=n_batch, n_cells=n_cells, n_threads=1)
        engine = LlamaEngine.open(tiny_model(request.param), load, "test", lambda _: None)
        opened.append(engine)
        return engine

    yield make
    for engine in opened:
        engine.close()


@pytest.fixture
def tolerance() -> float:
    """Batches of other shapes take other kernels; logits of these models spread over about 3."""
    return 0.02
