"""Leaves: the pieces of a model that own weights."""

from typing import Self

from cama.engine.native.nn.config import BaseConfig
from cama.engine.native.nn.module import Leaf, Weights, require
from cama.ggml import ops
from cama.ggml.tensor import Tensor


class Linear(Leaf):
    """x · weightᵀ (+ bias): weight [n_in, n_out]; the bias is there when the file has one.

    What the graph adds to products with this weight, such as those of adapters, is added here.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = weight
        self.bias = bias

    @classmethod
    def bind(cls, weights: Weights, name: str, config: BaseConfig) -> Self:
        return cls(require(weights, f"{name}.weight"), weights.take(f"{name}.bias"))

    def __call__(self, x: Tensor) -> Tensor:
        y = ops.mul_mat(self.weight, x)
        if x.graph is not None and x.graph.additions is not None:
            y = x.graph.additions.add(self.weight, x, y)
        return y if self.bias is None else y + self.bias


class RMSNorm(Leaf):
    """x / sqrt(mean(x²) + ε) · weight over the first dimension."""

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        self.weight = weight
        self.epsilon = epsilon

    @classmethod
    def bind(cls, weights: Weights, name: str, config: BaseConfig) -> Self:
        return cls(require(weights, f"{name}.weight"), config.norm_epsilon)

    def __call__(self, x: Tensor) -> Tensor:
        return ops.rms_norm(x, self.epsilon) * self.weight


class Embedding(Leaf):
    """One row of ``weight`` [n_embd, n_vocab] for each token."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    @classmethod
    def bind(cls, weights: Weights, name: str, config: BaseConfig) -> Self:
        return cls(require(weights, f"{name}.weight"))

    def __call__(self, tokens: Tensor) -> Tensor:
        return ops.get_rows(self.weight, tokens)


class Vector(Leaf):
    """A bare tensor that an operation takes as a parameter."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    @classmethod
    def bind(cls, weights: Weights, name: str, config: BaseConfig) -> Self:
        return cls(require(weights, f"{name}.weight"))
