"""Hyperparameters that decoders share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cama.core.errors import UnsupportedModel
from cama.engine.base import Pooling
from cama.engine.native.kvcache.layout import CacheLayout, Layout, Window
from cama.engine.native.nn.config import BaseConfig, gguf
from cama.engine.native.nn.rope import RopeScaling, RopeStyle
from cama.ggml import ops

POOLINGS: Mapping[int, Pooling] = {0: "last", 1: "mean", 3: "last"}
"""Kinds of pooling in a file; the last token stands for the text where none is named."""


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(BaseConfig):
    """Properties that say "here" are of one layer; a model overrides what it does otherwise."""

    rope_style: ClassVar[RopeStyle] = RopeStyle.NORMAL

    norm_epsilon: float = gguf("attention.layer_norm_rms_epsilon")
    n_head: int = gguf("attention.head_count", by_layer=True)
    n_head_kv_or_none: int | None = gguf("attention.head_count_kv", default=None, by_layer=True)
    key_length: int | None = gguf("attention.key_length", default=None)
    value_length: int | None = gguf("attention.value_length", default=None)
    rope_dims: int | None = gguf("rope.dimension_count", default=None)
    rope_base: float = gguf("rope.freq_base", default=10000.0)
    rope_scaling_type: str = gguf("rope.scaling.type", default="linear")
    rope_scaling_factor: float = gguf("rope.scaling.factor", default=0.0)
    rope_scale_linear: float = gguf("rope.scale_linear", default=0.0)
    rope_original_context: int | None = gguf("rope.scaling.original_context_length", default=None)
    rope_attn_factor: float = gguf("rope.scaling.attn_factor", default=1.0)
    pooling_type: int = gguf("pooling_type", default=0)
    is_causal: bool = gguf("attention.causal", default=True)

    def __post_init__(self) -> None:
        """Refuse what the decoder does not do; such a file goes to the other engine."""
        self.rope.check()
        reason = next((text for text, refused in self.refusals.items() if refused), None)
        if reason:
            raise UnsupportedModel(f"the native {self.architecture} does not implement {reason}")

    @property
    def refusals(self) -> dict[str, bool]:
        """What the definition does not implement, and whether the file asks for it."""
        rotated = self.rope_n_dims
        return {
            "this kind of pooling": self.pooling_type not in POOLINGS,
            "attention that is not causal": not self.is_causal,
            "no layers": self.n_layer <= 0,
            "no attention heads": self.n_head <= 0 or self.n_head_kv <= 0,
            "this size of heads": self.head_dim <= 0 or self.value_dim <= 0,
            "this rotary part of a head": not 0 < rotated <= self.head_dim or rotated % 2 > 0,
        }

    @property
    def pooling(self) -> Pooling:
        return POOLINGS[self.pooling_type]

    @property
    def n_head_kv(self) -> int:
        return self.n_head if self.n_head_kv_or_none is None else self.n_head_kv_or_none

    @property
    def head_dim(self) -> int:
        """Elements of a query or key head."""
        return self._per_head if self.key_length is None else self.key_length

    @property
    def value_dim(self) -> int:
        return self._per_head if self.value_length is None else self.value_length

    @property
    def _per_head(self) -> int:
        first = self.values_by_layer.get("n_head", (self.n_head,))[0]
        return self.n_embd // first if first > 0 else 0

    @property
    def rope_n_dims(self) -> int:
        """Elements of a head that rotate here."""
        return self.head_dim if self.rope_dims is None else self.rope_dims

    @property
    def rope_base_here(self) -> float:
        return self.rope_base

    @property
    def rope(self) -> RopeScaling:
        """How positions are scaled here."""
        return RopeScaling(
            type=self.rope_scaling_type,
            factor=self.rope_scaling_factor or self.rope_scale_linear,
            original_context=self.rope_original_context or self.n_ctx_train,
            attn_factor=self.rope_attn_factor,
        )

    @property
    def rotates(self) -> bool:
        """Whether this layer knows positions."""
        return True

    @property
    def key_width(self) -> int:
        """Elements of a key head as the cache has it."""
        return self.head_dim

    @property
    def rotated_part(self) -> tuple[int, int]:
        """First element and number of elements of a cached key, up to its end, to be rotated."""
        return 0, self.key_width

    @property
    def rope_settings(self) -> ops.RopeSettings:
        return self.rope.settings(self.rope_n_dims, self.rope_style, self.rope_base_here)

    @property
    def attention_scale(self) -> float:
        """1/√head_dim in single precision."""
        return float(np.float32(1) / np.sqrt(np.float32(self.head_dim)))

    @property
    def window(self) -> Window | None:
        """What a token sees here, when that is not every earlier token."""
        return None

    @property
    def cache(self) -> CacheLayout:
        """What this layer keeps of each token."""
        n = self.n_head_kv
        return CacheLayout(n * self.head_dim, n * self.value_dim, self.window)

    @property
    def layout(self) -> Layout:
        """What this layer keeps, if not a cache."""
        return self.cache
