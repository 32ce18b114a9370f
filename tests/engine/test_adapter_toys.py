"""Adapters on architectures of every kind: both engines agree, and nothing is left out silently."""

import re
from pathlib import Path

import numpy as np
import pytest

from cama.core.errors import UnsupportedModel
from cama.core.generation import Adapters
from cama.core.load import LoadOptions
from cama.engine.base import Logits, Plan, SeqId, Span
from cama.engine.llama.engine import LlamaEngine
from cama.engine.native.engine import NativeEngine
from tests.adapters import changeable, write_adapter

pytestmark = pytest.mark.native

LOAD = LoadOptions(n_ctx=256, n_batch=64, n_threads=1, cache_type="f32")
TOKENS = tuple(range(30, 42))


def last_logits(engine: NativeEngine | LlamaEngine, adapters: Adapters = ()) -> Logits:
    """Behind a prompt that the cache forgets again."""
    seq = SeqId(0)
    row: Logits = engine.forward(Plan((Span(seq, 0, TOKENS, 1, adapters),)))[0].copy()
    engine.truncate(seq, 0)
    return row


@pytest.mark.parametrize(
    "name", ["gemma2", "glm4", "llama4", "llama-yarn", "phi3", "qwen2vl", "qwen3moe"]
)
def test_engines_agree(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = shared_data / "toy" / f"{name}.gguf"
    adapters = (write_adapter(tmp_path / "a.gguf", path, only="attn_"),)
    found = []
    for kind in (NativeEngine, LlamaEngine):
        engine = kind.open(path, LOAD, "test", lambda _: None)
        engine.hold_adapters(adapters)
        plain, changed = last_logits(engine), last_logits(engine, adapters)
        found.append(changed)
        engine.close()
    assert float(np.abs(found[0] - found[1]).max()) <= 1e-3
    assert float(np.abs(changed - plain).max()) > 0.1


@pytest.mark.parametrize(
    "name", ["deepseek2-lite", "gemma4-e", "granitehybrid", "lfm2", "nemotron_h_moe", "qwen3next"]
)
def test_libllama_leaves_no_change_out(shared_data: Path, tmp_path: Path, name: str) -> None:
    """An adapter of one matrix does something, or is refused."""
    path = shared_data / "toy" / f"{name}.gguf"
    kinds = {re.sub(r"^blk\.\d+\.", "", one) for one in changeable(path) if "weight" in one}
    engine = LlamaEngine.open(path, LOAD, "test", lambda _: None)
    plain = last_logits(engine)
    refused = set()
    for i, kind in enumerate(sorted(kinds)):
        adapters = (write_adapter(tmp_path / f"{i}.gguf", path, only=kind, rank=2),)
        try:
            engine.hold_adapters(adapters)
        except UnsupportedModel:
            refused.add(kind)
            continue
        assert float(np.abs(last_logits(engine, adapters) - plain).max()) > 0, kind
        engine.release_adapters(adapters)
    engine.close()
    assert 0 < len(refused) < len(kinds)
