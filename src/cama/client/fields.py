"""Typed reading of an answer's members: absent is empty, the wrong type is an error."""

from collections.abc import Mapping
from typing import Any, TypeVar

from cama.core.errors import CamaError

_T = TypeVar("_T")


def text(data: Mapping[str, Any], key: str) -> str:
    return _typed(data, key, str, "")


def integer(data: Mapping[str, Any], key: str) -> int:
    return _typed(data, key, int, 0)


def mapping(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    return _typed(data, key, dict, {})


def texts(data: Mapping[str, Any], key: str) -> list[str]:
    return [str(item) for item in _typed(data, key, list, [])]


def objects(data: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    items: list[Any] = _typed(data, key, list, [])
    if not all(isinstance(item, dict) for item in items):
        raise CamaError(f"the server's answer has something else than objects in {key!r}")
    return items


def _typed(data: Mapping[str, Any], key: str, kind: type[_T], absent: _T) -> _T:
    value = data.get(key)
    if value is None:
        return absent
    if not isinstance(value, kind):
        raise CamaError(f"the server's answer has {type(value).__name__} in {key!r}")
    return value
