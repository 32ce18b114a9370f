"""Random LoRA adapters for small models, and the same changes merged into the weights."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cama.core.generation import Adapter
from cama.ggml.quantize import dequantize, quantize
from cama.gguf import F32, GGMLType, GGUFFile, TensorSource, Writable, write_gguf

Matrix = NDArray[np.float32]


def changeable(model: Path) -> dict[str, tuple[int, ...]]:
    """The matrices of a model but for the embedding: name and shape, ne0 first."""
    with GGUFFile.open(model) as file:
        return {
            name: tensor.shape
            for name, tensor in file.tensors.items()
            if len(tensor.shape) == 2 and name != "token_embd.weight"
        }


def random_pairs(
    shapes: Mapping[str, tuple[int, ...]], rank: int, seed: int
) -> dict[str, tuple[Matrix, Matrix]]:
    """a (rank, n_in) and b (n_out, rank) of each weight, which change it by about a third."""
    rng = np.random.default_rng(seed)
    pairs = {}
    for name, (n_in, n_out) in shapes.items():
        a = rng.standard_normal((rank, n_in), np.float32) / np.sqrt(n_in)
        b = rng.standard_normal((n_out, rank), np.float32) / np.sqrt(rank) / 3
        pairs[name] = (a.astype(np.float32), b.astype(np.float32))
    return pairs


def encoded(name: str, values: Matrix, kind: GGMLType = GGMLType.F32) -> TensorSource:
    rows = values.astype(np.float32)
    data = rows.tobytes() if kind is GGMLType.F32 else quantize(kind, rows).tobytes()
    return TensorSource(name, kind, values.shape[::-1], data)


def write_adapter(
    path: Path,
    model: Path,
    *,
    rank: int = 4,
    alpha: float = 8.0,
    seed: int = 1,
    kind: GGMLType = GGMLType.F32,
    only: str = "",
    metadata: Mapping[str, Writable] | None = None,
) -> Adapter:
    """An adapter of ``model`` for the weights whose names contain ``only``."""
    shapes = {name: shape for name, shape in changeable(model).items() if only in name}
    with GGUFFile.open(model) as file:
        architecture = file.architecture
    tensors = []
    for name, (a, b) in random_pairs(shapes, rank, seed).items():
        tensors += [encoded(f"{name}.lora_a", a, kind), encoded(f"{name}.lora_b", b, _narrow(kind))]
    facts: dict[str, Writable] = {
        "general.type": "adapter",
        "general.architecture": architecture,
        "adapter.type": "lora",
        "adapter.lora.alpha": F32(alpha),
    }
    write_gguf(path, facts | dict(metadata or {}), tensors)
    return adapter_at(path)


def _narrow(kind: GGMLType) -> GGMLType:
    """b has rows of the rank, too short for blocks."""
    return kind if kind.block_size == 1 else GGMLType.F16


def adapter_at(path: Path, scale: float = 1.0) -> Adapter:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Adapter(path=path, digest=f"sha256:{digest}", scale=scale)


def merge(path: Path, model: Path, *adapters: Adapter) -> Path:
    """Write ``model`` with ``adapters`` merged into its weights, which become float32."""
    changes = [_changes(adapter) for adapter in adapters]
    with GGUFFile.open(model) as file:
        tensors = []
        for name, tensor in file.tensors.items():
            values = _read(file, name)
            for change in changes:
                if name in change:
                    values = values + change[name]
            tensors.append(TensorSource(name, GGMLType.F32, tensor.shape, _bytes(values)))
        write_gguf(path, {key: file.typed(key) for key in file.metadata}, tensors)
    return path


def _changes(adapter: Adapter) -> dict[str, NDArray[np.float64]]:
    with GGUFFile.open(adapter.path) as file:
        names = {name.rpartition(".")[0] for name in file.tensors}
        alpha = float(file.get("adapter.lora.alpha", 0.0))
        found = {}
        for name in names:
            a, b = (_read(file, f"{name}.{half}") for half in ("lora_a", "lora_b"))
            found[name] = b @ a * (alpha / len(a) if alpha else 1.0) * adapter.scale
        return found


def _read(file: GGUFFile, name: str) -> NDArray[np.float64]:
    tensor = file.tensors[name]
    values = dequantize(tensor.type, file.data(name), tensor.n_elements)
    return values.reshape(tensor.shape[::-1]).astype(np.float64)


def _bytes(values: NDArray[np.float64]) -> bytes:
    return values.astype(np.float32).tobytes()
