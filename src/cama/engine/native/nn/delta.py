"""Gated delta nets, and the gated attention that stands between them."""

from dataclasses import dataclass

import numpy as np

from cama.engine.native.nn.attention import Mixer, attend, heads
from cama.engine.native.nn.config import gguf
from cama.engine.native.nn.layers import Bare, Bias, Linear, RMSNorm, Vector
from cama.engine.native.nn.recurrent import SSMConfig, convolve
from cama.engine.native.nn.step import Place
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class DeltaConfig(SSMConfig):
    """``n_group`` key heads and ``n_ssm_head`` value heads, all of ``n_state`` elements."""

    interval: int = gguf("full_attention_interval", default=4)
    recurrent_flag: int = gguf("attention.recurrent_layers", default=0, by_layer=True)

    @property
    def refusals(self) -> dict[str, bool]:
        fits = self.n_inner == self.n_ssm_head * self.n_state
        return super().refusals | {"these sizes of heads": not fits or self.interval <= 0}

    @property
    def is_recurrent(self) -> bool:
        if "recurrent_flag" in self.values_by_layer:
            return self.recurrent_flag != 0
        return (self.index + 1) % max(1, self.interval) != 0

    @property
    def n_channel(self) -> int:
        return 2 * self.n_group * self.n_state + self.n_inner

    @property
    def state_widths(self) -> tuple[int, ...]:
        return (self.n_kernel - 1) * self.n_channel, self.n_state * self.n_inner


class DeltaNet(Mixer):
    """Subclasses say where gate and beta come from, and which key head a value head has."""

    config: DeltaConfig
    attn_qkv: Linear
    attn_gate: Linear
    ssm_conv1d: Vector
    ssm_dt: Bias
    ssm_a: Bare
    ssm_norm: RMSNorm
    ssm_out: Linear

    def __call__(self, x: Tensor, at: Place) -> Tensor:
        c, state = self.config, at.state
        n, n_tokens = c.n_state, x.shape[1]
        shape = c.n_ssm_head, n_tokens // state.n_seqs, state.n_seqs
        mixed = ops.silu(
            convolve(state.by_sequence(self.attn_qkv(x)), self.ssm_conv1d.weight, state)
        )
        q, k = (self.keys(mixed, first) for first in (0, n * c.n_group))
        v = ops.split(mixed, 2 * n * c.n_group, n, c.n_ssm_head)
        alpha, beta = self.rates(x)
        gate = ops.softplus(alpha + self.ssm_dt.weight) * self.ssm_a.weight
        gate, beta = (ops.reshape(rate, 1, *shape) for rate in (gate, ops.sigmoid(beta)))
        before = ops.reshape(state.read(1), n, n, c.n_ssm_head, state.n_seqs)
        y, new = ops.gated_delta_net(q, k, v, gate, beta, before)
        state.write(1, new)
        y = self.ssm_norm(ops.reshape(y, n, c.n_ssm_head, n_tokens))
        y = y * ops.silu(heads(self.attn_gate(x), c.n_ssm_head))
        y = self.ssm_out(state.by_sequence(ops.reshape(y, c.n_inner, n_tokens)))
        return ops.reshape(y, y.shape[0], n_tokens)

    def rates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """How each value head decays, and how far it is corrected: [n_head, n_tokens]."""
        raise NotImplementedError

    def keys(self, mixed: Tensor, first: int) -> Tensor:
        """Queries or keys of unit length, one for each value head or fewer."""
        c = self.config
        x = ops.split(mixed, first, c.n_state, c.n_group)
        # a norm whose mean is a sum
        epsilon = float(np.float32(c.norm_epsilon) / np.float32(c.n_state))
        return ops.scale(
            ops.rms_norm(x, epsilon), float(np.float32(1) / np.sqrt(np.float32(c.n_state)))
        )


class GatedAttention(Mixer):
    """Attention whose result is multiplied by a gate that lies beside the queries."""

    config: DeltaConfig
    attn_q: Linear
    attn_k: Linear
    attn_v: Linear
    attn_q_norm: RMSNorm
    attn_k_norm: RMSNorm
    attn_output: Linear

    def __call__(self, x: Tensor, at: Place) -> Tensor:
        c = self.config
        both = heads(self.attn_q(x), c.n_head)
        q = at.rotate(self.attn_q_norm(ops.part(both, 0, c.head_dim)))
        k = at.rotate(self.attn_k_norm(heads(self.attn_k(x), c.n_head_kv)))
        v = heads(self.attn_v(x), c.n_head_kv)
        attended = attend(q, k, v, at.kv, c.attention_scale)
        gate = ops.contiguous(ops.part(both, c.head_dim, c.head_dim))
        return self.attn_output(attended * ops.sigmoid(ops.reshape(gate, *attended.shape[:2])))
