"""Mamba 2: a state space of many heads behind a short convolution."""

from dataclasses import dataclass
from typing import Self

from cama.engine.native.nn.attention import Mixer
from cama.engine.native.nn.config import BaseConfig
from cama.engine.native.nn.layers import Bare, Bias, Linear, Vector
from cama.engine.native.nn.module import Weights, require
from cama.engine.native.nn.recurrent import SSMConfig, convolve
from cama.engine.native.nn.step import Place
from cama.ggml import ops
from cama.ggml.tensor import Tensor


@dataclass(frozen=True, kw_only=True)
class MambaConfig(SSMConfig):
    @property
    def n_channel(self) -> int:
        """What goes through the convolution: the inputs, and b and c of each group."""
        return self.n_inner + 2 * self.n_group * self.n_state

    @property
    def state_widths(self) -> tuple[int, ...]:
        return (self.n_kernel - 1) * self.n_channel, self.n_state * self.n_inner


class Convolution(Vector):
    """A kernel [k, n_channel] with a bias."""

    bias: Tensor

    @classmethod
    def bind(cls, weights: Weights, name: str, config: BaseConfig) -> Self:
        made = super().bind(weights, name, config)
        made.bias = require(weights, f"{name}.bias")
        return made


class Mamba2(Mixer):
    config: MambaConfig
    ssm_in: Linear
    ssm_conv1d: Convolution
    ssm_dt: Bias
    ssm_a: Bare
    ssm_d: Bare
    ssm_norm: Vector
    ssm_out: Linear

    def __call__(self, x: Tensor, at: Place) -> Tensor:
        c, state = self.config, at.state
        n_tokens = x.shape[1]
        n_each = n_tokens // state.n_seqs
        n_head_dim = c.n_inner // c.n_ssm_head
        projected = self.ssm_in(x)
        z = ops.split(projected, 0, n_head_dim, c.n_ssm_head)
        dt = ops.contiguous(ops.part(projected, c.n_inner + c.n_channel, c.n_ssm_head))
        dt = ops.planes(dt + self.ssm_dt.weight, n_each, state.n_seqs)
        mixed = ops.part(projected, c.n_inner, c.n_channel)
        mixed = ops.planes(mixed, n_each, state.n_seqs)
        mixed = ops.silu(convolve(mixed, self.ssm_conv1d.weight, state) + self.ssm_conv1d.bias)
        inputs = ops.split(mixed, 0, n_head_dim, c.n_ssm_head)
        b = ops.split(mixed, c.n_inner, c.n_state, c.n_group)
        c_ = ops.split(mixed, c.n_inner + c.n_group * c.n_state, c.n_state, c.n_group)
        states = state.pool(1, c.n_state, n_head_dim, c.n_ssm_head)
        y, new = ops.ssm_scan(states, inputs, dt, self.ssm_a.weight, b, c_, slots=state.slots)
        state.write(1, new)
        y = ops.reshape(y, n_head_dim, c.n_ssm_head, n_each, state.n_seqs)
        y = y + inputs * self.ssm_d.weight
        y = ops.reshape(y, n_head_dim, c.n_ssm_head, n_tokens)
        return self.ssm_out(self.normed(ops.swiglu(ops.contiguous(z), y)))

    def normed(self, y: Tensor) -> Tensor:
        """Even in each group."""
        c = self.config
        grouped = ops.reshape(y, c.n_inner // c.n_group, c.n_group, y.shape[2])
        grouped = ops.rms_norm(grouped, c.norm_epsilon) * self.ssm_norm.weight
        return ops.reshape(grouped, c.n_inner, y.shape[2])
