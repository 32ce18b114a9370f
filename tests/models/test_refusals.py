"""What a definition does not implement goes to libllama before it is loaded, with a reason."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from cama.core.errors import LoadFailed, UnsupportedModel
from cama.core.load import EngineChoice, LoadOptions
from cama.engine.base import Plan, SeqId, Span
from cama.engine.native.open import open_native
from cama.engine.select import open_engine
from cama.gguf import GGUFFile, TensorSource, write_gguf
from tests.adapters import adapter_at, encoded
from tests.rewriting import rewrite

pytestmark = pytest.mark.native

LOAD = LoadOptions(n_ctx=256, n_batch=64, n_threads=1)


class Wish(NamedTuple):
    """A reference model with keys and tensors more, and why the native engine leaves it."""

    toy: str
    metadata: dict[str, Any]
    reason: str
    tensors: dict[str, NDArray[np.float32]] = {}  # noqa: RUF012


WISHES = {
    "a scale beside a weight": Wish(
        "llama", {}, "no use for tensor blk.0.attn_q.input_scale",
        {"blk.0.attn_q.input_scale": np.ones(1, np.float32)},
    ),
    "windows": Wish(
        "lfm2", {"lfm2.attention.sliding_window": 8}, "does not implement sliding windows"
    ),
    "warmth": Wish(
        "deepseek2-mla",
        {"deepseek2.attention.temperature_scale": 0.1, "deepseek2.attention.temperature_length": 8},
        "does not implement attention by position",
    ),
}  # fmt: skip


def _runs_on_libllama(path: Path, load: LoadOptions, caplog: pytest.LogCaptureFixture) -> str:
    """Opens and computes; returns the reason that the log gives."""
    with caplog.at_level(logging.INFO, "cama.engine.select"):
        engine = open_engine(path, load, lambda _: None)
    assert engine.info.engine == "llama"
    row = engine.forward(Plan((Span(SeqId(0), 0, [3, 4, 5], 1),)))
    assert np.isfinite(row).all()
    engine.close()
    assert f"engine=llama architecture={engine.info.architecture}" in caplog.text
    assert f"reason={engine.info.reason!r}" in caplog.text
    return engine.info.reason


@pytest.mark.parametrize("name", WISHES)
def test_a_wish_of_the_file_goes_to_libllama(
    shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    wish = WISHES[name]
    original = shared_data / "toy" / f"{wish.toy}.gguf"
    path = rewrite(original, tmp_path / "wish.gguf", wish.metadata, wish.tensors)
    with pytest.raises(UnsupportedModel, match=wish.reason):
        open_native(path, LOAD, "test", lambda _: None)
    assert wish.reason in _runs_on_libllama(path, LOAD, caplog)


def test_an_architecture_without_a_definition_goes_to_libllama(
    tiny_model: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "internlm2.gguf"
    with GGUFFile.open(tiny_model("llama")) as file:
        head = {key.replace("llama.", "internlm2.", 1): file.typed(key) for key in file.metadata}
        tensors = [
            TensorSource(t.name, t.type, t.shape, bytes(file.data(t.name)))
            for t in file.tensors.values()
        ]
        output = file.tensors["token_embd.weight"]
        copied = bytes(file.data(output.name))
        tensors.append(TensorSource("output.weight", output.type, output.shape, copied))
        write_gguf(path, {**head, "general.architecture": "internlm2"}, tensors)
    reason = _runs_on_libllama(path, LOAD, caplog)
    assert reason == "the native engine has no definition of 'internlm2'"


def test_adapters_of_experts_go_to_libllama(
    shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = shared_data / "toy" / "qwen3moe.gguf"
    load = LoadOptions(n_ctx=256, n_batch=64, n_threads=1, adapts_experts=True)
    assert "an adapter changes experts" in _runs_on_libllama(path, load, caplog)
    name = "blk.0.ffn_up_exps.weight"
    with GGUFFile.open(path) as file:
        n_in, n_out, n_experts = file.tensors[name].shape
    rng = np.random.default_rng(0)
    a = rng.standard_normal((n_experts, 4, n_in)).astype(np.float32)
    b = rng.standard_normal((n_experts, n_out, 4)).astype(np.float32)
    write_gguf(
        tmp_path / "experts.gguf",
        {
            "general.type": "adapter",
            "general.architecture": "qwen3moe",
            "adapter.type": "lora",
        },
        [encoded(f"{name}.lora_a", a), encoded(f"{name}.lora_b", b)],
    )
    adapters = (adapter_at(tmp_path / "experts.gguf"),)
    engine = open_engine(path, load, lambda _: None)
    engine.hold_adapters(adapters)  # type: ignore[attr-defined]
    rows = []
    for held in ((), adapters):
        rows.append(engine.forward(Plan((Span(SeqId(0), 0, [3, 4, 5], 1, held),))).copy())
        engine.truncate(SeqId(0), 0)
    assert np.abs(rows[0] - rows[1]).max() > 0.01
    engine.close()


def test_a_scaling_that_libllama_would_assert_is_refused(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    path = rewrite(tiny_model(), tmp_path / "spiral.gguf", {"llama.rope.scaling.type": "spiral"})
    engines: tuple[EngineChoice, ...] = ("auto", "native", "llama")
    for engine in engines:
        load = replace(LOAD, engine=engine)
        with pytest.raises(UnsupportedModel, match="rope scaling 'spiral' is not implemented"):
            open_engine(path, load, lambda _: None)


def test_what_no_engine_runs_is_refused_with_both_reasons(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    surprise = {"blk.0.surprise.weight": np.ones(4, np.float32)}
    path = rewrite(tiny_model(), tmp_path / "surprise.gguf", {}, surprise)
    with pytest.raises(LoadFailed, match=r"wrong number of tensors.*nor natively: .*surprise"):
        open_engine(path, LOAD, lambda _: None)
