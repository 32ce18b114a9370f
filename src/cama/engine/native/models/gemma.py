"""Gemma 1: scaled embeddings, and a GELU in the gate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cama.engine.native import nn
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(nn.DecoderConfig):
    rope_style: ClassVar[nn.RopeStyle] = nn.RopeStyle.NEOX

    @property
    def embedding_scale(self) -> float:
        return float(np.sqrt(np.float32(self.n_embd)))


class Block(nn.Block):
    attention: nn.ScaledQueryAttention
    mlp: nn.GeluMLP


class Scaled(nn.Decoder):
    """A decoder whose embeddings are multiplied by √n_embd."""

    config: Config

    def embed(self, step: nn.Step) -> Tensor:
        return ops.scale(super().embed(step), self.config.embedding_scale)


class Gemma(Scaled):
    blk: Sequence[Block]
