"""GLM 4: norms around every layer, half of each head rotates, gate and up in one weight."""

from collections.abc import Sequence
from dataclasses import dataclass

from cama.engine.native import nn


@dataclass(frozen=True, kw_only=True)
class Config(nn.DecoderConfig):
    sections: tuple[int, ...] = nn.gguf("rope.dimension_sections", default=())

    @property
    def refusals(self) -> dict[str, bool]:
        return super().refusals | {"positions in sections": any(self.sections[:2])}


class Block(nn.SandwichBlock):
    attention: nn.Attention
    mlp: nn.FusedMLP


class Glm4(nn.Decoder):
    config: Config
    blk: Sequence[Block]
