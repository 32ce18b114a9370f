"""The text part of Qwen 3 VL, with and without experts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cama.engine.native import nn


@dataclass(frozen=True, kw_only=True)
class Config(nn.SectionedConfig, nn.MoEConfig):
    rope_style: ClassVar[nn.RopeStyle] = nn.RopeStyle.INTERLEAVED

    n_deepstack: int = nn.gguf("n_deepstack_layers", default=0)
    """Layers that images add to; text adds nothing there."""


class Block(nn.Block):
    attention: nn.NormedAttention
    mlp: nn.GatedMLP | nn.MoE


class Qwen3VL(nn.SectionedDecoder):
    config: Config
    blk: Sequence[Block]
