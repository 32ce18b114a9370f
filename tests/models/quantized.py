"""Reference models with 8-bit weights, as far as their rows are whole blocks."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cama.gguf import GGMLType, GGUFFile, TensorSource, write_gguf

_BLOCK = 32
_KEPT = ("norm", "bias", "scale", "conv", "ssm_a", "ssm_d", "gate_inp", "altup", "rope_")
"""Parts of names of tensors that files keep in float32."""


def quantized(source: Path, target: Path) -> Path:
    """A copy of ``source`` whose matrices are of type Q8_0."""
    with GGUFFile.open(source) as file:
        tensors = []
        for info in file.tensors.values():
            data, kind = bytes(file.data(info.name)), info.type
            is_matrix = len(info.shape) > 1 and info.shape[0] % _BLOCK == 0
            if is_matrix and kind == GGMLType.F32 and not any(part in info.name for part in _KEPT):
                data, kind = _q8_0(np.frombuffer(data, np.float32)), GGMLType.Q8_0
            tensors.append(TensorSource(info.name, kind, info.shape, data))
        write_gguf(target, {key: file.typed(key) for key in file.metadata}, tensors)
    return target


def _q8_0(values: NDArray[np.float32]) -> bytes:
    """Blocks of a float16 scale and 32 signed bytes."""
    blocks = values.reshape(-1, _BLOCK)
    scales = np.abs(blocks).max(axis=1, keepdims=True) / 127
    steps = np.rint(blocks / np.where(scales > 0, scales, 1))
    packed = np.empty(len(blocks), np.dtype([("scale", "<f2"), ("steps", "i1", _BLOCK)]))
    packed["scale"] = scales[:, 0]
    packed["steps"] = steps
    return packed.tobytes()
