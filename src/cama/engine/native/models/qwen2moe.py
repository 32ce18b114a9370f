"""Qwen 2 with experts, and one for every token behind a gate of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cama.engine.native import nn
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(nn.MoEConfig):
    rope_style: ClassVar[nn.RopeStyle] = nn.RopeStyle.NEOX
    normalises: ClassVar[bool] = False


class MoE(nn.MoE):
    ffn_gate_inp_shexp: nn.Linear
    shared: nn.SharedMLP

    def __call__(self, x: Tensor) -> Tensor:
        mixed, shared = super().__call__(x), self.shared(x)
        gate = self.ffn_gate_inp_shexp(x)
        # a sigmoid, rounded as libllama rounds it
        return mixed + shared * ops.div(ops.silu(gate), gate)


class Block(nn.Block):
    attention: nn.Attention
    mlp: MoE


class Qwen2MoE(nn.Decoder):
    config: Config
    blk: Sequence[Block]
    output: nn.Linear
