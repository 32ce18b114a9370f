"""Camel: attention beside two humps, all behind one norm; the second hump counts half."""

from collections.abc import Sequence
from dataclasses import dataclass

from cama.engine.native import nn
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(nn.DecoderConfig):
    """The keys ``camel.*`` of a file, besides those that all decoders have."""

    hump_scale: float = nn.gguf("hump_scale", default=0.5)
    n_hump: int = nn.gguf("hump_count", default=2)

    @property
    def refusals(self) -> dict[str, bool]:
        return super().refusals | {"another number of humps than two": self.n_hump != 2}


class Hump(nn.Module):
    """down(relu(up(x))²)."""

    up: nn.Linear
    down: nn.Linear

    def __call__(self, x: Tensor) -> Tensor:
        return self.down(ops.sqr(ops.relu(self.up(x))))


class Block(nn.Layer):
    """x += attention(norm(x)) + first(norm(x)) + scale · second(norm(x))."""

    config: Config
    attn_norm: nn.RMSNorm
    attention: nn.NormedAttention
    hump_1: Hump
    hump_2: Hump

    def __call__(self, x: Tensor, at: nn.Place) -> Tensor:
        normed = self.attn_norm(x)
        attended = at.wanted(self.attention(normed, at))
        x, normed = at.wanted(x), at.wanted(normed)
        second = ops.scale(self.hump_2(normed), self.config.hump_scale)
        return x + attended + self.hump_1(normed) + second


class Camel(nn.Decoder):
    config: Config
    blk: Sequence[Block]
