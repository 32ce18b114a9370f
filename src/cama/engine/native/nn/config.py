"""Hyperparameters read from GGUF metadata into frozen dataclasses."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Self, get_type_hints

from cama.core.errors import InvalidModelFile, UnsupportedModel
from cama.gguf import GGUFFile

_KEY = "gguf_key"


def gguf(key: str, *, default: Any = dataclasses.MISSING) -> Any:
    """A field read from ``<architecture>.<key>``; without a default the key is required."""
    return dataclasses.field(default=default, metadata={_KEY: key})


@dataclass(frozen=True, kw_only=True)
class BaseConfig:
    """What every decoder has. Derived values are properties."""

    architecture: str
    n_vocab: int
    n_layer: int = gguf("block_count")
    n_embd: int = gguf("embedding_length")
    n_ctx_train: int = gguf("context_length")
    norm_epsilon: float = gguf("attention.layer_norm_rms_epsilon")

    @classmethod
    def read(cls, file: GGUFFile) -> Self:
        """Raises InvalidModelFile for a key that is missing or of the wrong type."""
        arch = file.architecture
        hints = get_type_hints(cls)
        values: dict[str, Any] = {"architecture": arch, "n_vocab": _n_vocab(file)}
        for field in dataclasses.fields(cls):
            if _KEY in field.metadata:
                key = f"{arch}.{field.metadata[_KEY]}"
                if key in file.metadata:
                    values[field.name] = _convert(file, key, hints[field.name])
                elif field.default is dataclasses.MISSING:
                    raise InvalidModelFile(
                        f"{file.path}: the required key {key} is missing",
                        path=str(file.path),
                        field=f"metadata[{key}]",
                    )
        return cls(**values)


def _n_vocab(file: GGUFFile) -> int:
    if "tokenizer.ggml.tokens" in file.metadata:
        return file.array_length("tokenizer.ggml.tokens")
    return int(file.get(f"{file.architecture}.vocab_size", 0))


def _convert(file: GGUFFile, key: str, hint: type) -> Any:
    value = file.metadata[key]
    if isinstance(value, (list, tuple)):
        raise UnsupportedModel(f"{key} differs from layer to layer")
    base = next((t for t in (bool, int, float, str) if hint in (t, t | None)), None)
    fits = isinstance(value, int | float) if base is float else type(value) is base
    if base is None or not fits:
        expected = base.__name__ if base else str(hint)
        raise InvalidModelFile(
            f"{file.path}: {key} is {value!r}, which is not of type {expected}",
            path=str(file.path),
            field=f"metadata[{key}]",
        )
    return base(value)
