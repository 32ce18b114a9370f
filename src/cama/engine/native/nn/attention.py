"""Attention over grouped heads."""

from abc import ABC, abstractmethod

from cama.engine.native.kvcache.storage import LayerCache
from cama.engine.native.nn.decoder_config import DecoderConfig
from cama.engine.native.nn.layers import Linear, RMSNorm
from cama.engine.native.nn.module import Group
from cama.engine.native.nn.step import Place
from cama.ggml import ops
from cama.ggml.tensor import Tensor


def heads(x: Tensor, n_head: int) -> Tensor:
    """[n_head · n, n_tokens] -> [n, n_head, n_tokens]."""
    return ops.reshape(x, x.shape[0] // n_head, n_head, x.shape[1])


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    kv: LayerCache,
    scale: float,
    *,
    cap: float = 0.0,
    sinks: Tensor | None = None,
) -> Tensor:
    """Store k and v, attend q to all cells its token may see -> [n_head · n, n_tokens]."""
    return flat(kv.attend(q, k, v, scale, cap=cap, sinks=sinks))


def flat(x: Tensor) -> Tensor:
    """[n, n_head, n_tokens] -> [n_head · n, n_tokens]."""
    n, n_head, n_tokens, _ = x.shape
    return ops.reshape(x, n * n_head, n_tokens)


class QKV(Group):
    """Queries, keys and values [n, n_head, n_tokens] from weights of their own."""

    config: DecoderConfig
    attn_q: Linear
    attn_k: Linear
    attn_v: Linear

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c = self.config
        q = heads(self.attn_q(x), c.n_head)
        k = heads(self.attn_k(x), c.n_head_kv)
        return q, k, heads(self.attn_v(x), c.n_head_kv)


class FusedQKV(Group):
    """Queries, keys and values from one weight whose rows are in that order."""

    config: DecoderConfig
    attn_qkv: Linear

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c = self.config
        y = self.attn_qkv(x)
        n_q, n_k = c.n_head * c.head_dim, c.n_head_kv * c.head_dim
        q = ops.split(y, 0, c.head_dim, c.n_head)
        k = ops.split(y, n_q, c.head_dim, c.n_head_kv)
        return q, k, ops.split(y, n_q + n_k, c.value_dim, c.n_head_kv)


class Mixer(Group, ABC):
    """What a block computes of a token and those before it."""

    @abstractmethod
    def __call__(self, x: Tensor, at: Place) -> Tensor: ...


class Attention(Mixer):
    """Grouped-query attention with rotary positions."""

    config: DecoderConfig
    qkv: QKV | FusedQKV
    attn_output: Linear

    def __call__(self, x: Tensor, at: Place) -> Tensor:
        q, k, v = self.qkv(x)
        q, k = self.turn(q, k, at)
        return self.attn_output(self.attend(q, k, v, at))

    def turn(self, q: Tensor, k: Tensor, at: Place) -> tuple[Tensor, Tensor]:
        """Queries and keys as they are compared."""
        return at.rotate(q), at.rotate(k)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, at: Place) -> Tensor:
        return attend(q, k, v, at.kv, self.config.attention_scale)


class NormedAttention(Attention):
    """Queries and keys are normalised per head before they are rotated."""

    attn_q_norm: RMSNorm
    attn_k_norm: RMSNorm

    def turn(self, q: Tensor, k: Tensor, at: Place) -> tuple[Tensor, Tensor]:
        return super().turn(self.attn_q_norm(q), self.attn_k_norm(k), at)


class ScaledQueryAttention(Attention):
    """Queries are scaled, instead of the scores."""

    def turn(self, q: Tensor, k: Tensor, at: Place) -> tuple[Tensor, Tensor]:
        q, k = super().turn(q, k, at)
        return ops.scale(q, self.config.attention_scale), k

    def attend(self, q: Tensor, k: Tensor, v: Tensor, at: Place) -> Tensor:
        return attend(q, k, v, at.kv, 1.0)
