"""Mistral 3 and Ministral: a Llama that reads far tokens with warmer attention."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cama.engine.native import nn
from cama.engine.native.models import llama
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(nn.MoEConfig):
    beta_fast: float = nn.gguf("rope.scaling.yarn_beta_fast", default=32.0)
    beta_slow: float = nn.gguf("rope.scaling.yarn_beta_slow", default=1.0)
    log_multiplier: float = nn.gguf("rope.scaling.yarn_log_multiplier", default=0.0)
    temperature: float = nn.gguf("attention.temperature_scale", default=0.0)

    @property
    def rope(self) -> nn.RopeScaling:
        return replace(
            super().rope,
            beta_fast=self.beta_fast,
            beta_slow=self.beta_slow,
            log_multiplier=self.log_multiplier,
        )


class Attention(nn.Attention):
    config: Config

    def turn(self, q: Tensor, k: Tensor, at: nn.Place) -> tuple[Tensor, Tensor]:
        q, k = super().turn(q, k, at)
        c = self.config
        if c.temperature == 0:
            return q, k
        warmth = nn.Warmth(c.temperature, c.rope.original_context)
        return q * at.step.derive(warmth), k


class Block(llama.Block):
    attention: Attention


class Mistral3(llama.Llama):
    config: Config
    blk: Sequence[Block]
