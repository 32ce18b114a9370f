"""Granite 4: Mamba 2 in most layers."""

from collections.abc import Sequence
from dataclasses import dataclass

from cama.engine.native import nn
from cama.engine.native.models import granite


@dataclass(frozen=True, kw_only=True)
class Config(granite.Config, nn.MambaConfig):
    pass


class Block(granite.Scaled):
    config: Config
    attention: nn.Attention | nn.Mamba2


class GraniteHybrid(granite.Outer):
    config: Config
    blk: Sequence[Block]
