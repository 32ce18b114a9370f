"""The JSON files of a checkpoint: read within bounds, their members typed or refused by name."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cama.core.errors import InvalidModelFile, UnsupportedModel

MAX_JSON_BYTES: Final = 256 << 20
"""Gemma 3's tokenizer has 33 million bytes."""

_MAX_FLOAT32: Final = 3.4028234663852886e38
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file. Raises InvalidModelFile."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
        value = json.loads(data) if len(data) <= MAX_JSON_BYTES else None
        if _SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode()  # half a pair is no text
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidModelFile(
            f"{path.name} cannot be read: {error}", path=str(path), field="json"
        ) from None
    if not isinstance(value, dict):
        raise InvalidModelFile(
            f"{path.name} is no JSON object, or too large", path=str(path), field="json"
        )
    return value


class Config:
    """Members of a JSON object. ``None`` counts as absent; without a default that is an error."""

    def __init__(self, values: Mapping[str, Any], where: str = "config.json") -> None:
        self.values = values
        self.where = where

    def integer(self, key: str, default: int | None = None) -> int:
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
            raise self._wrong(key, "a whole number")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, "a number")
        if not abs(value) <= _MAX_FLOAT32:
            raise self._wrong(key, "a number that 32 bits hold")
        return float(value)

    def text(self, key: str, default: str | None = None) -> str:
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, "a text")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def part(self, key: str) -> "Config":
        """An object within; an absent one is empty."""
        value = self.values.get(key)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self._wrong(key, "an object")
        return Config(value, f"{self.where}: {key}")

    def numbers(self, key: str) -> list[float]:
        value = self._get(key, None)
        if not isinstance(value, list) or not all(
            isinstance(item, int | float) and abs(item) <= _MAX_FLOAT32 for item in value
        ):
            raise self._wrong(key, "a list of numbers")
        return [float(item) for item in value]

    def texts(self, key: str) -> list[str]:
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, "a list of texts")
        return value

    def parts(self, key: str) -> "list[Config]":
        """The objects of a list; an absent one is empty."""
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._wrong(key, "a list of objects")
        return [Config(item, f"{self.where}: {key}") for item in value]

    def has(self, key: str) -> bool:
        return self.values.get(key) is not None

    def require(self, condition: bool, what: str) -> None:
        """Raises UnsupportedModel unless the model is one that the GGUF form can express."""
        if not condition:
            raise UnsupportedModel(f"{self.where}: {what} is not supported")

    def _get(self, key: str, default: Any) -> Any:
        value = self.values.get(key)
        return default if value is None else value

    def _wrong(self, key: str, kind: str) -> InvalidModelFile:
        problem = "is not" if self.has(key) else "is missing:"
        return InvalidModelFile(f"{self.where}: {key} {problem} {kind}", field=key)
