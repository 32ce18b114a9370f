"""Qwen 3 with experts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cama.engine.native import nn


@dataclass(frozen=True, kw_only=True)
class Config(nn.MoEConfig):
    rope_style: ClassVar[nn.RopeStyle] = nn.RopeStyle.NEOX


class Block(nn.Block):
    attention: nn.NormedAttention
    mlp: nn.MoE


class Qwen3MoE(nn.Decoder):
    config: Config
    blk: Sequence[Block]
