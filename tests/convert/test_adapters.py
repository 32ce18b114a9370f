"""LoRA adapters as PEFT saves them: what they add to a model is the same after converting."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cama.convert.adapter import convert_adapter
from cama.convert.checkpoint import Checkpoint
from cama.core.errors import CamaError, InvalidModelFile, UnsupportedModel
from cama.engine.lora import Base, LoraFile
from cama.gguf import GGUFFile
from tests.convert import tokenizers_made
from tests.convert.checkpoints import Made, Weights, make, save, write_safetensors
from tests.convert.conftest import convert

RANK = 4
CONFIG: dict[str, Any] = {"peft_type": "LORA", "r": RANK, "lora_alpha": 6, "bias": "none"}
TARGETS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.o_proj", "mlp.up_proj")


def base_model(folder: Path, name: str) -> Made:
    made = make(folder, name)
    tokenizers_made.save(tokenizers_made.byte_level("qwen2"), folder)
    return made


def adapter(made: Made, folder: Path, *, seed: int = 5, **fields: Any) -> Checkpoint:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    for name in _changed(made):
        n_out, n_in = made.weights[f"{name}.weight"].shape
        stem = f"base_model.model.{name}.lora"
        weights[f"{stem}_A.weight"] = rng.standard_normal((RANK, n_in)).astype(np.float32)
        weights[f"{stem}_B.weight"] = rng.standard_normal((n_out, RANK)).astype(np.float32)
    write_safetensors(folder / "adapter_model.safetensors", weights)
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | fields))
    return Checkpoint({path.name: path for path in folder.iterdir()}, "adapter")


def _changed(made: Made) -> list[str]:
    layers = range(made.config["num_hidden_layers"])
    return [f"model.layers.{layer}.{target}" for layer in layers for target in TARGETS]


def merged(made: Made, source: Checkpoint, scale: float) -> Weights:
    """The weights with the adapter's products added."""
    weights = dict(made.weights)
    for name in _changed(made):
        stem = f"base_model.model.{name}.lora"
        a, b = (source.tensors[f"{stem}_{half}.weight"].bits for half in "AB")
        weights[f"{name}.weight"] = weights[f"{name}.weight"] + scale * (b @ a)
    return weights


def matrix(file: GGUFFile, name: str) -> NDArray[np.float32]:
    tensor = file.tensors[name]
    return np.frombuffer(bytes(file.data(name)), np.float32).reshape(tensor.shape[::-1])


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma2"])
@pytest.mark.parametrize(
    ("fields", "scale"), [({}, 6 / RANK), ({"use_rslora": True}, 6 / RANK**0.5)]
)
def test_an_adapter_adds_what_it_added(
    tmp_path: Path, name: str, fields: dict[str, Any], scale: float
) -> None:
    made = base_model(tmp_path / "hf", name)
    convert(made, tmp_path / "base.gguf")
    source = adapter(made, tmp_path / "lora", **fields)
    convert_adapter(source, tmp_path / "base.gguf", tmp_path / "lora.gguf")
    save(made.folder, merged(made, source, scale))
    convert(made, tmp_path / "merged.gguf")
    with (
        GGUFFile.open(tmp_path / "base.gguf") as base,
        GGUFFile.open(tmp_path / "merged.gguf") as whole,
        GGUFFile.open(tmp_path / "lora.gguf") as lora,
    ):
        alpha = lora.get("adapter.lora.alpha")
        names = {tensor.rpartition(".")[0] for tensor in lora.tensors}
        assert len(names) == 3 * len(TARGETS)
        for tensor in names:
            a, b = matrix(lora, f"{tensor}.lora_a"), matrix(lora, f"{tensor}.lora_b")
            sum_ = matrix(base, tensor) + alpha / RANK * (b @ a)
            np.testing.assert_allclose(sum_, matrix(whole, tensor), atol=1e-4)
        shapes = {tensor.name: tensor.shape for tensor in base.tensors.values()}
        architecture = base.architecture
    LoraFile.open(tmp_path / "lora.gguf", Base(architecture, shapes, lambda _: True)).close()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"peft_type": "IA3"}, "kind of adapter 'IA3'"),
        ({"use_dora": True}, "DoRA"),
        ({"bias": "all"}, "changes biases"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(
    tmp_path: Path, fields: dict[str, Any], text: str
) -> None:
    made = base_model(tmp_path / "hf", "llama")
    convert(made, tmp_path / "base.gguf")
    source = adapter(made, tmp_path / "lora", **fields)
    with pytest.raises(UnsupportedModel, match=text):
        convert_adapter(source, tmp_path / "base.gguf", tmp_path / "lora.gguf")


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        (
            "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
            InvalidModelFile,
            "half",
        ),
        (
            "base_model.model.model.layers.0.self_attn.x_proj.lora_A.weight",
            UnsupportedModel,
            "none",
        ),
        ("model.layers.0.self_attn.q_proj.weight", UnsupportedModel, "not understood"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    tmp_path: Path, name: str, kind: type[CamaError], text: str
) -> None:
    made = base_model(tmp_path / "hf", "llama")
    convert(made, tmp_path / "base.gguf")
    folder = tmp_path / "lora"
    folder.mkdir()
    write_safetensors(folder / "adapter_model.safetensors", {name: np.ones((4, 32), np.float32)})
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG))
    source = Checkpoint({path.name: path for path in folder.iterdir()}, "adapter")
    with pytest.raises(kind, match=text):
        convert_adapter(source, tmp_path / "base.gguf", tmp_path / "lora.gguf")
