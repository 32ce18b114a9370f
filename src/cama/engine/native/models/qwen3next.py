"""Qwen 3 Next: gated delta nets, gated attention in every fourth layer, and experts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cama.engine.native import nn
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class Config(nn.DeltaConfig, nn.MoEConfig):
    rope_style: ClassVar[nn.RopeStyle] = nn.RopeStyle.NEOX


class DeltaNet(nn.DeltaNet):
    """Neighbouring value heads share a key head; both rates come from one weight."""

    ssm_ba: nn.Linear

    def rates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        c = self.config
        n = c.n_ssm_head // c.n_group
        both = nn.heads(self.ssm_ba(x), c.n_group)
        beta, alpha = (ops.contiguous(ops.part(both, first, n)) for first in (0, n))
        return nn.flat(alpha), nn.flat(beta)

    def keys(self, mixed: Tensor, first: int) -> Tensor:
        x = super().keys(mixed, first)
        n, n_key, n_tokens, n_seqs = x.shape
        n_shared = self.config.n_ssm_head // n_key
        each = ops.reshape(x, n, 1, n_key, n_tokens * n_seqs)
        all_of_them = ops.repeat(each, n, n_shared, n_key, n_tokens * n_seqs)
        return ops.reshape(all_of_them, n, n_shared * n_key, n_tokens, n_seqs)


class MoE(nn.MoE):
    ffn_gate_inp_shexp: nn.Linear
    shared: nn.SharedMLP

    def __call__(self, x: Tensor) -> Tensor:
        gate = ops.sigmoid(self.ffn_gate_inp_shexp(x))
        return self.mix(x) + self.shared(x) * gate


class Block(nn.Layer):
    attn_norm: nn.RMSNorm
    mixer: DeltaNet | nn.GatedAttention
    post_attention_norm: nn.RMSNorm
    mlp: MoE

    def __call__(self, x: Tensor, at: nn.Place) -> Tensor:
        x = self.mixer(self.attn_norm(x), at) + x
        return self.mlp(self.post_attention_norm(x)) + x


class Qwen3Next(nn.Decoder):
    config: Config
    blk: Sequence[Block]
    chooses_rows_last = True
