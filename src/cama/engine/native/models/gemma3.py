"""Gemma 3: five layers with a window to one without, each kind with its own rotation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cama.engine.native import nn
from cama.engine.native.models import gemma
from cama.ggml.tensor import Tensor

_LAYERS_OF_27B = 62


@dataclass(frozen=True, kw_only=True)
class Config(gemma.Config, nn.WindowConfig):
    sliding_window: int = nn.gguf("attention.sliding_window", default=0)
    window_pattern: int = nn.gguf("attention.sliding_window_pattern", default=6, by_layer=True)
    logit_cap: float = nn.gguf("final_logit_softcapping", default=0.0)
    rope_base_swa: float = nn.gguf("rope.freq_base_swa", default=10000.0)

    @property
    def rope_base_here(self) -> float:
        return self.rope_base if self.window is None else self.rope_base_swa

    @property
    def rope(self) -> nn.RopeScaling:
        whole = super().rope
        return whole if self.window is None else replace(whole, type="none")

    @property
    def attention_scale(self) -> float:
        if self.n_layer != _LAYERS_OF_27B:
            return super().attention_scale
        return float(np.float32(1) / np.sqrt(np.float32(self.n_embd // self.n_head)))


class Attention(nn.NormedAttention, nn.ScaledQueryAttention):
    pass


class Block(nn.SandwichBlock):
    attention: Attention
    mlp: nn.GeluMLP


class Gemma3(gemma.Scaled):
    config: Config
    blk: Sequence[Block]

    def logits(self, hidden: Tensor) -> Tensor:
        return nn.soft_cap(super().logits(hidden), self.config.logit_cap)
