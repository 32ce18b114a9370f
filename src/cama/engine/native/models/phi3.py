"""Phi 3, 3.5 and 4 mini: fused weights, and frequencies for short and for long contexts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cama.engine.native import nn
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(nn.DecoderConfig):
    rope_style: ClassVar[nn.RopeStyle] = nn.RopeStyle.NEOX


class Block(nn.Block):
    attention: nn.ScaledQueryAttention
    mlp: nn.FusedMLP


class Phi3(nn.Decoder):
    config: Config
    blk: Sequence[Block]
    rope: nn.RopeFactors

    def factors(self, c: nn.DecoderConfig) -> Tensor | None:
        return self.rope.choose(c)
