"""Gemma 3n: four streams of which one computes, learned residuals, and inputs per layer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cama.engine.native import nn
from cama.engine.native.kvcache.layout import CacheLayout
from cama.engine.native.models import gemma
from cama.ggml import ops
from cama.ggml.tensor import Tensor

_HALF = float(np.float32(1) / np.sqrt(np.float32(2)))
_OWN_CACHES = 20
"""Later layers read the caches of the last two that have their own."""
_SPARSE_LAYERS, _SPARSITY = 10, 1.6448533535003662
"""In the first layers a gate opens above the mean and so many deviations."""
_LOGIT_CAP = 30.0


@dataclass(frozen=True, kw_only=True)
class Config(gemma.Config, nn.WindowConfig):
    sliding_window: int = nn.gguf("attention.sliding_window")
    window_pattern: int = nn.gguf("attention.sliding_window_pattern", default=5, by_layer=True)
    rope_base_swa: float = nn.gguf("rope.freq_base_swa", default=10000.0)

    @property
    def refusals(self) -> dict[str, bool]:
        return super().refusals | {"so few layers": self.n_layer <= _OWN_CACHES}

    @property
    def rope_base_here(self) -> float:
        return self.rope_base if self.window is None else self.rope_base_swa

    @property
    def cache(self) -> CacheLayout:
        if self.index < _OWN_CACHES:
            return super().cache
        return super().cache._replace(owner=_OWN_CACHES - (1 if self.window is None else 2))


class Attention(nn.Group):
    config: Config
    qkv: nn.QKV
    attn_q_norm: nn.RMSNorm
    attn_k_norm: nn.RMSNorm
    attn_output: nn.Linear

    def __call__(self, x: Tensor, at: nn.Place) -> Tensor:
        c = self.config
        if c.cache.owner is None:
            q, k, v = self.qkv(x)
            k = at.rotate(self.attn_k_norm(k))
            keys, values = at.kv.store(k, ops.rms_norm(v, c.norm_epsilon))
        else:
            q = nn.heads(self.qkv.attn_q(x), c.n_head)
            keys, values = at.kv.read(c.head_dim, c.value_dim)
        q = at.rotate(self.attn_q_norm(q))
        return self.attn_output(nn.flat(at.kv.look_up(q, keys, values, 1.0)))


class SparseMLP(nn.MLP):
    config: Config
    ffn_gate: nn.Linear
    ffn_up: nn.Linear
    ffn_down: nn.Linear

    def __call__(self, x: Tensor) -> Tensor:
        up, gate = self.ffn_up(x), self.ffn_gate(x)
        if self.config.index < _SPARSE_LAYERS:
            gate = _open_above(gate)
        return self.ffn_down(up * ops.gelu(gate))


def _open_above(gate: Tensor) -> Tensor:
    mean = ops.mean(gate)
    squares = ops.sum_rows(ops.sqr(ops.sub(gate, mean)))
    deviation = ops.sqrt(ops.scale(squares, 1.0 / (gate.shape[0] - 1)))
    return ops.relu(ops.sub(gate, mean + ops.scale(deviation, _SPARSITY)))


class Streams(nn.Group):
    """Predicts all streams from each other, and corrects them by what the active one computed."""

    config: Config
    altup_router: nn.Linear
    altup_router_norm: nn.RMSNorm
    altup_predict_coef: nn.Linear
    altup_correct_coef: nn.Linear

    def modalities(self, x: Tensor) -> Tensor:
        shrink = float(np.float32(1) / np.float32(self.config.n_embd))
        return ops.tanh(self.altup_router(ops.scale(self.altup_router_norm(x), shrink)))

    def predict(self, streams: Tensor) -> Tensor:
        """[n_embd, n_tokens, 4], the active one first."""
        _, n_tokens, n, _ = streams.shape
        coefficients = self.altup_predict_coef(self.modalities(ops.planes_of(streams, 0)))
        by_token = ops.contiguous(ops.permute(streams, (1, 2, 0, 3)))
        mixed = ops.mul_mat(by_token, ops.reshape(coefficients, n, n, n_tokens))
        return ops.contiguous(ops.permute(mixed, (0, 2, 1, 3))) + streams

    def correct(self, predicted: Tensor, computed: Tensor) -> Tensor:
        n_embd, n_tokens, n, _ = predicted.shape
        innovation = ops.sub(computed, ops.planes_of(predicted, 0))
        everywhere = ops.repeat(innovation, n_embd, n_tokens, n)
        coefficients = self.altup_correct_coef(self.modalities(computed))
        coefficients = ops.contiguous(ops.transpose(ops.scale_bias(coefficients, 1.0, 1.0)))
        return everywhere * ops.reshape(coefficients, 1, n_tokens, n) + predicted


class Block(nn.Layer):
    streams: Streams
    attn_norm: nn.RMSNorm
    attention: Attention
    post_attention_norm: nn.RMSNorm
    laurel_l: nn.Linear
    laurel_r: nn.Linear
    laurel_post_norm: nn.RMSNorm
    ffn_norm: nn.RMSNorm
    mlp: SparseMLP
    post_ffw_norm: nn.RMSNorm
    altup_correct_scale: nn.Vector
    own: nn.PerLayerGate

    def __call__(self, x: Tensor, at: nn.Place) -> Tensor:
        """x [n_embd, n_tokens, 4]."""
        predicted = self.streams.predict(x)
        corrected = self.streams.correct(predicted, self.compute(ops.planes_of(predicted, 0), at))
        assert at.beside is not None
        active = ops.planes_of(corrected, 0)
        own = self.own(active * self.altup_correct_scale.weight, at.beside)
        others = ops.planes_of(corrected, 1, x.shape[2] - 1)
        return ops.concat(active, others + own, 2)

    def compute(self, active: Tensor, at: nn.Place) -> Tensor:
        normed = self.attn_norm(active)
        attended = self.post_attention_norm(self.attention(normed, at)) + active
        learned = self.laurel_post_norm(self.laurel_r(self.laurel_l(normed))) + normed
        x = ops.scale(attended + learned, _HALF)
        return self.post_ffw_norm(self.mlp(self.ffn_norm(x))) + x


class Gemma3n(gemma.Scaled):
    config: Config
    blk: Sequence[Block]
    altup_proj: nn.Linear
    altup_unembd_proj: nn.Linear
    per_layer: nn.PerLayerInputs

    def hidden(self, step: nn.Step) -> Tensor:
        x = self.embed(step)
        n = self.altup_proj.weight.shape[2]
        others = self.altup_proj(ops.repeat(x, *x.shape[:2], n))
        streams = ops.concat(x, _as_long_as(others, x), 2)
        own = self.per_layer(step, x)
        for block, at, beside in zip(self.blk, self.places(step), own, strict=True):
            streams = block(streams, replace(at, beside=beside))
        x = ops.planes_of(streams, 0)
        others = _as_long_as(self.altup_unembd_proj(ops.planes_of(streams, 1, n)), x)
        for i in range(n):
            x = x + ops.planes_of(others, i)
        return self.output_norm(step.wanted(ops.scale(x, 1.0 / (n + 1))))

    def logits(self, hidden: Tensor) -> Tensor:
        return nn.soft_cap(super().logits(hidden), _LOGIT_CAP)


def _as_long_as(x: Tensor, model: Tensor) -> Tensor:
    """x with the lengths of ``model``."""
    scaled = x * ops.sqrt(ops.sum_rows(ops.sqr(model)))
    return ops.div(scaled, ops.sqrt(ops.sum_rows(ops.sqr(x))))
