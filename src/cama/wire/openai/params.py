"""The parameters of a request, read as OpenAI's API does: what is wrong is named by its path."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from cama.core.errors import InvalidInput, InvalidRequest
from cama.wire.decode import json_kind

_T = TypeVar("_T")

_ARTICLES = {"array": "an array", "object": "an object", "number": "a number", "null": "null"}
_SHOWN_CHARACTERS = 100


class Params:
    """The fields of a JSON object at ``path``; ``null`` counts as absent.

    A value of the wrong type or outside of its range is an InvalidRequest whose field ``field`` is
    its path, such as ``messages[0].content``. It remembers what it was asked for.
    """

    def __init__(self, data: Mapping[str, Any], path: str = "") -> None:
        self.data = data
        self._path = path
        self._read: set[str] = set()
        self._inner: dict[str, dict[int, Params]] = {}

    def unread(self) -> Iterator[str]:
        """The paths of the fields that nobody has asked for, in objects and arrays too."""
        for key, value in self.data.items():
            if key in self._inner:
                for inner in self._inner[key].values():
                    yield from inner.unread()
            elif value is not None and key not in self._read:
                yield self.path(key)

    def all(self) -> Mapping[str, Any]:
        """All of the fields, whatever they are."""
        self._read.update(self.data)
        return self.data

    def path(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def refuse(self, key: str, why: str) -> NoReturn:
        path = self.path(key)
        raise InvalidRequest(f"'{path}' {why}", field=path)

    def has(self, key: str) -> bool:
        return self.data.get(key) is not None

    def any(self, key: str) -> Any:
        self._read.add(key)
        return self.data.get(key)

    def text(self, key: str, default: str = "") -> str:
        value = self._typed(key, str, "a string")
        return default if value is None else str(value)

    def needed_text(self, key: str) -> str:
        if not (text := self.text(key)):
            self.refuse(key, "is required")
        return text

    def flag(self, key: str, default: bool = False) -> bool:
        value = self._typed(key, bool, "a boolean")
        return default if value is None else bool(value)

    def integer(self, key: str, least: int, most: int) -> int | None:
        value = self._number(key, "an integer", least, most)
        if value is None or value == int(value):
            return None if value is None else int(value)
        self._wrong_type(key, value, "an integer")

    def number(self, key: str, least: float, most: float) -> float | None:
        value = self._number(key, "a number", least, most)
        return None if value is None else float(value)

    def choice(self, key: str, choices: Sequence[str], default: str, *, folds: bool = False) -> str:
        """One of ``choices``, written in any case when it ``folds``."""
        value = self.text(key, default)
        value = value.lower() if folds else value
        if value not in choices:
            listed = ", ".join(map(repr, choices))
            self.refuse(key, f"must be one of {listed}, not {_shown(value)}")
        return value

    def mapping(self, key: str) -> Mapping[str, Any]:
        return self._typed(key, dict, "an object") or {}

    def inner(self, key: str) -> "Params":
        """The fields of an object; none when it is absent."""
        return self._of(key, 0, self.mapping(key), self.path(key))

    def list(self, key: str) -> list[Any]:
        return self._typed(key, list, "an array") or []

    def objects(self, key: str) -> Iterator["Params"]:
        """The objects of an array, each with its own fields."""
        for i, item in enumerate(self.list(key)):
            place = f"{key}[{i}]"
            if not isinstance(item, dict):
                self._wrong_type(place, item, "an object")
            yield self._of(key, i, item, self.path(place))

    def _of(self, key: str, i: int, data: Mapping[str, Any], path: str) -> "Params":
        """One for each place, however often it is asked for."""
        return self._inner.setdefault(key, {}).setdefault(i, Params(data, path))

    def strings(self, key: str) -> tuple[str, ...]:
        """A string, or an array of them."""
        value = self.any(key)
        if isinstance(value, str):
            return (value,)
        items = self._typed(key, list, "a string or an array of strings") or []
        for i, item in enumerate(items):
            if not isinstance(item, str):
                self._wrong_type(f"{key}[{i}]", item, "a string")
        return tuple(items)

    def parsed(self, key: str, parse: Callable[[Any], _T]) -> _T:
        """What ``parse`` makes of a value; its complaint gets the value's path."""
        with named(self.path(key)):
            return parse(self.any(key))

    def _number(self, key: str, kind: str, least: float, most: float) -> Any:
        value = self._typed(key, int | float, kind)
        if isinstance(value, bool):
            self._wrong_type(key, value, kind)
        if value is not None and not least <= value <= most:
            self.refuse(key, f"must be between {least} and {most}")
        return value

    def _typed(self, key: str, kind: Any, name: str) -> Any:
        self._read.add(key)
        value = self.data.get(key)
        if value is not None and not isinstance(value, kind):
            self._wrong_type(key, value, name)
        return value

    def _wrong_type(self, key: str, value: Any, wanted: str) -> NoReturn:
        found = json_kind(value)
        self.refuse(key, f"must be {wanted}, not {_ARTICLES.get(found, f'a {found}')}")


@contextmanager
def named(path: str) -> Iterator[None]:
    """Let complaints about what is at ``path`` name it."""
    try:
        yield
    except InvalidInput as error:
        error.fields.setdefault("field", path)
        raise


def _shown(value: str) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
