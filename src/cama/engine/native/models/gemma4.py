"""Gemma 4: heads of two sizes, shared caches, inputs per layer, and experts beside an MLP."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from cama.engine.native import nn
from cama.engine.native.kvcache.layout import CacheLayout
from cama.engine.native.models import gemma
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(gemma.Config, nn.MoEConfig, nn.WindowConfig):
    sliding_window: int = nn.gguf("attention.sliding_window")
    window_pattern: int = nn.gguf("attention.sliding_window_pattern", by_layer=True)
    key_length_swa: int = nn.gguf("attention.key_length_swa")
    value_length_swa: int = nn.gguf("attention.value_length_swa")
    rope_dims_swa: int | None = nn.gguf("rope.dimension_count_swa", default=None)
    rope_base_swa: float = nn.gguf("rope.freq_base_swa", default=10000.0)
    n_shared: int = nn.gguf("attention.shared_kv_layers", default=0)
    n_own_input: int = nn.gguf("embedding_length_per_layer_input")
    logit_cap: float = nn.gguf("final_logit_softcapping", default=30.0)

    @property
    def refusals(self) -> dict[str, bool]:
        return super().refusals | {
            "values of another size than keys": self.head_dim != self.value_dim,
            "so few caches": self.n_layer - self.n_shared < 2,
        }

    @property
    def head_dim(self) -> int:
        return super().head_dim if self.window is None else self.key_length_swa

    @property
    def value_dim(self) -> int:
        return super().value_dim if self.window is None else self.value_length_swa

    @property
    def rope_n_dims(self) -> int:
        own = None if self.window is None else self.rope_dims_swa
        return super().rope_n_dims if own is None else own

    @property
    def rope_base_here(self) -> float:
        return self.rope_base if self.window is None else self.rope_base_swa

    @property
    def cache(self) -> CacheLayout:
        """The last layers read what the last one of their kind before them has stored."""
        n_own = self.n_layer - self.n_shared
        if self.index < n_own:
            return super().cache
        return super().cache._replace(owner=n_own - (1 if self.window is None else 2))


class Attention(nn.Group):
    config: Config
    attn_q: nn.Linear
    attn_k: nn.Linear | None
    attn_v: nn.Linear | None
    attn_q_norm: nn.RMSNorm
    attn_k_norm: nn.RMSNorm | None
    attn_output: nn.Linear

    def __call__(self, x: Tensor, at: nn.Place) -> Tensor:
        c = self.config
        q = at.rotate(self.attn_q_norm(nn.heads(self.attn_q(x), c.n_head)))
        if c.cache.owner is None:
            keys, values = at.kv.store(*self.keys_and_values(x, at))
        else:
            keys, values = at.kv.read(c.head_dim, c.value_dim)
        return self.attn_output(nn.flat(at.kv.look_up(q, keys, values, 1.0)))

    def keys_and_values(self, x: Tensor, at: nn.Place) -> tuple[Tensor, Tensor]:
        """Where there is no weight for values, keys are values before they are normalised."""
        c = self.config
        k = nn.heads(nn.present(self.attn_k)(x), c.n_head_kv)
        v = k if self.attn_v is None else nn.heads(self.attn_v(x), c.n_head_kv)
        return at.rotate(nn.present(self.attn_k_norm)(k)), ops.rms_norm(v, c.norm_epsilon)


class Dense(nn.MLP):
    ffn_norm: nn.RMSNorm
    mlp: nn.GeluMLP
    post_ffw_norm: nn.RMSNorm

    def __call__(self, x: Tensor) -> Tensor:
        return self.post_ffw_norm(self.mlp(self.ffn_norm(x)))


class RouterInput(nn.Linear):
    """Routes by the direction of x alone, each element by a factor of its own."""

    has_factor: ClassVar[bool] = False
    scale: nn.Scale
    epsilon: float

    @classmethod
    def bind(cls, weights: nn.Weights, name: str, config: Any) -> "RouterInput":
        made = super().bind(weights, name, config)
        made.scale = nn.Scale.bind(weights, name, config)
        made.epsilon = config.norm_epsilon
        return made

    def __call__(self, x: Tensor) -> Tensor:
        shrink = float(np.float32(1) / np.sqrt(np.float32(x.shape[0])))
        direction = ops.scale(ops.rms_norm(x, self.epsilon), shrink)
        return super().__call__(direction * self.scale.weight)


class Router(nn.Router):
    ffn_gate_inp: RouterInput


class Experts(nn.GatedExperts):
    gated = staticmethod(ops.geglu)


class FusedExperts(nn.FusedGatedExperts):
    gated = staticmethod(ops.geglu)


class Mixed(nn.MLP):
    """An MLP for every token, and experts beside it, each with norms of their own."""

    ffn_norm: nn.RMSNorm
    mlp: nn.GeluMLP
    post_ffw_norm_1: nn.RMSNorm
    router: Router
    pre_ffw_norm_2: nn.RMSNorm
    experts: FusedExperts | Experts
    post_ffw_norm_2: nn.RMSNorm
    post_ffw_norm: nn.RMSNorm

    def __call__(self, x: Tensor) -> Tensor:
        chosen, weights = self.router(x)
        experts = self.experts(nn.rows(self.pre_ffw_norm_2(x)), chosen) * weights
        plain = self.post_ffw_norm_1(self.mlp(self.ffn_norm(x)))
        return self.post_ffw_norm(plain + self.post_ffw_norm_2(nn.add_up(experts)))


class Block(nn.Layer):
    attn_norm: nn.RMSNorm
    attention: Attention
    post_attention_norm: nn.RMSNorm
    ffn: Mixed | Dense
    own: nn.PerLayerGate | None
    layer_output_scale: nn.Vector | None

    def __call__(self, x: Tensor, at: nn.Place) -> Tensor:
        x = self.post_attention_norm(self.attention(self.attn_norm(x), at)) + x
        x = self.ffn(x) + x
        if self.own is not None and at.beside is not None:
            x = x + self.own(x, at.beside)
        return x if self.layer_output_scale is None else x * self.layer_output_scale.weight


class Gemma4(gemma.Scaled):
    config: Config
    blk: Sequence[Block]
    rope_freqs: nn.Vector | None
    per_layer: nn.PerLayerInputs | None

    def hidden(self, step: nn.Step) -> Tensor:
        # libllama chooses the rows of outputs last, and other rows would take other kernels
        x = self.embed(step)
        own = self.per_layer(step, x) if self.per_layer is not None else [None] * len(self.blk)
        for block, at, beside in zip(self.blk, self.places(step), own, strict=True):
            x = block(x, replace(at, beside=beside))
        return step.wanted(self.output_norm(x))

    def factors(self, c: nn.DecoderConfig) -> Tensor | None:
        is_full = c.window is None
        return self.rope_freqs.weight if is_full and self.rope_freqs is not None else None

    def logits(self, hidden: Tensor) -> Tensor:
        return nn.soft_cap(super().logits(hidden), self.config.logit_cap)
