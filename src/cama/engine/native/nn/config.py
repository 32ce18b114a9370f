"""Hyperparameters read from GGUF metadata into frozen dataclasses."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Self, get_args, get_origin, get_type_hints

from cama.core.errors import InvalidModelFile, UnsupportedModel
from cama.core.load import LoadOptions
from cama.gguf import GGUFFile

_KEY = "gguf_key"
_BY_LAYER = "by_layer"


def gguf(key: str, *, default: Any = dataclasses.MISSING, by_layer: bool = False) -> Any:
    """A field read from ``<architecture>.<key>``; without a default the key is required.

    ``by_layer`` says that the file may hold one value per layer instead of one for all.
    """
    return dataclasses.field(default=default, metadata={_KEY: key, _BY_LAYER: by_layer})


@dataclass(frozen=True, kw_only=True)
class BaseConfig:
    """What every model has. Derived values are properties.

    ``index`` is the layer that the values are for; those of a whole model are of the first.
    """

    architecture: str
    n_vocab: int
    n_ctx: int = 0
    """Tokens that one sequence may have."""
    index: int = 0
    values_by_layer: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    n_block: int = gguf("block_count")
    n_draft_block: int = gguf("nextn_predict_layers", default=0)
    n_embd: int = gguf("embedding_length")
    n_ctx_train: int = gguf("context_length")

    @property
    def n_layer(self) -> int:
        """Layers that a pass runs through; those that follow only guess ahead."""
        return self.n_block - self.n_draft_block

    def layer(self, index: int) -> Self:
        """The values of one layer."""
        values = {name: values[index] for name, values in self.values_by_layer.items()}
        return dataclasses.replace(self, index=index, **values)

    @classmethod
    def read(cls, file: GGUFFile, load: LoadOptions) -> Self:
        """Raises InvalidModelFile for a key that is missing or of the wrong type."""
        arch = file.architecture
        hints = get_type_hints(cls)
        values: dict[str, Any] = {"architecture": arch, "n_vocab": _n_vocab(file)}
        by_layer: dict[str, tuple[Any, ...]] = {}
        for field in dataclasses.fields(cls):
            if _KEY not in field.metadata:
                continue
            key = f"{arch}.{field.metadata[_KEY]}"
            if key not in file.metadata:
                if field.default is dataclasses.MISSING:
                    _refuse(file, key, f"the required key {key} is missing")
                continue
            value = file.metadata[key]
            if get_origin(hints[field.name]) is tuple:
                values[field.name] = _convert_list(file, key, hints[field.name], value)
            elif isinstance(value, (list, tuple)):
                by_layer[field.name] = _convert_all(file, key, field, hints[field.name], value)
                values[field.name] = by_layer[field.name][0]
            else:
                values[field.name] = _convert(file, key, hints[field.name], value)
        n_ctx = load.context_for(values["n_ctx_train"])
        config = cls(**values, n_ctx=n_ctx, values_by_layer=by_layer)
        for name, items in by_layer.items():
            if len(items) < config.n_block:
                _refuse(file, name, f"{name} has {len(items)} values for {config.n_block} layers")
        return config


def _n_vocab(file: GGUFFile) -> int:
    if "tokenizer.ggml.tokens" in file.metadata:
        return file.array_length("tokenizer.ggml.tokens")
    key = f"{file.architecture}.vocab_size"
    return int(_convert(file, key, int, file.metadata[key])) if key in file.metadata else 0


def _convert_list(file: GGUFFile, key: str, hint: Any, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        _refuse(file, key, f"{key} is {value!r}, which is not a list")
    return tuple(_convert(file, key, get_args(hint)[0], item) for item in value)


def _convert_all(
    file: GGUFFile, key: str, field: dataclasses.Field[Any], hint: type, values: Any
) -> tuple[Any, ...]:
    if not field.metadata[_BY_LAYER]:
        raise UnsupportedModel(f"{key} differs from layer to layer")
    if not values:
        _refuse(file, key, f"{key} is empty")
    # flags and numbers are one where a layer may also have a number
    values = [int(v) if hint is int and type(v) is bool else v for v in values]
    return tuple(_convert(file, key, hint, value) for value in values)


def _convert(file: GGUFFile, key: str, hint: type, value: Any) -> Any:
    base = next((t for t in (bool, int, float, str) if hint in (t, t | None)), None)
    kinds = {float: (int, float), int: (int,), bool: (bool,), str: (str,)}
    fits = base is not None and isinstance(value, kinds[base])
    if base is None or not fits or (base is not bool and type(value) is bool):
        expected = base.__name__ if base else str(hint)
        _refuse(file, key, f"{key} is {value!r}, which is not of type {expected}")
    return base(value)


def _refuse(file: GGUFFile, key: str, problem: str) -> NoReturn:
    raise InvalidModelFile(f"{file.path}: {problem}", path=str(file.path), field=f"metadata[{key}]")
