"""Gemma 2: norms around every layer, sliding windows in every other one, and soft caps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cama.engine.native import nn
from cama.engine.native.models import gemma
from cama.ggml.tensor import Tensor

_LAYERS_OF_27B = 46


@dataclass(frozen=True, kw_only=True)
class Config(gemma.Config, nn.WindowConfig):
    sliding_window: int = nn.gguf("attention.sliding_window", default=4096)
    window_pattern: int = nn.gguf("attention.sliding_window_pattern", default=2, by_layer=True)
    attention_cap: float = nn.gguf("attn_logit_softcapping", default=50.0)
    logit_cap: float = nn.gguf("final_logit_softcapping", default=30.0)
    rope_base_swa: float | None = nn.gguf("rope.freq_base_swa", default=None)

    @property
    def rope_base_here(self) -> float:
        has_own = self.window is not None and self.rope_base_swa is not None
        return float(self.rope_base_swa or 0) if has_own else self.rope_base

    @property
    def attention_scale(self) -> float:
        if self.n_layer != _LAYERS_OF_27B:
            return super().attention_scale
        return float(np.float32(1) / np.sqrt(np.float32(self.n_embd // self.n_head)))


class Attention(nn.ScaledQueryAttention):
    config: Config

    def attend(self, q: Tensor, k: Tensor, v: Tensor, at: nn.Place) -> Tensor:
        return nn.attend(q, k, v, at.kv, 1.0, cap=self.config.attention_cap)


class Block(nn.SandwichBlock):
    attention: Attention
    mlp: nn.GeluMLP


class Gemma2(gemma.Scaled):
    config: Config
    blk: Sequence[Block]

    def logits(self, hidden: Tensor) -> Tensor:
        return nn.soft_cap(super().logits(hidden), self.config.logit_cap)
