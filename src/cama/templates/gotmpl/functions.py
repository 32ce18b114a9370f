"""What templates can call: Go's own functions and those that Ollama adds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote_plus

from cama.templates.budget import Budget
from cama.templates.gotmpl.encoding import to_json
from cama.templates.gotmpl.failure import Failure
from cama.templates.gotmpl.printing import NO_VALUE, SLOW, formatted, joined, joined_line
from cama.templates.gotmpl.values import (
    Struct,
    as_list,
    as_map,
    equals,
    is_less,
    is_true,
    type_name,
)

SHORT_CIRCUITS: Final = ("and", "or")
"""Functions whose arguments are evaluated only until one decides."""

_ANY_NUMBER: Final = 1 << 30
_DATE: Final = "%Y-%m-%d"

_HTML: Final = str.maketrans(
    {'"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;", "\0": "\ufffd"}
)
_SCRIPT: Final = str.maketrans(
    {chr(code): f"\\u{code:04X}" for code in range(0x20)}
    | {char: f"\\u{ord(char):04X}" for char in "<>&="}
    | {char: f"\\{char}" for char in "\\'\""}
)


@dataclass(frozen=True, slots=True)
class Calls:
    """What functions need of the execution that calls them."""

    budget: Budget
    now: datetime = field(default_factory=datetime.now)


Call = Callable[[Calls, Sequence[Any]], Any]


def _eq(calls: Calls, values: Sequence[Any]) -> bool:
    return any(equals(values[0], other) for other in values[1:])


def _ne(calls: Calls, values: Sequence[Any]) -> bool:
    return not equals(*values)


def _lt(calls: Calls, values: Sequence[Any]) -> bool:
    return is_less(*values)


def _le(calls: Calls, values: Sequence[Any]) -> bool:
    return is_less(*values) or equals(*values)


def _gt(calls: Calls, values: Sequence[Any]) -> bool:
    return not _le(calls, values)


def _ge(calls: Calls, values: Sequence[Any]) -> bool:
    return not is_less(*values)


def _not(calls: Calls, values: Sequence[Any]) -> bool:
    return not is_true(values[0])


def _len(calls: Calls, values: Sequence[Any]) -> int:
    """Bytes of a text, else items."""
    value = values[0]
    if isinstance(value, str):
        return len(value) if value.isascii() else len(_bytes(value))
    for inside in (as_list(value), as_map(value)):
        if inside is not None:
            return len(inside)
    raise Failure(f"len of type {type_name(value)}")


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


def _index(calls: Calls, values: Sequence[Any]) -> Any:
    value = values[0]
    if value is None:
        raise Failure("index of untyped nil")
    for key in values[1:]:
        value = _item(value, key)
    return value


def _item(value: Any, key: Any) -> Any:
    fields = as_map(value)
    if fields is not None:
        if not isinstance(key, str):
            raise Failure(f"cannot index a map with {type_name(key)}")
        return fields.get(key)
    items = _bytes(value) if isinstance(value, str) else as_list(value)
    if items is None:
        raise Failure(f"can't index item of type {type_name(value)}")
    return items[_place(key, len(items) - 1)]


def _place(key: Any, last: int) -> int:
    if type(key) is not int:
        raise Failure(f"cannot index slice with {type_name(key)}")
    if not 0 <= key <= last:
        raise Failure(f"index out of range: {key}")
    return key


def _slice(calls: Calls, values: Sequence[Any]) -> Any:
    whole, places = values[0], values[1:]
    if whole is None:
        raise Failure("slice of untyped nil")
    if len(places) > 3 or (len(places) == 3 and isinstance(whole, str)):
        raise Failure(f"too many slice indexes: {len(places)}")
    items = _bytes(whole) if isinstance(whole, str) else as_list(whole)
    if items is None:
        raise Failure(f"can't slice item of type {type_name(whole)}")
    found = [_place(place, len(items)) for place in places]
    if found != sorted(found):
        raise Failure(f"invalid slice index: {found[0]} > {found[1]}")
    start, stop = (*found, *(0, len(items))[len(found) :])[:2]
    calls.budget.step(stop - start)
    part = items[start:stop]
    return part.decode(errors="replace") if isinstance(part, bytes) else part


def _print(calls: Calls, values: Sequence[Any]) -> str:
    return joined(_weighed(calls, values))


def _println(calls: Calls, values: Sequence[Any]) -> str:
    return joined_line(_weighed(calls, values))


def _weighed(calls: Calls, values: Sequence[Any]) -> Sequence[Any]:
    """``values``, whose printing is accounted for."""
    calls.budget.spend(sum(map(calls.budget.weigh, values)))
    return values


def _printf(calls: Calls, values: Sequence[Any]) -> str:
    if not isinstance(values[0], str):
        raise Failure(f"wrong type for value; expected string; got {type_name(values[0])}")
    return formatted(values[0], values[1:], calls.budget)


def _html(calls: Calls, values: Sequence[Any]) -> str:
    return _plain(calls, values).translate(_HTML)


def _js(calls: Calls, values: Sequence[Any]) -> str:
    text = _escapable(calls, values).translate(_SCRIPT)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\u{ord(c):04X}" for c in text)


def _urlquery(calls: Calls, values: Sequence[Any]) -> str:
    return quote_plus(_escapable(calls, values), errors="replace")


def _plain(calls: Calls, values: Sequence[Any]) -> str:
    shown = [NO_VALUE if value is None else value for value in values]
    return joined(_weighed(calls, shown))


def _escapable(calls: Calls, values: Sequence[Any]) -> str:
    text = _plain(calls, values)
    calls.budget.step(SLOW * len(text))
    return text


def _call(calls: Calls, values: Sequence[Any]) -> Any:
    raise Failure("call of what is not a function: template data has none")


def _json(calls: Calls, values: Sequence[Any]) -> str:
    return to_json(*_weighed(calls, values))


def _current_date(calls: Calls, values: Sequence[Any]) -> str:
    return calls.now.strftime(_DATE)


def _yesterday_date(calls: Calls, values: Sequence[Any]) -> str:
    return (calls.now - timedelta(days=1)).strftime(_DATE)


def _to_typescript_type(calls: Calls, values: Sequence[Any]) -> str:
    if not isinstance(values[0], Struct) or "AnyOf" not in values[0].fields:
        raise Failure(f"toTypeScriptType of type {type_name(values[0])}")
    return _typescript(values[0])


def _typescript(prop: Struct) -> str:
    if prop.fields["AnyOf"]:
        return " | ".join(_typescript(one) for one in prop.fields["AnyOf"])
    names = prop.fields["Type"].names
    return " | ".join(_TYPESCRIPT.get(name, "any") for name in names) or "any"


_TYPESCRIPT: Final = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


@dataclass(frozen=True, slots=True)
class _Known:
    call: Call
    least: int
    most: int = _ANY_NUMBER


FUNCTIONS: Final[Mapping[str, _Known]] = {
    "eq": _Known(_eq, 2),
    "ne": _Known(_ne, 2, 2),
    "lt": _Known(_lt, 2, 2),
    "le": _Known(_le, 2, 2),
    "gt": _Known(_gt, 2, 2),
    "ge": _Known(_ge, 2, 2),
    "not": _Known(_not, 1, 1),
    "len": _Known(_len, 1, 1),
    "index": _Known(_index, 1),
    "slice": _Known(_slice, 1),
    "print": _Known(_print, 0),
    "println": _Known(_println, 0),
    "printf": _Known(_printf, 1),
    "html": _Known(_html, 0),
    "js": _Known(_js, 0),
    "urlquery": _Known(_urlquery, 0),
    "call": _Known(_call, 1),
    "json": _Known(_json, 1, 1),
    "currentDate": _Known(_current_date, 0),
    "yesterdayDate": _Known(_yesterday_date, 0),
    "toTypeScriptType": _Known(_to_typescript_type, 1, 1),
}

NAMES: Final = frozenset({*FUNCTIONS, *SHORT_CIRCUITS})


def call(name: str, calls: Calls, values: Sequence[Any]) -> Any:
    """What function ``name`` makes of ``values``. Raises Failure, and the budget's errors."""
    known = FUNCTIONS[name]
    if not known.least <= len(values) <= known.most:
        wanted = known.least if known.least == known.most else f"at least {known.least}"
        raise Failure(f"wrong number of arguments for {name}: want {wanted}, got {len(values)}")
    budget = calls.budget
    budget.step(sum(len(value) for value in values if isinstance(value, str)))
    made = known.call(calls, values)
    if isinstance(made, str):
        budget.make_text(len(made))
    return made
