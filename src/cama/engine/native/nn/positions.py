"""What follows from the positions of tokens."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cama.engine.native.nn.config import gguf
from cama.engine.native.nn.decoder import Decoder
from cama.engine.native.nn.decoder_config import DecoderConfig
from cama.engine.native.nn.layers import Vector
from cama.engine.native.nn.module import Group
from cama.engine.native.nn.rope import RopeStyle, Rotation, SectionedRotation
from cama.engine.native.nn.step import Step
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True)
class Warmth:
    """1 + scale · ln(⌊(position + offset) / length⌋ + 1), by which far queries are multiplied."""

    scale: float
    length: int
    offset: float = 0.0

    def __call__(self, positions: NDArray[np.int32]) -> NDArray[np.float32]:
        """[n_tokens, 1, 1]; rounded where libllama rounds."""
        shifted = positions.astype(np.float32) + np.float32(self.offset)
        steps = np.floor(shifted / np.float32(self.length)).astype(np.float64)
        warmth = np.log(steps + 1.0) * np.float64(np.float32(self.scale)) + 1.0
        return np.asarray(warmth, np.float32).reshape(-1, 1, 1)


class RopeFactors(Group):
    """What frequencies are divided by, where the file says so."""

    rope_freqs: Vector | None
    rope_factors_long: Vector | None
    rope_factors_short: Vector | None

    def choose(self, c: DecoderConfig) -> Tensor | None:
        """Long contexts have factors of their own, by what a sequence may have, not what it has."""
        is_long = c.n_ctx > c.rope.original_context
        by_length = self.rope_factors_long if is_long else self.rope_factors_short
        chosen = self.rope_freqs or by_length
        return None if chosen is None else chosen.weight


def four_positions(positions: NDArray[np.int32]) -> NDArray[np.int32]:
    """Time, height and width of text are its position, the extra one is 0: [4 · n_tokens]."""
    return np.concatenate((positions, positions, positions, np.zeros_like(positions)))


@dataclass(frozen=True, kw_only=True)
class SectionedConfig(DecoderConfig):
    sections: tuple[int, ...] = gguf("rope.dimension_sections")

    @property
    def refusals(self) -> dict[str, bool]:
        fits = 3 <= len(self.sections) <= 4 and min(self.sections) >= 0 < sum(self.sections)
        return super().refusals | {"these sections of positions": not fits}


@dataclass(frozen=True, kw_only=True)
class MaybeSectionedConfig(DecoderConfig):
    """Some files of the architecture have sections, others plain positions."""

    sections: tuple[int, ...] = gguf("rope.dimension_sections", default=())

    @property
    def has_sections(self) -> bool:
        return len(self.sections) > 2 and min(self.sections[:2]) > 0

    @property
    def refusals(self) -> dict[str, bool]:
        n, least = len(self.sections), min(self.sections, default=0)
        return super().refusals | {"these sections of positions": n > 4 or least < 0}

    @property
    def rope_settings(self) -> ops.RopeSettings:
        style = RopeStyle.SECTIONS if self.has_sections else self.rope_style
        return self.rope.settings(self.rope_n_dims, style, self.rope_base_here)


class SectionedDecoder(Decoder):
    """Rotates by positions in time, height and width."""

    config: SectionedConfig | MaybeSectionedConfig

    def positions(self, step: Step) -> Tensor:
        return step.derive(four_positions)

    def rotation(self, c: DecoderConfig, positions: Tensor) -> Rotation:
        s = self.config.sections
        four = (s[0], s[1], s[2], s[3] if len(s) == 4 else 0)
        return SectionedRotation(c.rope_settings, positions, four)


class MaybeSectionedDecoder(SectionedDecoder):
    """Rotates so where the file has sections."""

    config: MaybeSectionedConfig

    def positions(self, step: Step) -> Tensor:
        return super().positions(step) if self.config.has_sections else step.positions

    def rotation(self, c: DecoderConfig, positions: Tensor) -> Rotation:
        if self.config.has_sections:
            return super().rotation(c, positions)
        return Decoder.rotation(self, c, positions)
