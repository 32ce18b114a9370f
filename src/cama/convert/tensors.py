"""The tensors of a checkpoint under GGUF's names, ready to be written one after the other."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cama.convert.checkpoint import Checkpoint
from cama.convert.config import Config
from cama.convert.family import Family
from cama.convert.safetensors import Tensor
from cama.convert.values import Change, pieces
from cama.core.errors import InvalidModelFile, UnsupportedModel
from cama.gguf import GGMLType, TensorSource

Advance = Callable[[int], None]
"""Told how many bytes were written."""

Sources = dict[str, list[Tensor]]
"""By GGUF's name; several are the matrices of experts, in their order."""

_BLOCK = re.compile(r"blk\.(\d+)\.(.+)")


class Renaming:
    """From a checkpoint's names to GGUF's."""

    def __init__(self, family: Family) -> None:
        prefix = "|".join(family.prefixes)
        self._rules = [
            (re.compile(f"(?:{prefix})?{_numbered(ours)}"), theirs)
            for ours, theirs in family.names.items()
        ]
        self._ignored = [re.compile(pattern) for pattern in family.ignored]

    def __call__(self, name: str) -> tuple[str, int | None] | None:
        """GGUF's name, and which expert's the tensor is; None for one that says nothing.

        Raises UnsupportedModel on a name that the family does not have.
        """
        for pattern, theirs in self._rules:
            if found := pattern.fullmatch(name):
                numbers = found.groups()
                expert = int(numbers[1]) if len(numbers) > 1 else None
                return theirs.format(*numbers[:1]), expert
        if any(pattern.fullmatch(name) for pattern in self._ignored):
            return None
        raise UnsupportedModel(f"the tensor {ascii(name)[:120]} is none that its family has")


def _numbered(name: str) -> str:
    """A pattern of ``name`` with numbers in its braces."""
    return re.escape(name).replace(re.escape("{}"), r"(\d{1,4})")


def find_sources(checkpoint: Checkpoint, family: Family, config: Config) -> Sources:
    """Which tensors become which. Raises InvalidModelFile on missing, UnsupportedModel on unknown
    ones."""
    rename = Renaming(family)
    experts: dict[str, dict[int, Tensor]] = {}
    for name, tensor in checkpoint.tensors.items():
        target = rename(name)
        if target is not None:
            experts.setdefault(target[0], {})[target[1] or 0] = tensor
    # Of a config that says nothing, the tensors tell.
    is_tied = config.flag("tie_word_embeddings", "output.weight" not in experts)
    if is_tied or not family.has_output:
        experts.pop("output.weight", None)
    elif "output.weight" not in experts:
        raise InvalidModelFile("the tensor lm_head.weight is missing", field="lm_head.weight")
    _check_blocks(experts, config.integer("num_hidden_layers"))
    for name, by_number in experts.items():
        if sorted(by_number) != list(range(len(by_number))):
            raise InvalidModelFile(f"experts of {name} are missing", field=name)
    return {name: [by_number[i] for i in sorted(by_number)] for name, by_number in experts.items()}


def _check_blocks(names: Mapping[str, Any], n_layer: int) -> None:
    """All layers have the same tensors, and there are as many as the config says."""
    blocks: dict[int, set[str]] = {layer: set() for layer in range(n_layer)}
    for name in names:
        if found := _BLOCK.fullmatch(name):
            layer = int(found[1])
            if layer not in blocks:
                raise InvalidModelFile(f"there is a layer {layer} of {n_layer}", field=name)
            blocks[layer].add(found[2])
    every = set().union(*blocks.values()) if blocks else set()
    if not every:
        raise InvalidModelFile("there are no layers", field="num_hidden_layers")
    for layer, present in blocks.items():
        if missing := every - present:
            name = f"blk.{layer}.{min(missing)}"
            raise InvalidModelFile(f"the tensor for {name} is missing", field=name)


class Writer:
    """Makes the tensors to write; matrices become ``kind``."""

    def __init__(self, family: Family, config: Config, kind: GGMLType, advance: Advance) -> None:
        self._family = family
        self._config = config
        self._kind = kind
        self._advance = advance

    def source(self, name: str, tensors: list[Tensor]) -> TensorSource:
        """Raises InvalidModelFile on shapes that do not fit."""
        shapes = {tensor.shape for tensor in tensors}
        shape = next(iter(shapes))
        if len(shapes) > 1 or not shape or min(shape) < 1 or len(shape) > 2:
            raise InvalidModelFile(f"{tensors[0].name} has the shape {shape}", field=name)
        ne = tuple(reversed(shape)) + ((len(tensors),) if "_exps." in name else ())
        kind = self.kind(name, shape)
        views = [(self.paired(name, tensor.bits), tensor.dtype) for tensor in tensors]

        def data() -> Iterator[bytes | memoryview]:
            for bits, dtype in views:
                for piece in pieces(bits, dtype, kind, self._change(name)):
                    self._advance(memoryview(piece).nbytes)
                    yield piece

        return TensorSource(name, kind, ne, data)

    def kind(self, name: str, shape: tuple[int, ...]) -> GGMLType:
        leaf = name.removesuffix(".weight").rpartition(".")[2]
        is_exact = len(shape) == 1 or leaf in self._family.exact
        return GGMLType.F32 if is_exact else self._kind

    def paired(self, name: str, bits: NDArray[Any]) -> NDArray[Any]:
        """A view whose rows, where they are rotated, are in pairs of neighbours."""
        leaf = name.removesuffix(".weight").removesuffix(".bias").rpartition(".")[2]
        key = self._family.paired.get(leaf)
        if key is None:
            return bits
        n_all = self._config.integer("num_attention_heads")
        n_head = self._config.integer(key, n_all)
        if not n_head or len(bits) % (2 * n_head):
            raise InvalidModelFile(
                f"{name} has {len(bits)} rows, which {n_head} heads cannot share", field=name
            )
        halves = bits.reshape(n_head, 2, len(bits) // n_head // 2, *bits.shape[1:])
        return halves.swapaxes(1, 2).reshape(bits.shape)

    def _change(self, name: str) -> Change | None:
        is_norm = name.endswith("norm.weight")
        return _plus_one if self._family.plus_one and is_norm else None


def _plus_one(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values + np.float32(1)
