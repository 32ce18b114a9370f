"""Qwen 3.5, with and without experts: gated delta nets beside gated attention."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cama.engine.native import nn
from cama.engine.native.models import qwen3next
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(nn.DeltaConfig, nn.SectionedConfig, nn.MoEConfig):
    rope_style: ClassVar[nn.RopeStyle] = nn.RopeStyle.INTERLEAVED


class DeltaNet(nn.DeltaNet):
    """Value heads take turns with the key heads."""

    ssm_beta: nn.Linear
    ssm_alpha: nn.Linear

    def rates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.ssm_alpha(x), self.ssm_beta(x)


class Block(nn.Layer):
    attn_norm: nn.RMSNorm
    mixer: DeltaNet | nn.GatedAttention
    post_attention_norm: nn.RMSNorm
    mlp: qwen3next.MoE | nn.GatedMLP

    def __call__(self, x: Tensor, at: nn.Place) -> Tensor:
        x = self.mixer(self.attn_norm(x), at) + x
        return self.mlp(self.post_attention_norm(x)) + x


class Qwen35(nn.SectionedDecoder):
    config: Config
    blk: Sequence[Block]
    chooses_rows_last = True
