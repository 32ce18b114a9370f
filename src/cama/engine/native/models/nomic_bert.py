"""Nomic's encoders: a BERT with rotary positions, and a gate or experts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cama.engine.native import nn
from cama.engine.native.models import bert
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(bert.Config, nn.MoEConfig):
    rope_style: ClassVar[nn.RopeStyle] = nn.RopeStyle.NEOX
    normalises: ClassVar[bool] = False

    @property
    def rotates(self) -> bool:
        return True


class Experts(nn.Group):
    """down(gelu(up(x))) in each chosen expert."""

    ffn_up_exps: nn.Experts
    ffn_down_exps: nn.Experts

    def __call__(self, x: Tensor, chosen: Tensor) -> Tensor:
        return self.ffn_down_exps(ops.gelu(self.ffn_up_exps(x, chosen)), chosen)


class MoE(nn.MLP):
    router: nn.Router
    experts: Experts

    def __call__(self, x: Tensor) -> Tensor:
        chosen, weights = self.router(x)
        return nn.add_up(self.experts(nn.rows(x), chosen) * weights)


class Block(bert.Block):
    mlp: MoE | nn.GatedMLP | bert.GeluMLP


class NomicBert(bert.Sentences):
    config: Config
    blk: Sequence[Block]
