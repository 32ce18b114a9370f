"""Declared models: annotations are the tree, field names are the GGUF's tensor names.

A ``Module`` field adds its name to the path (``blk.0.attn_q.weight``); a ``Group`` adds nothing,
for tensors that the file keeps flat but the maths keeps together. ``X | None`` may be absent.
"""

import types
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, Self, Union, get_args, get_origin, get_type_hints

from cama.core.errors import InvalidModelFile
from cama.engine.native.nn.config import BaseConfig
from cama.ggml.tensor import Tensor


class Weights(Protocol):
    """Where tensors come from; it remembers which were taken."""

    def take(self, name: str) -> Tensor | None:
        """The tensor of that name, or None."""


def require(weights: Weights, name: str) -> Tensor:
    """The tensor of that name; raises InvalidModelFile when the file has none."""
    tensor = weights.take(name)
    if tensor is None:
        raise InvalidModelFile(f"the model has no tensor {name}", field=f"tensor[{name}]")
    return tensor


class Leaf(ABC):
    """A piece of a model that owns tensors and computes with them."""

    @classmethod
    @abstractmethod
    def bind(cls, weights: Weights, name: str, config: BaseConfig) -> Self:
        """The piece called ``name``. Raises InvalidModelFile when a tensor of it is missing."""

    @classmethod
    def exists(cls, weights: Weights, name: str) -> bool:
        """Whether the file has this piece."""
        return weights.take(f"{name}.weight") is not None


class Tied:
    """A default: use another leaf's tensors when the file has none of this name."""

    def __init__(self, name: str) -> None:
        self.name = name


def tied(name: str) -> Any:
    return Tied(name)


class Module:
    """A node of the tree. Subclasses declare fields and compute in ``__call__``."""

    config: Any

    @classmethod
    def build(cls, weights: Weights, config: BaseConfig, prefix: str = "") -> Self:
        """Bind every declared field. Raises InvalidModelFile for a missing tensor."""
        self = cls.__new__(cls)
        for name, hint in get_type_hints(cls).items():
            value = config if name == "config" else _field(cls, name, hint, weights, config, prefix)
            setattr(self, name, value)
        return self


def leaves(part: object) -> Iterator[Leaf]:
    """All pieces of a built module, those of its parts too."""
    if isinstance(part, Leaf):
        yield part
    elif isinstance(part, Module):
        for child in vars(part).values():
            yield from leaves(child)
    elif isinstance(part, list):
        for child in part:
            yield from leaves(child)


class Group(Module):
    """A module whose tensors carry no extra segment in their names."""


def _field(
    owner: type[Module], name: str, hint: Any, weights: Weights, config: BaseConfig, prefix: str
) -> Any:
    path = prefix + name
    if get_origin(hint) is Sequence:
        (item,) = get_args(hint)
        return [item.build(weights, config, f"{path}.{i}.") for i in range(config.n_layer)]
    optional = get_origin(hint) in (Union, types.UnionType)
    kind = next(a for a in get_args(hint) if a is not type(None)) if optional else hint
    if issubclass(kind, Group):
        return kind.build(weights, config, prefix)
    if issubclass(kind, Module):
        return kind.build(weights, config, f"{path}.")
    if not kind.exists(weights, path):
        if optional:
            return None
        fallback = getattr(owner, name, None)
        if isinstance(fallback, Tied):
            path = prefix + fallback.name
    return kind.bind(weights, path, config)
