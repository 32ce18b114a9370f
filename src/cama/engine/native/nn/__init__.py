"""What model definitions are made of."""

from cama.engine.native.nn.attention import (
    QKV,
    Attention,
    FusedQKV,
    NormedAttention,
    ScaledQueryAttention,
    attend,
    heads,
)
from cama.engine.native.nn.config import BaseConfig, gguf
from cama.engine.native.nn.decoder import Block, Decoder
from cama.engine.native.nn.decoder_config import DecoderConfig
from cama.engine.native.nn.layers import (
    Bare,
    Bias,
    Embedding,
    Experts,
    LayerNorm,
    Linear,
    RMSNorm,
    Scale,
    Unused,
    Vector,
)
from cama.engine.native.nn.mlp import FusedMLP, GatedMLP, GeluMLP, SharedMLP
from cama.engine.native.nn.module import Group, Module, Weights, tied
from cama.engine.native.nn.moe import (
    GatedExperts,
    Gating,
    MoE,
    MoEConfig,
    RoutedConfig,
    Router,
    Routing,
    SharedMoE,
    add_up,
    rows,
)
from cama.engine.native.nn.rope import (
    NoRotation,
    RopeScaling,
    RopeStyle,
    Rotation,
    SectionedRotation,
)
from cama.engine.native.nn.step import OfPositions, Place, Step

__all__ = [
    "Attention",
    "Bare",
    "BaseConfig",
    "Bias",
    "Block",
    "Decoder",
    "DecoderConfig",
    "Embedding",
    "Experts",
    "FusedMLP",
    "FusedQKV",
    "GatedExperts",
    "GatedMLP",
    "Gating",
    "GeluMLP",
    "Group",
    "LayerNorm",
    "Linear",
    "MoE",
    "MoEConfig",
    "Module",
    "NoRotation",
    "NormedAttention",
    "OfPositions",
    "Place",
    "QKV",
    "RMSNorm",
    "RopeScaling",
    "RopeStyle",
    "Rotation",
    "RoutedConfig",
    "Router",
    "Routing",
    "Scale",
    "ScaledQueryAttention",
    "SectionedRotation",
    "SharedMLP",
    "SharedMoE",
    "Step",
    "Unused",
    "Vector",
    "Weights",
    "add_up",
    "attend",
    "gguf",
    "heads",
    "rows",
    "tied",
]
