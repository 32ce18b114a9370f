"""The decoder that most architectures share: rotary attention, gated MLP, norms before both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cama.core.errors import UnsupportedModel
from cama.engine.base import Pooling
from cama.engine.native.kvcache.storage import LayerCache
from cama.engine.native.nn.config import BaseConfig, gguf
from cama.engine.native.nn.layers import Embedding, Linear, RMSNorm
from cama.engine.native.nn.module import Group, Module, tied
from cama.engine.native.nn.rope import RopeScaling, RopeStyle, Rotation
from cama.ggml import ops
from cama.ggml.tensor import Tensor

POOLINGS: Mapping[int, Pooling] = {0: "last", 1: "mean", 3: "last"}
"""Kinds of pooling in a file; the last token stands for the text where none is named."""


@dataclass(frozen=True)
class Step:
    """What one graph computes on.

    ``tokens`` and ``positions`` int32 [n_tokens]; ``outputs`` int32 [n_outputs], the rows whose
    logits are wanted; one cache per layer.
    """

    tokens: Tensor
    positions: Tensor
    outputs: Tensor
    caches: Sequence[LayerCache]

    def wanted(self, x: Tensor) -> Tensor:
        """The rows of x [n, n_tokens] whose logits are wanted."""
        return ops.get_rows(x, self.outputs)


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(BaseConfig):
    rope_style: ClassVar[RopeStyle] = RopeStyle.NORMAL

    n_head: int = gguf("attention.head_count")
    n_head_kv_or_none: int | None = gguf("attention.head_count_kv", default=None)
    key_length: int | None = gguf("attention.key_length", default=None)
    value_length: int | None = gguf("attention.value_length", default=None)
    rope_dims: int | None = gguf("rope.dimension_count", default=None)
    rope_base: float = gguf("rope.freq_base", default=10000.0)
    rope_scaling_type: str = gguf("rope.scaling.type", default="linear")
    rope_scaling_factor: float = gguf("rope.scaling.factor", default=0.0)
    rope_scale_linear: float = gguf("rope.scale_linear", default=0.0)
    rope_original_context: int | None = gguf("rope.scaling.original_context_length", default=None)
    rope_attn_factor: float = gguf("rope.scaling.attn_factor", default=1.0)
    n_expert: int = gguf("expert_count", default=0)
    pooling_type: int = gguf("pooling_type", default=0)
    is_causal: bool = gguf("attention.causal", default=True)

    def __post_init__(self) -> None:
        """Refuse what the decoder does not do; such a file goes to the other engine."""
        self.rope.check()
        refusals = {
            "experts": self.n_expert > 0,
            "this kind of pooling": self.pooling_type not in POOLINGS,
            "attention that is not causal": not self.is_causal,
            "no attention heads": self.n_head <= 0 or self.n_head_kv <= 0,
            "a rotary part of a head": self.rope_dims not in (None, self.head_dim),
            "values of another size than keys": self.value_dim != self.head_dim,
        }
        reason = next((text for text, refused in refusals.items() if refused), None)
        if reason:
            raise UnsupportedModel(f"the native {self.architecture} does not implement {reason}")

    @property
    def pooling(self) -> Pooling:
        return POOLINGS[self.pooling_type]

    @property
    def n_head_kv(self) -> int:
        return self.n_head if self.n_head_kv_or_none is None else self.n_head_kv_or_none

    @property
    def head_dim(self) -> int:
        """Elements of a query or key head."""
        return self.n_embd // self.n_head if self.key_length is None else self.key_length

    @property
    def value_dim(self) -> int:
        return self.n_embd // self.n_head if self.value_length is None else self.value_length

    @property
    def rope(self) -> RopeScaling:
        return RopeScaling(
            type=self.rope_scaling_type,
            factor=self.rope_scaling_factor or self.rope_scale_linear,
            original_context=self.rope_original_context or self.n_ctx_train,
            attn_factor=self.rope_attn_factor,
        )

    @property
    def attention_scale(self) -> float:
        """1/√head_dim in single precision."""
        return float(np.float32(1) / np.sqrt(np.float32(self.head_dim)))


def heads(x: Tensor, n_head: int) -> Tensor:
    """[n_head · n, n_tokens] -> [n, n_head, n_tokens]."""
    return ops.reshape(x, x.shape[0] // n_head, n_head, x.shape[1])


def attend(q: Tensor, k: Tensor, v: Tensor, kv: LayerCache, scale: float) -> Tensor:
    """Store k and v, attend q to all cells its token may see -> [n_head · n, n_tokens]."""
    keys, values = kv.store(k, v)
    out = ops.flash_attention(ops.permute(q, (0, 2, 1, 3)), keys, values, kv.mask, scale)
    n, n_head, n_tokens, _ = out.shape
    return ops.reshape(out, n * n_head, n_tokens)


class Attention(Group):
    """Grouped-query attention with rotary positions."""

    config: DecoderConfig
    attn_q: Linear
    attn_k: Linear
    attn_v: Linear
    attn_output: Linear

    def __call__(self, x: Tensor, rotate: Rotation, kv: LayerCache) -> Tensor:
        c = self.config
        q = rotate(heads(self.attn_q(x), c.n_head))
        k = rotate(heads(self.attn_k(x), c.n_head_kv))
        v = heads(self.attn_v(x), c.n_head_kv)
        return self.attn_output(attend(q, k, v, kv, c.attention_scale))


class GatedMLP(Group):
    """down(silu(gate(x)) · up(x))."""

    ffn_gate: Linear
    ffn_up: Linear
    ffn_down: Linear

    def __call__(self, x: Tensor) -> Tensor:
        up = self.ffn_up(x)
        return self.ffn_down(ops.swiglu(self.ffn_gate(x), up))


class Block(Module):
    attn_norm: RMSNorm
    attention: Attention
    ffn_norm: RMSNorm
    mlp: GatedMLP


class Decoder(Module):
    """Embedding, blocks, norm, logits. Subclasses say which config and blocks."""

    config: DecoderConfig
    token_embd: Embedding
    blk: Sequence[Block]
    output_norm: RMSNorm
    output: Linear = tied("token_embd")

    def rotation(self, positions: Tensor) -> Rotation:
        """How this model rotates queries and keys at ``positions``."""
        c = self.config
        return Rotation(c.rope.settings(c.head_dim, c.rope_style, c.rope_base), positions)

    def __call__(self, step: Step) -> Tensor:
        """Logits [n_vocab, n_outputs]."""
        return self.output(self.hidden(step))

    def hidden(self, step: Step) -> Tensor:
        """The last norm's result [n_embd, n_outputs]: what the logits and embeddings come from."""
        x = self.token_embd(step.tokens)
        rotate = self.rotation(step.positions)
        for block, kv in zip(self.blk, step.caches, strict=True):
            x = x + block.attention(block.attn_norm(x), rotate, kv)
            if block is self.blk[-1]:
                x = step.wanted(x)
            x = x + block.mlp(block.ffn_norm(x))
        return self.output_norm(x)
