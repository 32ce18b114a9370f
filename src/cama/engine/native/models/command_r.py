"""Command R: attention and MLP side by side behind one LayerNorm."""

from collections.abc import Sequence
from dataclasses import dataclass

from cama.engine.native import nn
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(nn.DecoderConfig):
    norm_epsilon: float = nn.gguf("attention.layer_norm_rms_epsilon", default=0.0)
    layer_norm_epsilon: float = nn.gguf("attention.layer_norm_epsilon")
    logit_scale: float = nn.gguf("logit_scale", default=0.0)


class Attention(nn.Attention):
    """Command R+ has a LayerNorm for each head."""

    attn_q_norm: nn.LayerNorm | None
    attn_k_norm: nn.LayerNorm | None

    def turn(self, q: Tensor, k: Tensor, at: nn.Place) -> tuple[Tensor, Tensor]:
        if self.attn_q_norm is not None:
            q = self.attn_q_norm(q)
        if self.attn_k_norm is not None:
            k = self.attn_k_norm(k)
        return super().turn(q, k, at)


class Block(nn.Layer):
    attn_norm: nn.LayerNorm
    attention: Attention
    mlp: nn.GatedMLP

    def __call__(self, x: Tensor, at: nn.Place) -> Tensor:
        normed = self.attn_norm(x)
        attended = at.wanted(self.attention(normed, at))
        return self.mlp(at.wanted(normed)) + at.wanted(x) + attended


class CommandR(nn.Decoder):
    config: Config
    blk: Sequence[Block]
    output_norm: nn.LayerNorm

    def logits(self, hidden: Tensor) -> Tensor:
        scale = self.config.logit_scale
        logits = super().logits(hidden)
        return ops.scale(logits, scale) if scale else logits
