"""What model definitions are made of."""

from cama.engine.native.nn.config import BaseConfig, gguf
from cama.engine.native.nn.decoder import (
    Attention,
    Block,
    Decoder,
    DecoderConfig,
    GatedMLP,
    Step,
    attend,
    heads,
)
from cama.engine.native.nn.layers import Embedding, Linear, RMSNorm, Vector
from cama.engine.native.nn.module import Group, Module, Weights, leaves, tied
from cama.engine.native.nn.rope import RopeScaling, RopeStyle, Rotation

__all__ = [
    "Attention",
    "BaseConfig",
    "Block",
    "Decoder",
    "DecoderConfig",
    "Embedding",
    "GatedMLP",
    "Group",
    "Linear",
    "Module",
    "RMSNorm",
    "RopeScaling",
    "RopeStyle",
    "Rotation",
    "Step",
    "Vector",
    "Weights",
    "attend",
    "gguf",
    "heads",
    "leaves",
    "tied",
]
