"""OLMo 2 and 3: norms behind every layer, and over all of q and k; OLMo 3 has windows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from cama.engine.native import nn
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(nn.WindowConfig):
    rope_style: ClassVar[nn.RopeStyle] = nn.RopeStyle.NEOX

    sliding_window: int = nn.gguf("attention.sliding_window", default=0)
    window_pattern: int = nn.gguf("attention.sliding_window_pattern", default=4, by_layer=True)

    @property
    def rope(self) -> nn.RopeScaling:
        whole = super().rope
        return whole if self.window is None else replace(whole, type="none", attn_factor=1.0)


class Attention(nn.Attention):
    """The norms run over all heads of a token at once."""

    attn_q_norm: nn.RMSNorm
    attn_k_norm: nn.RMSNorm

    def turn(self, q: Tensor, k: Tensor, at: nn.Place) -> tuple[Tensor, Tensor]:
        q = nn.heads(self.attn_q_norm(ops.merge(q)), q.shape[1])
        k = nn.heads(self.attn_k_norm(ops.merge(k)), k.shape[1])
        return at.rotate(q), at.rotate(k)


class Block(nn.Layer):
    attention: Attention
    post_attention_norm: nn.RMSNorm
    mlp: nn.GatedMLP
    post_ffw_norm: nn.RMSNorm

    def __call__(self, x: Tensor, at: nn.Place) -> Tensor:
        attended = self.post_attention_norm(at.wanted(self.attention(x, at)))
        x = attended + at.wanted(x)
        return self.post_ffw_norm(self.mlp(x)) + x


class Olmo2(nn.Decoder):
    config: Config
    blk: Sequence[Block]
    output: nn.Linear
