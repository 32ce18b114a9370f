"""The ``options`` of a request: merged over the model's own, checked, split by what they set."""

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cama.core.errors import InvalidOption, InvalidOptionType
from cama.core.generation import Sampling
from cama.core.load import Draft, LoadOptions
from cama.core.settings import Settings

_log = logging.getLogger(__name__)

_TYPES = {
    "num_ctx": "integer",
    "num_batch": "integer",
    "num_gpu": "integer",
    "main_gpu": "integer",
    "use_mmap": "boolean",
    "num_thread": "integer",
    "draft_num_predict": "integer",
    "draft_model": "string",
    "num_draft": "integer",
    "num_keep": "integer",
    "seed": "integer",
    "num_predict": "integer",
    "top_k": "integer",
    "top_p": "float32",
    "min_p": "float32",
    "typical_p": "float32",
    "repeat_last_n": "integer",
    "temperature": "float32",
    "repeat_penalty": "float32",
    "presence_penalty": "float32",
    "frequency_penalty": "float32",
    "stop": "array",
    "heal": "boolean",
}
_SAMPLING = (
    "temperature", "top_k", "top_p", "min_p", "typical_p", "repeat_last_n",
    "repeat_penalty", "presence_penalty", "frequency_penalty", "seed",
)  # fmt: skip
_WITHOUT_EFFECT = ("main_gpu",)

EFFECTIVE = frozenset(_TYPES) - frozenset(_WITHOUT_EFFECT)
"""The options that do something."""

_MAX_FLOAT32 = 3.4028234663852886e38
_MAX_STOPS = 256
_LEAST_CONTEXT = 4
_LIMITS = {
    "num_ctx": (0, 2**31 - 1),
    "num_batch": (1, 2**14),
    "num_thread": (0, 2**10),
}


_JSON_TYPES: Mapping[str, Mapping[str, Any]] = {
    "integer": {"type": "number"},  # the part behind the point is cut off
    "float32": {"type": "number"},
    "boolean": {"type": "boolean"},
    "string": {"type": "string"},
    "array": {"type": "array", "items": {"type": "string"}},
}


def option_schema() -> dict[str, Any]:
    """The JSON Schema of ``options``."""
    properties = {name: dict(_JSON_TYPES[kind]) for name, kind in _TYPES.items()}
    return {"type": "object", "properties": properties}


def longest_answer(n_ctx: int) -> int:
    """Tokens of an answer that nobody bounds: ten contexts, as Ollama has it."""
    return 10 * n_ctx


@dataclass(frozen=True, slots=True)
class Options:
    """Checked options; those that nobody gave are absent and take their defaults."""

    values: Mapping[str, Any]

    @classmethod
    def merge(cls, model: Mapping[str, Any], request: Mapping[str, Any]) -> "Options":
        """The request's options over the model's.

        ``null`` counts as absent and an unknown key is dropped with a warning. Raises
        InvalidOptionType, and InvalidOption for a number that no machine can mean.
        """
        values = dict(_checked(model))
        values.update(_checked(request))
        for key in _WITHOUT_EFFECT:
            if key in values:
                _log.warning("option %s has no effect in this version", key)
        return cls(values)

    @property
    def sampling(self) -> Sampling:
        return Sampling(**{key: self.values[key] for key in _SAMPLING if key in self.values})

    @property
    def stop(self) -> tuple[str, ...]:
        return tuple(text for text in self.values.get("stop", ()) if text)

    @property
    def num_keep(self) -> int:
        return int(self.values.get("num_keep", 4))

    @property
    def heal(self) -> bool | None:
        """Whether the answer may retake the last tokens of the prompt, if that was said."""
        return self.values.get("heal")

    def num_predict(self, n_ctx: int) -> int:
        """How many tokens to generate: never without end, whatever was asked."""
        wanted = int(self.values.get("num_predict", -1))
        limit = longest_answer(n_ctx)
        return wanted if 0 < wanted <= limit else limit

    @property
    def draft_model(self) -> str:
        """The name of the model that guesses tokens for this one; empty without one."""
        return str(self.values.get("draft_model", "")).strip()

    @property
    def num_draft(self) -> int | None:
        """How many tokens it may guess at a time, by Cama's name or by Ollama's."""
        names = [name for name in ("num_draft", "draft_num_predict") if name in self.values]
        return max(int(self.values[names[0]]), 0) if names else None

    def load(self, settings: Settings, draft: Draft | None = None) -> LoadOptions:
        """How to load the model, with ``draft``; ``settings`` say what the options leave open."""
        default = LoadOptions()
        n_ctx = self._limited("num_ctx") or settings.context_length
        return LoadOptions(
            n_ctx=max(n_ctx, _LEAST_CONTEXT) if n_ctx else 0,
            n_batch=self._limited("num_batch", default.n_batch),
            n_parallel=settings.num_parallel or default.n_parallel,
            n_threads=self._limited("num_thread") or settings.num_threads,
            n_gpu_layers=self.values.get("num_gpu", default.n_gpu_layers),
            cache_type=settings.kv_cache_type,
            use_mmap=self.values.get("use_mmap", default.use_mmap),
            engine=settings.engine,
            draft=draft,
        )

    def _limited(self, key: str, default: int = 0) -> int:
        low, high = _LIMITS[key]
        return min(max(int(self.values.get(key, default)), low), high)


def _checked(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        kind = _TYPES.get(key)
        if kind is None:
            _log.warning("unknown option %.64r is ignored", key)
        elif value is not None:
            yield key, _convert(key, value, kind)


def _convert(key: str, value: Any, kind: str) -> Any:
    match kind, value:
        case "boolean", bool():
            return value
        case (("integer" | "float32"), bool()):
            pass
        case "integer", int() | float():
            return _integer(key, value)
        case "float32", int() | float():
            return _float32(key, value)
        case "string", str():
            return value
        case "array", list() | tuple():
            return _strings(key, value)
    raise InvalidOptionType(f'option "{key}" must be of type {kind}', option=key)


def _integer(key: str, value: float) -> int:
    if not math.isfinite(value) or not -(2**63) <= value < 2**63:
        raise InvalidOption(f'option "{key}" is out of range', option=key)
    return int(value)


def _float32(key: str, value: float) -> float:
    if not abs(value) <= _MAX_FLOAT32:
        raise InvalidOption(f'option "{key}" is out of range', option=key)
    return float(value)


def _strings(key: str, value: list[Any] | tuple[Any, ...]) -> tuple[str, ...]:
    if not all(isinstance(item, str) for item in value):
        raise InvalidOptionType(f'option "{key}" must be of an array of strings', option=key)
    if len(value) > _MAX_STOPS:
        raise InvalidOption(f'option "{key}" has more than {_MAX_STOPS} strings', option=key)
    return tuple(value)
