"""Feed-forward layers."""

from abc import ABC, abstractmethod

from cama.engine.native.nn.layers import Linear
from cama.engine.native.nn.module import Group
from cama.ggml import ops
from cama.ggml.tensor import Tensor


class MLP(Group, ABC):
    """What a block computes of each token by itself."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor: ...


class GatedMLP(MLP):
    """down(silu(gate(x)) · up(x))."""

    ffn_gate: Linear
    ffn_up: Linear
    ffn_down: Linear

    def __call__(self, x: Tensor) -> Tensor:
        up = self.ffn_up(x)
        return self.ffn_down(ops.swiglu(self.ffn_gate(x), up))


class GeluMLP(GatedMLP):
    """down(gelu(gate(x)) · up(x))."""

    def __call__(self, x: Tensor) -> Tensor:
        up = self.ffn_up(x)
        return self.ffn_down(ops.geglu(self.ffn_gate(x), up))


class FusedMLP(MLP):
    """A gated one whose gate is the first half of ``ffn_up``'s rows."""

    ffn_up: Linear
    ffn_down: Linear

    def __call__(self, x: Tensor) -> Tensor:
        return self.ffn_down(ops.swiglu_halves(self.ffn_up(x)))


class SharedMLP(MLP):
    """The expert that every token goes through."""

    ffn_gate_shexp: Linear
    ffn_up_shexp: Linear
    ffn_down_shexp: Linear

    def __call__(self, x: Tensor) -> Tensor:
        up = self.ffn_up_shexp(x)
        return self.ffn_down_shexp(ops.swiglu(self.ffn_gate_shexp(x), up))
