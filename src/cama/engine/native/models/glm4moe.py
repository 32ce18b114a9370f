"""GLM 4.5 and 4.6: partly rotated heads, and experts behind the first layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cama.engine.native import nn
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(nn.RoutedConfig, nn.MaybeSectionedConfig):
    rope_style: ClassVar[nn.RopeStyle] = nn.RopeStyle.NEOX

    @property
    def gating(self) -> nn.Gating:
        return nn.Gating.SIGMOID


class Block(nn.Layer):
    attn_norm: nn.RMSNorm
    attention: nn.NormedAttention | nn.Attention
    post_attention_norm: nn.RMSNorm
    mlp: nn.GatedMLP | nn.SharedMoE

    def __call__(self, x: Tensor, at: nn.Place) -> Tensor:
        x = at.wanted(x + self.attention(self.attn_norm(x), at))
        return x + self.mlp(self.post_attention_norm(x))


class Glm4MoE(nn.MaybeSectionedDecoder):
    config: Config
    blk: Sequence[Block]
