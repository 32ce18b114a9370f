"""LoRA adapters as PEFT saves them, to GGUF."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from cama.convert.checkpoint import Checkpoint
from cama.convert.config import Config
from cama.convert.families import family_of_gguf
from cama.convert.output import hashed
from cama.convert.safetensors import Tensor
from cama.convert.tensors import Renaming, Writer
from cama.convert.values import pieces
from cama.core.errors import InvalidModelFile, UnsupportedModel
from cama.gguf import F32, GGMLType, GGUFFile, TensorSource, Writable
from cama.gguf.writer import write_stream

_NAME: Final = re.compile(r"base_model\.model\.(.+)\.lora_(A|B)(?:\.default)?\.weight")
_NOT_YET: Final = {
    "use_dora": "DoRA",
    "fan_in_fan_out": "fan_in_fan_out",
    "alpha_pattern": "alpha_pattern",
    "modules_to_save": "modules_to_save",
    "trainable_token_indices": "trainable_token_indices",
}


def convert_adapter(checkpoint: Checkpoint, base: Path, target: Path) -> str:
    """Write the adapter to ``target``, for the model in the GGUF file ``base``; returns the digest.

    Raises InvalidModelFile, UnsupportedModel, StoreError.
    """
    config = checkpoint.required("adapter_config.json")
    _require_plain(config)
    with GGUFFile.open(base) as file:
        architecture = file.architecture
        heads = _heads(file, architecture)
    family = family_of_gguf(architecture)
    writer = Writer(family, heads, GGMLType.F32, lambda n_bytes: None)
    metadata: dict[str, Writable] = {
        "general.architecture": architecture,
        "general.type": "adapter",
        "general.name": checkpoint.name or "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": F32(_alpha(config)),
    }
    rename = Renaming(family)
    tensors = [_source(tensor, rename, writer) for tensor in checkpoint.tensors.values()]
    _check_pairs(tensors)
    with hashed(target) as out:
        write_stream(out, metadata, sorted(tensors, key=lambda tensor: tensor.name))
    return out.digest


def _require_plain(config: Config) -> None:
    kind = config.text("peft_type", "LORA")
    config.require(kind == "LORA", f"the kind of adapter {kind!r}")
    config.require(config.text("bias", "none") == "none", "an adapter that changes biases")
    for key, name in _NOT_YET.items():
        config.require(not config.values.get(key), name)


def _alpha(config: Config) -> float:
    """What a pair's product is multiplied with, times its rank: engines divide by that."""
    alpha, rank = config.number("lora_alpha"), config.integer("r")
    if config.flag("use_rslora", False):
        config.require(not config.values.get("rank_pattern"), "rsLoRA with several ranks")
        return alpha * math.sqrt(rank)
    # The scale is alpha by the rank of the config; a pair of another rank has a scale of its own.
    config.require(not config.values.get("rank_pattern"), "rank_pattern")
    return alpha


def _heads(file: GGUFFile, architecture: str) -> Config:
    names = {"num_attention_heads": "head_count", "num_key_value_heads": "head_count_kv"}
    found = {ours: file.get(f"{architecture}.attention.{theirs}") for ours, theirs in names.items()}
    return Config(found, str(file.path.name))


def _source(tensor: Tensor, rename: Renaming, writer: Writer) -> TensorSource:
    found = _NAME.fullmatch(tensor.name)
    if found is None or len(tensor.shape) != 2 or min(tensor.shape) < 1:
        raise UnsupportedModel(f"the adapter's tensor {ascii(tensor.name)[:120]} is not understood")
    renamed = rename(f"{found[1]}.weight")
    if renamed is None or renamed[1] is not None:
        raise UnsupportedModel(f"an adapter cannot change {ascii(found[1])[:120]}")
    name = renamed[0]
    # The rows of B are those of what the weight gives, and are rotated as those are.
    bits = tensor.bits if found[2] == "A" else writer.paired(name, tensor.bits)

    def data() -> Iterator[bytes | memoryview]:
        yield from pieces(np.asarray(bits), tensor.dtype, GGMLType.F32)

    shape = (tensor.shape[1], tensor.shape[0])
    return TensorSource(f"{name}.lora_{found[2].lower()}", GGMLType.F32, shape, data)


def _check_pairs(tensors: list[TensorSource]) -> None:
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    if not shapes or len(shapes) < len(tensors):
        raise InvalidModelFile("the adapter has no tensors, or the same twice", field="tensors")
    for name, shape in shapes.items():
        half = name[-1]
        twin = shapes.get(name[:-1] + ("b" if half == "a" else "a"))
        a, b = (shape, twin) if half == "a" else (twin, shape)
        if a is None or b is None or a[1] != b[0]:
            raise InvalidModelFile(f"{name} has no other half that fits", field=name)
