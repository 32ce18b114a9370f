"""What model definitions are made of."""

from cama.engine.native.nn.attention import (
    QKV,
    Attention,
    FusedQKV,
    Mixer,
    NormedAttention,
    ScaledQueryAttention,
    attend,
    flat,
    heads,
)
from cama.engine.native.nn.config import BaseConfig, gguf
from cama.engine.native.nn.decoder import Block, Decoder, DenseBlock, Layer, SandwichBlock, soft_cap
from cama.engine.native.nn.decoder_config import DecoderConfig
from cama.engine.native.nn.delta import DeltaConfig, DeltaNet, GatedAttention
from cama.engine.native.nn.encoder import Encoder, EncoderConfig
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
from cama.engine.native.nn.mamba import Mamba2, MambaConfig
from cama.engine.native.nn.mla import CompressedAttention, ExpandedAttention, MLAConfig
from cama.engine.native.nn.mlp import MLP, FusedMLP, GatedMLP, GeluMLP, SharedMLP
from cama.engine.native.nn.module import Group, Module, Weights, present, tied
from cama.engine.native.nn.moe import (
    FusedGatedExperts,
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
from cama.engine.native.nn.per_layer import PerLayerGate, PerLayerInputs
from cama.engine.native.nn.positions import (
    RopeFactors,
    SectionedConfig,
    SectionedDecoder,
    Warmth,
)
from cama.engine.native.nn.recurrent import HybridConfig, convolve
from cama.engine.native.nn.rope import (
    NoRotation,
    RopeScaling,
    RopeStyle,
    Rotation,
    SectionedRotation,
)
from cama.engine.native.nn.step import OfPositions, Place, Step
from cama.engine.native.nn.window import WindowConfig

__all__ = [
    "MLP",
    "QKV",
    "Attention",
    "Bare",
    "BaseConfig",
    "Bias",
    "Block",
    "CompressedAttention",
    "Decoder",
    "DecoderConfig",
    "DeltaConfig",
    "DeltaNet",
    "DenseBlock",
    "Embedding",
    "Encoder",
    "EncoderConfig",
    "ExpandedAttention",
    "Experts",
    "FusedGatedExperts",
    "FusedMLP",
    "FusedQKV",
    "GatedAttention",
    "GatedExperts",
    "GatedMLP",
    "Gating",
    "GeluMLP",
    "Group",
    "HybridConfig",
    "Layer",
    "LayerNorm",
    "Linear",
    "MLAConfig",
    "Mamba2",
    "MambaConfig",
    "Mixer",
    "MoE",
    "MoEConfig",
    "Module",
    "NoRotation",
    "NormedAttention",
    "OfPositions",
    "PerLayerGate",
    "PerLayerInputs",
    "Place",
    "RMSNorm",
    "RopeFactors",
    "RopeScaling",
    "RopeStyle",
    "Rotation",
    "RoutedConfig",
    "Router",
    "Routing",
    "SandwichBlock",
    "Scale",
    "ScaledQueryAttention",
    "SectionedConfig",
    "SectionedDecoder",
    "SectionedRotation",
    "SharedMLP",
    "SharedMoE",
    "Step",
    "Unused",
    "Vector",
    "Warmth",
    "Weights",
    "WindowConfig",
    "add_up",
    "attend",
    "convolve",
    "flat",
    "gguf",
    "heads",
    "present",
    "rows",
    "soft_cap",
    "tied",
]
