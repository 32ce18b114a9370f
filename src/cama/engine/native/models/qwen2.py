"""Qwen 2 and 2.5: a Llama with biases on q, k and v, and half-split rotary pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cama.engine.native import nn


@dataclass(frozen=True, kw_only=True)
class Config(nn.DecoderConfig):
    rope_style: ClassVar[nn.RopeStyle] = nn.RopeStyle.NEOX


class Qwen2(nn.Decoder):
    config: Config
    blk: Sequence[nn.DenseBlock]
