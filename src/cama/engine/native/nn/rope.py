"""Rotary position embedding and its scalings (linear, YaRN)."""

import copy
import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from cama.core.errors import UnsupportedModel
from cama.engine.native.nn.layers import Vector
from cama.ggml import ops
from cama.ggml.tensor import Tensor


class RopeStyle(IntEnum):
    """Which elements of a head form a pair; the values are ggml's modes."""

    NORMAL = 0
    """(2p, 2p+1)"""
    NEOX = 2
    """(p, p + n/2)"""


@dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """``rope.scaling.*`` of a GGUF. An absent type with a factor means linear."""

    type: str
    factor: float
    original_context: int
    attn_factor: float
    beta_fast: float = 32.0
    beta_slow: float = 1.0

    def check(self) -> None:
        """Raise UnsupportedModel for a scaling that :meth:`settings` does not know."""
        if self.type not in ("none", "linear", "yarn"):
            raise UnsupportedModel(f"rope scaling {self.type!r} is not implemented")

    def settings(self, n_dims: int, style: RopeStyle, freq_base: float) -> ops.RopeSettings:
        """Arguments for ggml's rope.

        Single precision throughout, as libllama computes them: the last bit shows in the logits.
        """
        scale = np.float32(1)
        if self.factor != 0 and self.type != "none":
            scale = np.float32(1) / np.float32(self.factor)
        is_yarn = self.type == "yarn"
        magnitude = _yarn_magnitude(np.float32(1) / scale) if is_yarn else np.float32(1)
        return (
            n_dims,
            int(style),
            self.original_context,
            freq_base,
            float(scale),
            1.0 if is_yarn else 0.0,
            float(magnitude * np.float32(self.attn_factor)),
            self.beta_fast,
            self.beta_slow,
        )


def _yarn_magnitude(factor: np.float32) -> np.float32:
    """ggml multiplies cos and sin by 1 + 0.1 ln(factor) itself; libllama divides it out again
    before it applies its own, so that the product is 1 but for rounding."""
    own = np.float32(1) if factor <= 1 else np.float32(0.1) * np.log(factor) + np.float32(1)
    return np.float32(own * (np.float32(1) / (np.float32(1) + np.float32(0.1) * np.log(factor))))


class Rotation:
    """Rotates heads [n, n_head, n_tokens] by the tokens' positions (int32 [n_tokens])."""

    def __init__(
        self, settings: ops.RopeSettings, positions: Tensor, factors: Vector | None = None
    ) -> None:
        self._settings = settings
        self._positions = positions
        self._factors = None if factors is None else factors.weight

    def without_magnitude(self) -> "Rotation":
        """The bare rotation, for keys that already carry a scaling's magnitude."""
        turned = copy.copy(self)
        s = self._settings
        is_yarn, scale = s[5] != 0, s[4]
        # ggml's own factor of YaRN, divided out
        magnitude = 1 / (1 + 0.1 * math.log(1 / scale)) if is_yarn else 1.0
        turned._settings = (*s[:6], magnitude, *s[7:])
        return turned

    def __call__(self, x: Tensor) -> Tensor:
        return ops.rope(x, self._positions, self._factors, self._settings)
