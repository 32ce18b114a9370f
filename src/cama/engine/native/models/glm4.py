"""GLM 4 and its OCR: norms around every layer, half of each head rotates."""

from collections.abc import Sequence
from dataclasses import dataclass

from cama.engine.native import nn


@dataclass(frozen=True, kw_only=True)
class Config(nn.MaybeSectionedConfig):
    pass


class Block(nn.SandwichBlock):
    attention: nn.Attention
    mlp: nn.GatedMLP | nn.FusedMLP


class Glm4(nn.MaybeSectionedDecoder):
    config: Config
    blk: Sequence[Block]
