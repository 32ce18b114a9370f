"""GLM 4.5 and 4.6: partly rotated heads, and experts behind the first layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cama.engine.native import nn
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(nn.RoutedConfig):
    rope_style: ClassVar[nn.RopeStyle] = nn.RopeStyle.NEOX

    sections: tuple[int, ...] = nn.gguf("rope.dimension_sections", default=())

    @property
    def gating(self) -> nn.Gating:
        return nn.Gating.SIGMOID

    @property
    def refusals(self) -> dict[str, bool]:
        return super().refusals | {"positions in sections": any(self.sections[:2])}


class Block(nn.Layer):
    attn_norm: nn.RMSNorm
    attention: nn.NormedAttention | nn.Attention
    post_attention_norm: nn.RMSNorm
    mlp: nn.GatedMLP | nn.SharedMoE

    def __call__(self, x: Tensor, at: nn.Place) -> Tensor:
        x = at.wanted(x + self.attention(self.attn_norm(x), at))
        return x + self.mlp(self.post_attention_norm(x))


class Glm4MoE(nn.Decoder):
    config: Config
    blk: Sequence[Block]
