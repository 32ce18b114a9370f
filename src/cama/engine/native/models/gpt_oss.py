"""gpt-oss: attention with sinks, and experts with biases and a clamped gate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cama.engine.native import nn
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(nn.MoEConfig, nn.WindowConfig):
    rope_style: ClassVar[nn.RopeStyle] = nn.RopeStyle.NEOX
    normalises: ClassVar[bool] = False

    sliding_window: int = nn.gguf("attention.sliding_window")
    window_pattern: int = nn.gguf("attention.sliding_window_pattern", default=2, by_layer=True)
    rope_base_swa: float | None = nn.gguf("rope.freq_base_swa", default=None)

    @property
    def gating(self) -> nn.Gating:
        return nn.Gating.SOFTMAX_OF_CHOSEN

    @property
    def rope_base_here(self) -> float:
        if self.window is None or self.rope_base_swa is None:
            return self.rope_base
        return self.rope_base_swa

    @property
    def attention_scale(self) -> float:
        return float(np.float32(1) / np.sqrt(np.float32(self.rope_n_dims)))


class Attention(nn.Attention):
    attn_sinks: nn.Vector

    def attend(self, q: Tensor, k: Tensor, v: Tensor, at: nn.Place) -> Tensor:
        sinks = self.attn_sinks.weight
        return nn.attend(q, k, v, at.kv, self.config.attention_scale, sinks=sinks)


def _clamped(gate: Tensor, up: Tensor) -> Tensor:
    return ops.swiglu_clamped(gate, up, alpha=1.702, limit=7.0)


class Experts(nn.GatedExperts):
    gated = staticmethod(_clamped)


class MoE(nn.MoE):
    experts: Experts


class Block(nn.Layer):
    attn_norm: nn.RMSNorm
    attention: Attention
    post_attention_norm: nn.RMSNorm
    moe: MoE

    def __call__(self, x: Tensor, at: nn.Place) -> Tensor:
        x = at.wanted(x + self.attention(self.attn_norm(x), at))
        return x + self.moe(self.post_attention_norm(x))


class GptOss(nn.Decoder):
    config: Config
    blk: Sequence[Block]
    output: nn.Linear
