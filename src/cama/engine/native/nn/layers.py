"""Leaves: the pieces of a model that own weights."""

from typing import Any, ClassVar, Self

from cama.core.errors import InvalidModelFile
from cama.engine.native.nn.config import BaseConfig
from cama.engine.native.nn.module import Leaf, Weights, require
from cama.ggml import ops
from cama.ggml.tensor import Tensor


class Linear(Leaf):
    """x · weightᵀ (· factor) (+ bias): weight [n_in, n_out]; the others where the file has them.

    What the graph adds to products with this weight, such as those of adapters, is added here.
    """

    has_factor: ClassVar[bool] = True
    """Whether a tensor ``name.scale`` is the factor."""

    def __init__(self, weight: Tensor, bias: Tensor | None, factor: Tensor | None = None) -> None:
        self.weight = weight
        self.bias = bias
        self.factor = factor

    @classmethod
    def bind(cls, weights: Weights, name: str, config: BaseConfig) -> Self:
        weight, bias = require(weights, f"{name}.weight"), weights.take(f"{name}.bias")
        factor = weights.take(f"{name}.scale") if cls.has_factor else None
        if factor is not None and factor.shape != (1, 1, 1, 1):
            raise InvalidModelFile(
                f"{name}.scale is not one number", field=f"tensor[{name}.scale].shape"
            )
        return cls(weight, bias, factor)

    def __call__(self, x: Tensor) -> Tensor:
        y = ops.mul_mat(self.weight, x)
        if x.graph is not None and x.graph.additions is not None:
            y = x.graph.additions.add(self.weight, x, y)
        if self.factor is not None:
            y = y * self.factor
        return y if self.bias is None else y + self.bias


class Experts(Leaf):
    """One matrix for each expert: weight [n_in, n_out, n_expert], of which rows pick theirs.

    Every product with expert weights goes through here, as every other through :class:`Linear`.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, scale: Tensor | None) -> None:
        self.weight = weight
        self.bias = bias
        self.scale = scale

    @classmethod
    def bind(cls, weights: Weights, name: str, config: Any) -> Self:
        weight = require(weights, f"{name}.weight")
        bias, scale = weights.take(f"{name}.bias"), weights.take(f"{name}.scale")
        n = config.n_expert
        counts = (weight.shape[2], bias.shape[1] if bias else n, scale.shape[0] if scale else n)
        if counts != (n, n, n):  # another would be read past its end
            raise InvalidModelFile(
                f"{name} is not of {n} experts", field=f"tensor[{name}.weight].shape"
            )
        return cls(weight, bias, scale)

    def __call__(self, x: Tensor, ids: Tensor) -> Tensor:
        """x [n_in, k or 1, n_tokens] by the experts ``ids`` [k, n_tokens]: [n_out, k, n_tokens]."""
        y = ops.mul_mat_id(self.weight, x, ids)
        if self.scale is not None:
            scales = ops.reshape(self.scale, 1, self.scale.shape[0], 1, graph=y.graph)
            scales = ops.repeat(scales, 1, self.scale.shape[0], ids.shape[1])
            y = y * ops.get_rows(scales, ids)
        return y if self.bias is None else ops.add_id(y, self.bias, ids)


class RMSNorm(Leaf):
    """x / sqrt(mean(x²) + ε) · weight over the first dimension."""

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        self.weight = weight
        self.epsilon = epsilon

    @classmethod
    def bind(cls, weights: Weights, name: str, config: Any) -> Self:
        return cls(require(weights, f"{name}.weight"), config.norm_epsilon)

    def __call__(self, x: Tensor) -> Tensor:
        return ops.rms_norm(x, self.epsilon) * self.weight


class LayerNorm(Leaf):
    """(x - mean) / sqrt(variance + ε) · weight (+ bias) over the first dimension."""

    def __init__(self, weight: Tensor, bias: Tensor | None, epsilon: float) -> None:
        self.weight = weight
        self.bias = bias
        self.epsilon = epsilon

    @classmethod
    def bind(cls, weights: Weights, name: str, config: Any) -> Self:
        weight = require(weights, f"{name}.weight")
        return cls(weight, weights.take(f"{name}.bias"), config.layer_norm_epsilon)

    def __call__(self, x: Tensor) -> Tensor:
        y = ops.norm(x, self.epsilon) * self.weight
        return y if self.bias is None else y + self.bias


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

    suffix = ".weight"

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    @classmethod
    def bind(cls, weights: Weights, name: str, config: BaseConfig) -> Self:
        return cls(require(weights, f"{name}{cls.suffix}"))

    @classmethod
    def exists(cls, weights: Weights, name: str) -> bool:
        return weights.has(f"{name}{cls.suffix}")


class Bias(Vector):
    """A vector that belongs to no matrix: the file calls it ``name.bias``."""

    suffix = ".bias"


class Scale(Vector):
    """A factor beside a matrix: the file calls it ``name.scale``."""

    suffix = ".scale"


class Bare(Vector):
    """A tensor without any suffix."""

    suffix = ""


class Unused(Vector):
    """A tensor that files have and nothing computes with."""
