"""GLM 4: norms around every layer, half of each head rotates, gate and up in one weight."""

from collections.abc import Sequence
from dataclasses import dataclass

from cama.engine.native import nn


@dataclass(frozen=True, kw_only=True)
class Config(nn.DecoderConfig):
    sections: int = nn.gguf("rope.dimension_sections", default=0, by_layer=True)

    @property
    def refusals(self) -> dict[str, bool]:
        return super().refusals | {"positions in sections": self.sections > 0}


class Block(nn.SandwichBlock):
    mlp: nn.FusedMLP


class Glm4(nn.Decoder):
    config: Config
    blk: Sequence[Block]
