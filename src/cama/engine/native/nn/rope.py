"""Rotary position embedding and its scalings (linear, YaRN, long context)."""

import copy
import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from cama.core.errors import EngineError, UnsupportedModel
from cama.ggml import ops
from cama.ggml.tensor import Tensor


class RopeStyle(IntEnum):
    """Which elements of a head form a pair; the values are ggml's modes."""

    NORMAL = 0
    """(2p, 2p+1)"""
    NEOX = 2
    """(p, p + n/2)"""
    SECTIONS = 8
    """As NEOX, in sections that follow positions of their own."""
    INTERLEAVED = 40
    """As SECTIONS, whose pairs take turns."""

    @property
    def has_sections(self) -> bool:
        return self in (RopeStyle.SECTIONS, RopeStyle.INTERLEAVED)


@dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """``rope.scaling.*`` of a GGUF. An absent type with a factor means linear.

    ``log_multiplier`` is what YaRN multiplies ln(factor) with to find the magnitude that it divides
    its own by; ``mscale`` the multiplier of its own.
    """

    type: str
    factor: float
    original_context: int
    attn_factor: float = 1.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    log_multiplier: float = 0.0
    mscale: float = 1.0

    def check(self) -> None:
        """Raise UnsupportedModel for a scaling that :meth:`settings` does not know."""
        if self.type not in ("none", "linear", "yarn", "longrope"):
            raise UnsupportedModel(f"rope scaling {self.type!r} is not implemented")

    @property
    def is_yarn(self) -> bool:
        return self.type == "yarn"

    @property
    def frequency_scale(self) -> np.float32:
        if self.factor == 0 or self.type == "none":
            return np.float32(1)
        return np.float32(1) / np.float32(self.factor)

    @property
    def magnitude(self) -> np.float32:
        """What cos and sin are multiplied with, but for ggml's own 1 + 0.1 ln(factor) of YaRN.

        Single precision throughout, as libllama computes it: the last bit shows in the logits.
        """
        magnitude = np.float32(1)
        if self.is_yarn:
            factor = np.float32(1) / self.frequency_scale
            magnitude = _mscale(factor, self.mscale)
            if self.log_multiplier != 0:
                magnitude = magnitude / _mscale(factor, self.log_multiplier)
            # libllama divides ggml's factor out again before it applies its own
            magnitude *= np.float32(1) / (np.float32(1) + np.float32(0.1) * np.log(factor))
        return np.float32(magnitude * np.float32(self.attn_factor))

    def settings(self, n_dims: int, style: RopeStyle, freq_base: float) -> ops.RopeSettings:
        """Arguments for ggml's rope."""
        return (
            n_dims,
            int(style),
            self.original_context,
            freq_base,
            float(self.frequency_scale),
            1.0 if self.is_yarn else 0.0,
            float(self.magnitude),
            self.beta_fast,
            self.beta_slow,
        )


def _mscale(factor: np.float32, multiplier: float) -> np.float32:
    if factor <= 1:
        return np.float32(1)
    return np.float32(np.float32(0.1) * np.float32(multiplier) * np.log(factor) + np.float32(1))


class Rotation:
    """Rotates heads [n, n_head, n_tokens] by the tokens' positions (int32 [n_tokens])."""

    def __init__(
        self, settings: ops.RopeSettings, positions: Tensor, factors: Tensor | None = None
    ) -> None:
        self._settings = settings
        self._positions = positions
        self._factors = factors

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


class SectionedRotation(Rotation):
    """Rotates by four positions per token (int32 [4 · n_tokens])."""

    def __init__(
        self, settings: ops.RopeSettings, positions: Tensor, sections: ops.RopeSections
    ) -> None:
        super().__init__(settings, positions)
        self._sections = sections

    def without_magnitude(self) -> "Rotation":
        raise EngineError("the cache of this model cannot shift")

    def __call__(self, x: Tensor) -> Tensor:
        return ops.rope_multi(x, self._positions, None, self._sections, self._settings)


class NoRotation(Rotation):
    """Leaves heads as they are: the layer does not know positions."""

    def __init__(self) -> None:
        pass

    def without_magnitude(self) -> "Rotation":
        return self

    def __call__(self, x: Tensor) -> Tensor:
        return x
