"""Llama 4: chunks in three layers of four, no positions in the fourth, weights before experts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cama.engine.native import nn
from cama.engine.native.kvcache.layout import Window
from cama.ggml import ops
from cama.ggml.tensor import Tensor

_CHUNK = 8192
"""libllama takes this, whatever the file says."""
_EXPERTS_OF_MAVERICK = 128
_WARMTH = nn.Warmth(0.1, _CHUNK, offset=1.0)


@dataclass(frozen=True, kw_only=True)
class Config(nn.MoEConfig, nn.WindowConfig):
    normalises: ClassVar[bool] = False

    sliding_window: int = nn.gguf("attention.sliding_window", default=_CHUNK)
    window_pattern: int = nn.gguf("attention.sliding_window_pattern", default=4, by_layer=True)

    @property
    def gating(self) -> nn.Gating:
        return nn.Gating.SIGMOID

    @property
    def refusals(self) -> dict[str, bool]:
        return super().refusals | {"attention without chunks": self.sliding_window <= 0}

    @property
    def window(self) -> Window | None:
        return None if super().window is None else Window(_CHUNK, "chunked")

    @property
    def rotates(self) -> bool:
        return self.window is not None


class Attention(nn.Attention):
    config: Config

    def turn(self, q: Tensor, k: Tensor, at: nn.Place) -> tuple[Tensor, Tensor]:
        c = self.config
        if not c.rotates:
            return q * at.step.derive(_WARMTH), k
        q, k = super().turn(q, k, at)
        if c.n_expert == _EXPERTS_OF_MAVERICK:
            return q, k
        return ops.rms_norm(q, c.norm_epsilon), ops.rms_norm(k, c.norm_epsilon)


class Router(nn.Router):
    def scores(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        return logits


class MoE(nn.SharedMoE):
    router: Router
    shared: nn.SharedMLP

    def mix(self, x: Tensor) -> Tensor:
        chosen, weights = self.router(x)
        weighed = ops.repeat(nn.rows(x), x.shape[0], chosen.shape[0], x.shape[1]) * weights
        return nn.add_up(self.experts(weighed, chosen))


class Block(nn.Block):
    attention: Attention
    mlp: nn.GatedMLP | MoE


class Llama4(nn.Decoder):
    config: Config
    blk: Sequence[Block]
    rope: nn.RopeFactors

    def factors(self, c: nn.DecoderConfig) -> Tensor | None:
        return self.rope.choose(c)
