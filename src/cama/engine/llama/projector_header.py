"""What must hold of a projector's file before libmtmd reads it, which ends the process on the rest.

Only what is so for every kind of projector: what one kind needs, libmtmd asks for by itself.
"""

import re
from typing import Final

from cama.core.errors import InvalidModelFile, UnsupportedModel
from cama.gguf import GGUFFile, TensorInfo
from cama.gguf.values import Scalar, ValueType

_SIZES: Final = (
    "image_size", "patch_size", "embedding_length", "feed_forward_length", "block_count",
    "projection_dim", "attention.head_count",
)  # fmt: skip
_MAY_BE_ZERO: Final = (
    "feed_forward_length", "block_count", "projection_dim", "attention.head_count",
)  # fmt: skip
"""In kinds that have none, or where libmtmd does not look."""
_LARGEST: Final = 1 << 16

_BLOCK: Final = re.compile(r"v\.blk\.\d+\.(\w+)\.(weight|bias)")
_INPUTS: Final = ("attn_q", "attn_k", "attn_v", "attn_qkv")
_TRIPLE: Final = ("attn_q", "attn_k", "attn_v")
_MATRICES: Final = (*_INPUTS, "attn_out", "ffn_up", "ffn_down", "ffn_gate")
_MIRRORED: Final = {"attn_out": "attn_q", "ffn_down": "ffn_up"}
"""A matrix takes back what the other one gives."""

_STEMS: Final = ("patch_embd", "conv_stem")
"""What the pixels are multiplied with, in the names of its tensors."""


def check_projector(file: GGUFFile) -> None:
    """Raise InvalidModelFile, which names the key or tensor, or UnsupportedModel."""
    if file.architecture != "clip":
        raise UnsupportedModel(
            f"{file.path.name} is no projector but a {file.architecture}", path=str(file.path)
        )
    if file.get("clip.has_vision_encoder") is False:
        raise UnsupportedModel(f"the projector {file.path.name} is not one for images")
    sizes = {key: _size(file, key) for key in _SIZES}
    epsilon = "clip.vision.attention.layer_norm_epsilon"
    if epsilon in file.metadata and not _is(file, epsilon, ValueType.FLOAT32):
        raise _damaged(file, epsilon, "is no float32")
    width, n_head = sizes["embedding_length"], sizes["attention.head_count"]
    has_own_heads = "clip.vision.attention.head_dim" in file.metadata
    if width and n_head and width % n_head and not has_own_heads:
        raise _damaged(file, "clip.vision.attention.head_count", f"does not divide {width}")
    if not any(stem in name for name in file.tensors for stem in _STEMS):
        raise _damaged(file, "v.patch_embd.weight", "is missing")
    if width:
        _check_blocks(file, width)


def _size(file: GGUFFile, name: str) -> int:
    """0 where the file does not say; what it lacks, libmtmd names."""
    key = f"clip.vision.{name}"
    if key not in file.metadata:
        return 0
    value = file.get(key)
    least = 0 if name in _MAY_BE_ZERO else 1
    if not _is(file, key, ValueType.UINT32) or not least <= value <= _LARGEST:
        raise _damaged(file, key, f"is {value!r:.40}, not a uint32 from {least} to {_LARGEST}")
    return int(value)


def _check_blocks(file: GGUFFile, width: int) -> None:
    """The layers that all kinds share: what they are multiplied with and what is added fits."""
    for name, tensor in file.tensors.items():
        match = _BLOCK.fullmatch(name)
        if match is None:
            continue
        part, kind = match.groups()
        stem = name.removesuffix(f".{part}.{kind}")
        weight = file.tensors.get(f"{stem}.{part}.weight")
        if kind == "bias":
            if weight is not None:
                _check_shape(file, tensor, weight.shape[-1:])
            continue
        if part not in _MATRICES:
            continue
        fits = width in tensor.shape and (part not in _INPUTS or tensor.shape[0] == width)
        if not fits or len(tensor.shape) != 2:
            raise _damaged(file, name, f"has the shape {tensor.shape}, in a width of {width}")
        mirrored = file.tensors.get(f"{stem}.{_MIRRORED.get(part, '')}.weight")
        if mirrored is not None:
            _check_shape(file, tensor, mirrored.shape[::-1])
        for other in _TRIPLE if part in _TRIPLE else ():
            if f"{stem}.{other}.weight" not in file.tensors:
                raise _damaged(file, f"{stem}.{other}.weight", "is missing")


def _check_shape(file: GGUFFile, tensor: TensorInfo, wanted: tuple[int, ...]) -> None:
    if tensor.shape != wanted:
        raise _damaged(file, tensor.name, f"has the shape {tensor.shape}, not {wanted}")


def _is(file: GGUFFile, key: str, kind: ValueType) -> bool:
    value = file.typed(key)
    return isinstance(value, Scalar) and value.type is kind


def _damaged(file: GGUFFile, field: str, complaint: str) -> InvalidModelFile:
    path = str(file.path)
    return InvalidModelFile(f"{file.path.name}: {field} {complaint}", path=path, field=field)
