"""Attention to a compressed cache: keys and values of all heads come from one short vector."""

from dataclasses import dataclass, replace

import numpy as np

from cama.engine.native.kvcache.layout import CacheLayout
from cama.engine.native.nn.attention import Mixer, attend, heads
from cama.engine.native.nn.config import gguf
from cama.engine.native.nn.layers import Linear, RMSNorm
from cama.engine.native.nn.module import Group
from cama.engine.native.nn.moe import RoutedConfig
from cama.engine.native.nn.rope import RopeScaling
from cama.engine.native.nn.step import Place
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class MLAConfig(RoutedConfig):
    """With sizes of heads "by MLA" the cache holds the compressed vector, else heads as usual."""

    kv_rank: int = gguf("attention.kv_lora_rank")
    key_length_mla: int = gguf("attention.key_length_mla", default=0)
    value_length_mla: int = gguf("attention.value_length_mla", default=0)
    beta_fast: float = gguf("rope.scaling.yarn_beta_fast", default=32.0)
    beta_slow: float = gguf("rope.scaling.yarn_beta_slow", default=1.0)
    log_multiplier: float = gguf("rope.scaling.yarn_log_multiplier", default=0.0)

    @property
    def refusals(self) -> dict[str, bool]:
        n_plain = self.head_key - self.rope_n_dims
        is_odd = (self.key_length_mla > 0) != (self.value_length_mla > 0)
        return super().refusals | {"these sizes of heads": n_plain <= 0 or is_odd}

    @property
    def is_compressed(self) -> bool:
        return self.key_length_mla > 0

    @property
    def head_key(self) -> int:
        """Elements of a query or key head: those that do not rotate, then those that do."""
        return self.key_length_mla or self.head_dim

    @property
    def multiplier(self) -> float:
        """Files hold a tenth of it."""
        return float(np.float32(self.log_multiplier) / np.float32(0.1))

    @property
    def rope(self) -> RopeScaling:
        # the magnitude is in the scale of attention instead
        return replace(
            super().rope,
            beta_fast=self.beta_fast,
            beta_slow=self.beta_slow,
            log_multiplier=self.multiplier,
            mscale=self.multiplier or 1.0,
        )

    @property
    def attention_scale(self) -> float:
        rope, one = self.rope, np.float32(1)
        magnitude = one
        if rope.factor and rope.is_yarn:
            log = np.log(one / rope.frequency_scale)
            original = rope.magnitude * (one + np.float32(0.1) * log)
            magnitude = original * (one + np.float32(0.1) * np.float32(self.multiplier) * log)
        return float(one * magnitude * magnitude / np.sqrt(np.float32(self.head_key)))

    @property
    def key_width(self) -> int:
        return self.kv_rank + self.rope_n_dims if self.is_compressed else self.head_key

    @property
    def rotated_part(self) -> tuple[int, int]:
        return self.key_width - self.rope_n_dims, self.rope_n_dims

    @property
    def cache(self) -> CacheLayout:
        if self.is_compressed:
            return CacheLayout(self.key_width, 0)
        return CacheLayout(self.n_head * self.head_key, self.n_head * self.value_dim)


class DirectQuery(Group):
    attn_q: Linear

    def __call__(self, x: Tensor) -> Tensor:
        return self.attn_q(x)


class CompressedQuery(Group):
    attn_q_a: Linear
    attn_q_a_norm: RMSNorm
    attn_q_b: Linear

    def __call__(self, x: Tensor) -> Tensor:
        return self.attn_q_b(self.attn_q_a_norm(self.attn_q_a(x)))


class LatentAttention(Mixer):
    """What both layouts have: queries, and a compressed vector with a rotated key beside it."""

    config: MLAConfig
    query: DirectQuery | CompressedQuery
    attn_kv_a_mqa: Linear
    attn_kv_a_norm: RMSNorm
    attn_output: Linear

    def split(self, x: Tensor, at: Place) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The plain and the rotated part of queries [n, n_head, n_tokens]; the compressed vector
        [rank, n_tokens]; the rotated key [n, 1, n_tokens]."""
        c = self.config
        q = heads(self.query(x), c.n_head)
        n_plain = c.head_key - c.rope_n_dims
        rotated = at.rotate(ops.part(q, n_plain, c.rope_n_dims))
        both = self.attn_kv_a_mqa(x)
        compressed = self.attn_kv_a_norm(ops.part(both, 0, c.kv_rank))
        key = at.rotate(ops.split(both, c.kv_rank, c.rope_n_dims, 1))
        return ops.part(q, 0, n_plain), rotated, compressed, key


class CompressedAttention(LatentAttention):
    """Queries are brought to the compressed vectors, and values out of them afterwards."""

    attn_k_b: Linear
    attn_v_b: Linear

    def __call__(self, x: Tensor, at: Place) -> Tensor:
        c = self.config
        plain, rotated, compressed, key = self.split(x, at)
        absorbed = self.attn_k_b(ops.permute(plain, (0, 2, 1, 3)))
        q = ops.concat(ops.permute(absorbed, (0, 2, 1, 3)), rotated, 0)
        v = ops.reshape(compressed, c.kv_rank, 1, x.shape[1])
        k = ops.concat(v, key, 0)
        out = heads(attend(q, k, v, at.kv, c.attention_scale), c.n_head)
        out = ops.permute(self.attn_v_b(ops.permute(out, (0, 2, 1, 3))), (0, 2, 1, 3))
        return self.attn_output(ops.merge(ops.contiguous(out)))


class ExpandedAttention(LatentAttention):
    """Every head's key and value are computed from the compressed vector, and kept."""

    attn_kv_b: Linear

    def __call__(self, x: Tensor, at: Place) -> Tensor:
        c = self.config
        plain, rotated, compressed, key = self.split(x, at)
        n_plain = plain.shape[0]
        both = heads(self.attn_kv_b(compressed), c.n_head)
        v = ops.contiguous(ops.part(both, n_plain, both.shape[0] - n_plain))
        key = ops.repeat(key, key.shape[0], c.n_head, key.shape[2])
        k = ops.concat(ops.part(both, 0, n_plain), key, 0)
        q = ops.concat(plain, rotated, 0)
        return self.attn_output(attend(q, k, v, at.kv, c.attention_scale))
