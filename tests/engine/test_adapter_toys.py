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
from cama.gguf import GGUFFile, write_gguf
from tests.adapters import adapter_at, changeable, encoded, merge, write_adapter

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


def test_experts_are_changed_by_libllama_and_refused_by_the_native_engine(
    shared_data: Path, tmp_path: Path
) -> None:
    path = shared_data / "toy" / "qwen3moe.gguf"
    rng, rank, tensors = np.random.default_rng(4), 3, []
    with GGUFFile.open(path) as file:
        experts = {n: t.shape for n, t in file.tensors.items() if "_exps." in n}
    for name, (n_in, n_out, n_experts) in experts.items():
        a = rng.standard_normal((n_experts, rank, n_in), np.float32) / np.float32(n_in**0.5)
        b = rng.standard_normal((n_experts, n_out, rank), np.float32) / np.float32(3)
        tensors += [encoded(f"{name}.lora_a", a), encoded(f"{name}.lora_b", b)]
    facts = {"general.type": "adapter", "general.architecture": "qwen3moe", "adapter.type": "lora"}
    write_gguf(tmp_path / "experts.gguf", facts, tensors)
    adapter = adapter_at(tmp_path / "experts.gguf")
    native = NativeEngine.open(path, LOAD, "test", lambda _: None)
    with pytest.raises(UnsupportedModel, match=r"cannot change blk.0.ffn_\w+_exps.weight"):
        native.hold_adapters((adapter,))
    native.close()
    merged = merge(tmp_path / "merged.gguf", path, adapter)
    rows = []
    for file_path, adapters in ((path, (adapter,)), (merged, ()), (path, ())):
        engine = LlamaEngine.open(file_path, LOAD, "test", lambda _: None)
        if adapters:
            engine.hold_adapters(adapters)
        rows.append(last_logits(engine, adapters))
        engine.close()
    changed, expected, plain = rows
    assert float(np.abs(changed - expected).max()) <= 1e-3
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
