"""The text part of Qwen 2 VL and 2.5 VL: a Qwen 2 that rotates by time, height and width."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cama.engine.native import nn


@dataclass(frozen=True, kw_only=True)
class Config(nn.SectionedConfig):
    rope_style: ClassVar[nn.RopeStyle] = nn.RopeStyle.SECTIONS

    # libllama does not read the key for this architecture, and computes with 0
    norm_epsilon: float = 0.0


class Qwen2VL(nn.SectionedDecoder):
    config: Config
    blk: Sequence[nn.DenseBlock]
