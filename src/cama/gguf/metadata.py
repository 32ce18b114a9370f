"""The metadata of a GGUF file: an index built at open, values decoded when they are looked up."""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from struct import iter_unpack
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from cama.gguf.cursor import Cursor, Data, label
from cama.gguf.values import Array, Scalar, Value, ValueType

MAX_KEY_BYTES: Final = 65_535

_TYPES: Final = {int(kind): kind for kind in ValueType}


class Entry(NamedTuple):
    """Where a value lies. ``type`` is the elements' for an array; ``length`` is None otherwise."""

    type: ValueType
    pos: int
    length: int | None


def read_entries(cursor: Cursor, count: int) -> dict[str, Entry]:
    """Index ``count`` keys, stepping over their values."""
    entries: dict[str, Entry] = {}
    for i in range(count):
        cursor.where = f"metadata[#{i}]"
        key = cursor.text("key", MAX_KEY_BYTES)
        if not key:
            raise cursor.damaged("key", "is empty")
        cursor.where = f"metadata[{label(key)}]"
        if key in entries:
            raise cursor.damaged("key", "appears twice")
        entries[key] = _read_entry(cursor)
    return entries


def _read_entry(cursor: Cursor) -> Entry:
    kind = _read_type(cursor, "type")
    if kind is not ValueType.ARRAY:
        return Entry(kind, _skip_values(cursor, kind, 1), None)
    element = _read_type(cursor, "element_type")
    if element is ValueType.ARRAY:
        raise cursor.damaged("element_type", "is an array of arrays, which ggml does not read")
    count = cursor.u64("length")
    return Entry(element, _skip_values(cursor, element, count), count)


def _read_type(cursor: Cursor, field: str) -> ValueType:
    number = cursor.u32(field)
    kind = _TYPES.get(number)
    if kind is None:
        raise cursor.damaged(field, f"is {number}, which is no value type")
    return kind


def _skip_values(cursor: Cursor, kind: ValueType, count: int) -> int:
    if kind is ValueType.STRING:
        return cursor.skip_strings(count, "value")
    return cursor.skip(count * kind.size, "value")


class Metadata(Mapping[str, Value]):
    """Keys and values of a file. A value is decoded anew at every look-up: keep what you need.

    A look-up raises InvalidModelFile on a string that is not UTF-8 and a bool that is neither 0
    nor 1, and KeyError on a key that the file does not have.
    """

    def __init__(
        self,
        data: Data,
        path: Path,
        entries: Mapping[str, Entry],
        added: Mapping[str, Scalar | Array] = MappingProxyType({}),
    ) -> None:
        """``added`` are values that the data does not have; they take no key of ``entries``."""
        self._data = data
        self._path = path
        self._entries = entries
        self._added = added

    def __getitem__(self, key: str) -> Value:
        value: Value
        if key in self._added:
            value = _plain(self._added[key])
            return value
        entry = self._entries[key]
        value = _decode(self.cursor(key, entry.pos), entry)
        return value

    def __contains__(self, key: object) -> bool:
        return key in self._entries or key in self._added

    def __iter__(self) -> Iterator[str]:
        return chain(self._entries, self._added)

    def __len__(self) -> int:
        return len(self._entries) + len(self._added)

    def edited(
        self,
        names: Mapping[str, str],
        values: Mapping[str, Scalar | Array],
        lengths: Mapping[str, int],
    ) -> "Metadata":
        """The same under other ``names`` (one of "" leaves a key out), with ``values`` added or
        replaced, and arrays cut to ``lengths``, which are by their new names."""
        entries: dict[str, Entry] = {}
        for key, entry in self._entries.items():
            name = names.get(key, key)
            if not name or name in values:
                continue
            if entry.length is not None and entry.length > lengths.get(name, entry.length):
                entry = entry._replace(length=lengths[name])
            entries[name] = entry
        return Metadata(self._data, self._path, entries, {**self._added, **values})

    def typed(self, key: str) -> Scalar | Array:
        """The value with the type it has in the file, ready to be written again."""
        if key in self._added:
            return self._added[key]
        entry = self._entries[key]
        value: Any = self[key]
        return Scalar(entry.type, value) if entry.length is None else Array(entry.type, value)

    def array_length(self, key: str) -> int:
        """Elements of an array, which is not decoded. Raises InvalidModelFile when it is none."""
        added = self._added.get(key)
        if isinstance(added, Array):
            return len(added.values)
        entry = self._entries.get(key)
        if entry is None:
            raise self.cursor(key).damaged("value", "is missing")
        if entry.length is None:
            raise self.cursor(key).damaged("type", "is not an array")
        return entry.length

    def cursor(self, key: str, pos: int = 0) -> Cursor:
        """A reader whose errors name ``key``."""
        return Cursor(self._data, self._path, pos=pos, where=f"metadata[{label(key)}]")


def _plain(value: Scalar | Array) -> Any:
    return value.value if isinstance(value, Scalar) else list(value.values)


def _decode(cursor: Cursor, entry: Entry) -> Any:
    if entry.type is ValueType.STRING:
        if entry.length is None:
            return cursor.text("value")
        return cursor.texts(entry.length, "value")
    if entry.length is None:
        return _decode_fixed(cursor, entry.type, 1)[0]
    return _decode_fixed(cursor, entry.type, entry.length)


def _decode_fixed(cursor: Cursor, kind: ValueType, count: int) -> list[Any]:
    start = cursor.skip(count * kind.size, "value")
    raw = cursor.data[start : cursor.pos]
    values = list(chain.from_iterable(iter_unpack(f"<{kind.code}", raw)))
    if kind is not ValueType.BOOL:
        return values
    if max(values, default=0) > 1:
        raise cursor.damaged("value", "is a bool that is neither 0 nor 1")
    return [value == 1 for value in values]
