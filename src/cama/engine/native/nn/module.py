"""Declared models: annotations are the tree, field names are the GGUF's tensor names.

A ``Module`` field adds its name to the path (``blk.0.attn_q.weight``); a ``Group`` adds nothing,
for tensors that the file keeps flat but the maths keeps together. ``X | None`` may be absent, and
of ``X | Y`` the first is taken whose tensors the file has.
"""

import types
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from cama.core.errors import InvalidModelFile
from cama.engine.native.nn.config import BaseConfig
from cama.ggml.tensor import Tensor

T = TypeVar("T")


class Weights(Protocol):
    """Where tensors come from; it remembers which were taken."""

    def take(self, name: str) -> Tensor | None:
        """The tensor of that name, or None."""

    def has(self, name: str) -> bool:
        """Whether there is a tensor of that name, which stays untaken."""

    @property
    def shared(self) -> "Weights":
        """Where a leaf takes the tensors that it shares with another leaf."""


def require(weights: Weights, name: str) -> Tensor:
    """The tensor of that name; raises InvalidModelFile when the file has none."""
    tensor = weights.take(name)
    if tensor is None:
        raise InvalidModelFile(f"the model has no tensor {name}", field=f"tensor[{name}]")
    return tensor


def present(piece: T | None) -> T:
    """A piece that may be absent, where the computation cannot do without."""
    if piece is None:
        raise InvalidModelFile("the model lacks a tensor of one of its layers", field="tensor")
    return piece


class Leaf(ABC):
    """A piece of a model that owns tensors and computes with them."""

    @classmethod
    @abstractmethod
    def bind(cls, weights: Weights, name: str, config: BaseConfig) -> Self:
        """The piece called ``name``. Raises InvalidModelFile when a tensor of it is missing."""

    @classmethod
    def exists(cls, weights: Weights, name: str) -> bool:
        """Whether the file has this piece."""
        return weights.has(f"{name}.weight")


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

    @classmethod
    def exists(cls, weights: Weights, prefix: str) -> bool:
        """Whether the file has every piece that this module cannot do without."""
        hints = get_type_hints(cls)
        return all(
            _find(hint, weights, prefix, name) is not None or hasattr(cls, name)
            for name, hint in hints.items()
            if name != "config"
        )


class Group(Module):
    """A module whose tensors carry no extra segment in their names."""


def _field(
    owner: type[Module], name: str, hint: Any, weights: Weights, config: BaseConfig, prefix: str
) -> Any:
    if get_origin(hint) is Sequence:
        (item,) = get_args(hint)
        return [
            _build(item, weights, config.layer(i), prefix, f"{name}.{i}")
            for i in range(config.n_layer)
        ]
    fallback = getattr(owner, name, None)
    if isinstance(fallback, Tied) and _find(hint, weights, prefix, name) is None:
        return _build(hint, weights.shared, config, prefix, fallback.name)
    return _build(hint, weights, config, prefix, name)


def _build(hint: Any, weights: Weights, config: BaseConfig, prefix: str, name: str) -> Any:
    kind = _find(hint, weights, prefix, name) or _kinds(hint)[-1]
    if kind is types.NoneType:
        return None
    if issubclass(kind, Module):
        return kind.build(weights, config, _inside(kind, prefix, name))
    return kind.bind(weights, prefix + name, config)


def _find(hint: Any, weights: Weights, prefix: str, name: str) -> Any:
    """The first kind that the file has the tensors of; NoneType where none is needed, or None."""
    for kind in _kinds(hint):
        if kind is types.NoneType:
            return kind
        where = _inside(kind, prefix, name) if issubclass(kind, Module) else prefix + name
        if kind.exists(weights, where):
            return kind
    return None


def _inside(kind: type[Module], prefix: str, name: str) -> str:
    """The prefix of a module's own fields."""
    return prefix if issubclass(kind, Group) else f"{prefix}{name}."


def _kinds(hint: Any) -> tuple[Any, ...]:
    """The alternatives of an annotation, None last."""
    if get_origin(hint) not in (Union, types.UnionType):
        return (hint,)
    kinds = get_args(hint)
    return (*(k for k in kinds if k is not types.NoneType), *({types.NoneType} & {*kinds}))
