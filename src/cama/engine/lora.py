"""LoRA adapters in GGUF files: read, and checked against the model that they shall change."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from cama.core.errors import InvalidModelFile, UnsupportedModel
from cama.ggml.quantize import dequantize, is_numeric
from cama.gguf import GGUFFile, Scalar, TensorInfo, ValueType
from cama.gguf.cursor import label

Matrix = NDArray[np.float32]

_ALPHA: Final = "adapter.lora.alpha"
_INVOCATION: Final = "adapter.alora.invocation_tokens"
_HALVES: Final = ("lora_a", "lora_b")

Wrong = Callable[[str, str], InvalidModelFile]
"""The error that says of a field of the file what is wrong with it."""


class Base(NamedTuple):
    """The model that adapters are for.

    ``shapes`` are those of all its tensors, ne0 first; ``is_changeable`` says of a tensor whether
    the engine can add to what it is multiplied with.
    """

    architecture: str
    shapes: Mapping[str, tuple[int, ...]]
    is_changeable: Callable[[str], bool]


class Pair(NamedTuple):
    """What is added to a weight [n_in, n_out]: the product of a [n_in, rank] and b [rank, n_out].

    Those of experts have a third dimension, one matrix for each.
    """

    a: TensorInfo
    b: TensorInfo

    @property
    def rank(self) -> int:
        return self.b.shape[0]


class LoraFile:
    """An adapter that fits its model. ``pairs`` are by the names of the weights that they change.

    It must not be used after :meth:`close`.
    """

    def __init__(self, file: GGUFFile, base: Base) -> None:
        """Raises InvalidModelFile and UnsupportedModel, naming what does not fit."""

        def wrong(field: str, text: str) -> InvalidModelFile:
            return InvalidModelFile(f"{file.path}: {text}", path=str(file.path), field=field)

        self._file = file
        _check_kind(file, base.architecture, wrong)
        self._alpha = _alpha(file, wrong)
        self.pairs: Mapping[str, Pair] = _pairs(file, wrong)
        for name, pair in self.pairs.items():
            _check_pair(name, pair, base, wrong)

    @classmethod
    def open(cls, path: Path, base: Base) -> Self:
        """Raises ModelNotFound, InvalidModelFile, UnsupportedModel and StoreError."""
        file = GGUFFile.open(path)
        try:
            return cls(file, base)
        except BaseException:
            file.close()
            raise

    @property
    def n_bytes(self) -> int:
        """Of all matrices, as the file has them."""
        return sum(tensor.n_bytes for tensor in self._file.tensors.values())

    def scale(self, name: str) -> float:
        """What the product of a pair is multiplied with; without an alpha it is added as it is."""
        return self._alpha / self.pairs[name].rank if self._alpha else 1.0

    def matrices(self, name: str) -> tuple[Matrix, Matrix]:
        """a (rank, n_in) and b (n_out, rank) of a weight, in NumPy's order of dimensions.

        Raises InvalidModelFile for what is no number.
        """
        a, b = self.pairs[name]
        return self._read(a), self._read(b)

    def check_numbers(self) -> None:
        """Raise InvalidModelFile when a number is none: it would spoil what others share."""
        for name in self.pairs:
            self.matrices(name)

    def _read(self, tensor: TensorInfo) -> Matrix:
        values = dequantize(tensor.type, self._file.data(tensor.name), tensor.n_elements)
        if not np.isfinite(values).all():
            raise InvalidModelFile(
                f"{self._file.path}: {tensor.name} holds infinite numbers or NaN",
                path=str(self._file.path),
                field=f"tensor[{tensor.name}]",
            )
        return values.reshape(tensor.shape[::-1])

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check_kind(file: GGUFFile, architecture: str, wrong: Wrong) -> None:
    kind = file.get("general.type")
    if kind != "adapter":
        raise wrong("general.type", f"it is no adapter: general.type is {_shown(kind)}")
    if file.architecture != architecture:
        raise wrong(
            "general.architecture",
            f"the adapter is for {_shown(file.architecture)}, the model is {architecture}",
        )
    method = file.get("adapter.type")
    if method != "lora":
        raise wrong("adapter.type", f"adapter.type is {_shown(method)}, only lora is known")
    if _INVOCATION in file.metadata:
        raise UnsupportedModel(
            f"{file.path}: an adapter that is activated by tokens in the text is not supported",
            path=str(file.path),
            field=_INVOCATION,
        )


def _shown(value: object) -> str:
    return "missing" if value is None else label(str(value))


def _alpha(file: GGUFFile, wrong: Wrong) -> float:
    if _ALPHA not in file.metadata:
        return 0.0
    found = file.typed(_ALPHA)
    if not isinstance(found, Scalar) or found.type is not ValueType.FLOAT32:
        raise wrong(_ALPHA, f"{_ALPHA} is not a float32")
    alpha = float(found.value)
    if not math.isfinite(alpha):
        raise wrong(_ALPHA, f"{_ALPHA} is {alpha}")
    return alpha


def _pairs(file: GGUFFile, wrong: Wrong) -> dict[str, Pair]:
    """The tensors of the file by the weight whose name they begin with."""
    names = dict.fromkeys(name.rpartition(".")[0] for name in file.tensors)
    for name in file.tensors:
        if not name.endswith(tuple(f".{half}" for half in _HALVES)):
            raise wrong("tensors", f"{label(name)} is neither lora_a nor lora_b of a weight")
    if not names:
        raise wrong("tensors", "it holds no tensors")
    pairs = {}
    for name in names:
        a, b = (file.tensors.get(f"{name}.{half}") for half in _HALVES)
        if a is None or b is None:
            missing = _HALVES[0 if a is None else 1]
            raise wrong("tensors", f"{label(name)} has no {missing}")
        pairs[name] = Pair(a, b)
    return pairs


def _check_pair(name: str, pair: Pair, base: Base, wrong: Wrong) -> None:
    shape = base.shapes.get(name)
    if shape is None:
        raise wrong("tensors", f"the model has no tensor {label(name)}")
    for tensor in pair:
        if not is_numeric(tensor.type):
            raise wrong(
                f"tensor[{tensor.name}].type", f"{tensor.name} has the type {tensor.type.name}"
            )
    if not base.is_changeable(name):
        raise UnsupportedModel(f"an adapter cannot change {name} in this engine", field=name)
    n_in, n_out, n_experts = _padded(shape)
    rank = pair.rank
    if not rank <= max(n_in, n_out):
        raise wrong(f"tensor[{name}.lora_b].shape", f"{name} has the rank {rank}")
    for tensor, wanted in zip(
        pair, ((n_in, rank, n_experts), (rank, n_out, n_experts)), strict=True
    ):
        if _padded(tensor.shape) != wanted:
            raise wrong(
                f"tensor[{tensor.name}].shape",
                f"{tensor.name} is {list(tensor.shape)}, {name} needs {list(wanted)[: len(shape)]}",
            )


def _padded(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Three dimensions; more of them fit nothing."""
    n_in, n_out, n_experts, *more = (*shape, 1, 1, 1)
    return n_in, n_out, n_experts if not any(n > 1 for n in more) else -1
