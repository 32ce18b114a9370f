"""What a pass computes on, and what a layer of it is given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cama.engine.native.kvcache.state import LayerState
from cama.engine.native.kvcache.storage import LayerCache
from cama.engine.native.nn.rope import Rotation
from cama.ggml import ops
from cama.ggml.tensor import Tensor

OfPositions = Callable[[NDArray[np.int32]], NDArray[np.float32] | NDArray[np.int32]]
"""Values that follow from the tokens' positions: float32 or int32, any number per token."""


@dataclass(frozen=True)
class Step:
    """What one graph computes on.

    ``tokens`` and ``positions`` int32 [n_tokens]; ``outputs`` int32 [n_outputs], the rows whose
    logits are wanted; one cache or state per layer. ``derive`` makes an input that is a function
    of the positions. ``enter`` tells which layer is computed from now on; None is what follows
    the last one.
    """

    tokens: Tensor
    positions: Tensor
    outputs: Tensor
    caches: Sequence[LayerCache | LayerState | None]
    derive: Callable[[OfPositions], Tensor]
    enter: Callable[[int | None], None] = lambda layer: None

    def wanted(self, x: Tensor) -> Tensor:
        """The rows of x [n, n_tokens] whose logits are wanted."""
        return ops.get_rows(x, self.outputs)


@dataclass(frozen=True)
class Place:
    """Where in a pass a layer computes."""

    step: Step
    cache: LayerCache | LayerState | None
    rotate: Rotation
    is_last: bool
    beside: Tensor | None = None
    """An input of this layer's own, in models that have such."""

    @property
    def kv(self) -> LayerCache:
        assert isinstance(self.cache, LayerCache)
        return self.cache

    @property
    def state(self) -> LayerState:
        assert isinstance(self.cache, LayerState)
        return self.cache

    def wanted(self, x: Tensor) -> Tensor:
        """What later layers need of x [n, n_tokens]: in the last one only the rows of outputs."""
        return self.step.wanted(x) if self.is_last else x
