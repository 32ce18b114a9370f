"""Qwen 3: queries and keys are normalised per head before they are rotated."""

from collections.abc import Sequence

from cama.engine.native import nn
from cama.engine.native.models.qwen2 import Config


class Block(nn.DenseBlock):
    attention: nn.NormedAttention


class Qwen3(nn.Decoder):
    config: Config
    blk: Sequence[Block]
