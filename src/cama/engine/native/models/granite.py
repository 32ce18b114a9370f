"""Granite: a Llama whose embeddings, layers, scores and logits are scaled."""

from collections.abc import Sequence
from dataclasses import dataclass

from cama.engine.native import nn
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(nn.MoEConfig):
    embedding_scale: float = nn.gguf("embedding_scale", default=0.0)
    residual_scale: float = nn.gguf("residual_scale", default=0.0)
    own_attention_scale: float = nn.gguf("attention.scale", default=0.0)
    logit_scale: float = nn.gguf("logit_scale")
    is_rotary: bool = nn.gguf("rope.scaling.finetuned", default=True)

    @property
    def attention_scale(self) -> float:
        return self.own_attention_scale or super().attention_scale

    @property
    def rotates(self) -> bool:
        return self.is_rotary


class Scaled(nn.Block):
    """What each layer adds is multiplied first."""

    config: Config
    mlp: nn.GatedMLP | nn.SharedMoE

    def __call__(self, x: Tensor, at: nn.Place) -> Tensor:
        x = at.wanted(x + self.scaled(self.attention(self.attn_norm(x), at)))
        return x + self.scaled(self.mlp(self.ffn_norm(x)))

    def scaled(self, x: Tensor) -> Tensor:
        factor = self.config.residual_scale
        return ops.scale(x, factor) if factor else x


class Block(Scaled):
    attention: nn.Attention


class Outer(nn.Decoder):
    """What stands around the blocks."""

    config: Config
    rope: nn.RopeFactors

    def factors(self, c: nn.DecoderConfig) -> Tensor | None:
        return self.rope.choose(c)

    def embed(self, step: nn.Step) -> Tensor:
        x = super().embed(step)
        factor = self.config.embedding_scale
        return ops.scale(x, factor) if factor else x

    def logits(self, hidden: Tensor) -> Tensor:
        return ops.scale(super().logits(hidden), 1.0 / self.config.logit_scale)


class Granite(Outer):
    blk: Sequence[Block]
