"""LFM 2, with and without experts: short convolutions, and attention in some layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cama.engine.native import nn
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(nn.HybridConfig, nn.RoutedConfig):
    rope_style: ClassVar[nn.RopeStyle] = nn.RopeStyle.NEOX

    n_kernel: int = nn.gguf("shortconv.l_cache")
    sliding_window: int = nn.gguf("attention.sliding_window", default=0)
    expert_scale: float = 0.0
    weights_norm: bool = True

    @property
    def refusals(self) -> dict[str, bool]:
        return super().refusals | {
            "sliding windows": self.sliding_window > 0,
            "this kernel of convolutions": self.n_kernel < 2,
        }

    @property
    def state_widths(self) -> tuple[int, ...]:
        return ((self.n_kernel - 1) * self.n_embd,)


class Convolution(nn.Module):
    """out(c · convolution(b · x)), with b, c and x from one weight."""

    in_proj: nn.Linear
    conv: nn.Vector
    out_proj: nn.Linear

    def __call__(self, x: Tensor, at: nn.Place) -> Tensor:
        n, n_tokens, _, _ = x.shape
        projected = self.in_proj(at.state.by_sequence(x))
        b, c, u = (ops.part(projected, i * n, n) for i in range(3))
        mixed = nn.convolve(b * u, self.conv.weight, at.state)
        return ops.reshape(self.out_proj(c * mixed), n, n_tokens)


class ShortConvolution(nn.Mixer):
    shortconv: Convolution

    def __call__(self, x: Tensor, at: nn.Place) -> Tensor:
        return self.shortconv(x, at)


class Block(nn.Block):
    attention: nn.NormedAttention | ShortConvolution
    mlp: nn.GatedMLP | nn.MoE


class Lfm2(nn.Decoder):
    config: Config
    blk: Sequence[Block]
    output_norm: nn.RMSNorm = nn.tied("token_embd_norm")
