"""The parameters of a Modelfile: their names, their types, and how their values are written."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from cama.core.errors import InvalidOption

DEPRECATED: Final = frozenset(
    {
        "penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock",
        "mirostat", "mirostat_tau", "mirostat_eta",
    }
)  # fmt: skip

_INT = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_FLOAT32_MAX = 3.4028234663852886e38
_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


def _parse_int(text: str) -> int | None:
    # 20 characters hold every 64-bit number; int() itself refuses very long ones.
    value = int(text) if _INT.fullmatch(text) and len(text) <= 20 else None
    return value if value is not None and -(2**63) <= value < 2**63 else None


def _parse_float(text: str) -> float | None:
    value = float(text) if _FLOAT.fullmatch(text) else math.inf
    return value if abs(value) <= _FLOAT32_MAX else None


_PARSERS: Final[Mapping[str, tuple[str, Callable[[str], Any]]]] = {
    **dict.fromkeys(
        ("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "draft_num_predict",
         "num_draft", "num_keep", "seed", "num_predict", "top_k", "repeat_last_n"),
        ("int", _parse_int)),
    **dict.fromkeys(
        ("top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty",
         "frequency_penalty"),
        ("float", _parse_float)),
    "use_mmap": ("bool", _BOOLS.get),
    "stop": ("string", str),
    "draft_model": ("string", str),
}  # fmt: skip

NAMES: Final = tuple(_PARSERS)


def parse_parameter(name: str, text: str) -> int | float | bool | str:
    """The typed value of one parameter (of ``stop``, one string). Raises InvalidOption."""
    if name not in _PARSERS:
        raise InvalidOption(f"unknown parameter '{name}'", option=name)
    kind, parse = _PARSERS[name]
    value: int | float | bool | str | None = parse(text)
    if value is None:
        raise InvalidOption(f"invalid {kind} value [{text}]", option=name)
    return value


def add_parameter(
    values: dict[str, Any], name: str, text: str, warn: Callable[[str], None]
) -> None:
    """Add a typed parameter: ``stop`` collects a list, of others the last counts.

    A deprecated name is left out and ``warn`` is told. Raises InvalidOption.
    """
    if name in DEPRECATED:
        warn(f"parameter {name} is deprecated")
    elif name == "stop":
        values.setdefault(name, []).append(parse_parameter(name, text))
    else:
        values[name] = parse_parameter(name, text)


def format_parameters(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values as a Modelfile has them, sorted by name; a list gives several."""
    return [
        (name, _format(value))
        for name in sorted(params)
        for value in (params[name] if isinstance(params[name], list) else [params[name]])
        if value is not None
    ]


def _format(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
    return str(value)
