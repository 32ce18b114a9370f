"""Projectors of random weights, one of each kind that an engine must treat in its own way, and
pictures for them."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from cama.gguf import GGMLType, TensorSource, write_gguf
from cama.gguf.encode import Writable

Kind = Literal["mlp", "gemma3", "qwen2vl_merger", "idefics3"]
"""LLaVA's: tokens one after the other. Gemma 3's: all tokens of an image see each other. Qwen 2's:
positions in two dimensions, and images of any size. Idefics 3's: a picture in several parts, with
text between them."""

SEES: dict[str, Kind] = {
    "llama": "mlp", "gemma3": "gemma3", "qwen2vl": "qwen2vl_merger", "lfm2": "mlp",
}  # fmt: skip
"""A kind for an architecture; the last one keeps running states."""

_PATCH, _WIDTH, _FF, _HEADS, _LAYERS = 14, 32, 64, 2, 2
_SIDE = 112  # pixels of an image, for kinds with a fixed size
_SCALE = 2  # patches, in each dimension, that become one token

Named = tuple[str, tuple[int, ...]]


def make_projector(path: Path, kind: Kind, n_embd: int = 256, seed: int = 0) -> Path:
    """Write a projector for models of width ``n_embd``; returns ``path``."""
    metadata: dict[str, Writable] = {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "general.file_type": 0,
        "clip.has_vision_encoder": True,
        "clip.projector_type": kind,
        "clip.use_gelu": True,
        "clip.vision.image_size": _SIDE,
        "clip.vision.patch_size": _PATCH,
        "clip.vision.embedding_length": _WIDTH,
        "clip.vision.feed_forward_length": _FF,
        "clip.vision.block_count": _LAYERS,
        "clip.vision.projection_dim": n_embd,
        "clip.vision.attention.head_count": _HEADS,
        "clip.vision.attention.layer_norm_epsilon": 1e-5,
        "clip.vision.image_mean": [0.5, 0.5, 0.5],
        "clip.vision.image_std": [0.5, 0.5, 0.5],
    }
    if kind == "idefics3":
        metadata |= {
            "clip.vision.projector.scale_factor": _SCALE,
            "clip.vision.preproc_image_size": 2 * _SIDE,
        }
    rng = np.random.default_rng(seed)

    def source(name: str, ne: tuple[int, ...]) -> TensorSource:
        values = rng.standard_normal(ne[::-1], np.float32) / np.float32(np.sqrt(ne[0]))
        if "norm" in name or ".ln" in name or "_ln" in name:
            values = values * np.float32(0.1) + np.float32(name.endswith("weight"))
        return TensorSource(name, GGMLType.F32, ne, values.astype(np.float32).tobytes())

    write_gguf(path, metadata, [source(*one) for one in _tensors(kind, n_embd)])
    return path


def _tensors(kind: Kind, n_embd: int) -> Iterator[Named]:
    patch = (_PATCH, _PATCH, 3, _WIDTH)
    n_patches = (_SIDE // _PATCH) ** 2
    yield "v.patch_embd.weight", patch
    match kind:
        case "mlp":
            yield "v.class_embd", (_WIDTH,)
            yield "v.position_embd.weight", (_WIDTH, n_patches + 1)
            yield from _both("v.pre_ln", _WIDTH)
            yield from _linear("mm.0", _WIDTH, n_embd)
            yield from _linear("mm.2", n_embd, n_embd)
        case "gemma3":
            yield "v.position_embd.weight", (_WIDTH, n_patches)
            yield from _both("v.post_ln", _WIDTH)
            yield "mm.soft_emb_norm.weight", (_WIDTH,)
            yield "mm.input_projection.weight", (n_embd, _WIDTH)
        case "idefics3":
            yield "v.position_embd.weight", (_WIDTH, n_patches)
            yield from _both("v.post_ln", _WIDTH)
            yield "mm.model.fc.weight", (_SCALE**2 * _WIDTH, n_embd)
        case "qwen2vl_merger":
            yield "v.patch_embd.weight.1", patch
            yield from _both("v.post_ln", _WIDTH)
            yield from _linear("mm.0", 4 * _WIDTH, 4 * _WIDTH)
            yield from _linear("mm.2", 4 * _WIDTH, n_embd)
    for i in range(_LAYERS):
        block = f"v.blk.{i}"
        yield from _both(f"{block}.ln1", _WIDTH)
        yield from _both(f"{block}.ln2", _WIDTH)
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            yield from _linear(f"{block}.{name}", _WIDTH, _WIDTH)
        yield from _linear(f"{block}.ffn_up", _WIDTH, _FF)
        yield from _linear(f"{block}.ffn_down", _FF, _WIDTH)


def _linear(name: str, n_in: int, n_out: int) -> Iterator[Named]:
    yield f"{name}.weight", (n_in, n_out)
    yield f"{name}.bias", (n_out,)


def _both(name: str, width: int) -> Iterator[Named]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def png(seed: int = 0, width: int = 48, height: int = 32) -> bytes:
    """A picture of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
