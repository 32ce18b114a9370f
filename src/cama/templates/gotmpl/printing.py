"""Values as text: what an action prints, and Go's ``print`` and ``printf``."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cama.templates.budget import Budget
from cama.templates.gotmpl.encoding import shortest_float, to_json
from cama.templates.gotmpl.values import (
    JSONArray,
    JSONObject,
    Struct,
    TypeNames,
    as_list,
    as_map,
    type_name,
)
from cama.templates.gotmpl.verbs import Style, apply, quoted

NO_VALUE: Final = "<no value>"
_NIL: Final = "<nil>"
_MAX_WIDTH: Final = 1_000
_SLOW_VERBS: Final = "qxX"
SLOW: Final = 64
"""How much more it costs to write a text character by character than to copy it."""

_CHARGED: Final = 64
"""Characters of width that are one more time the weight of a value."""

_DIRECTIVE: Final = re.compile(
    r"""% (?P<flags> [-+\# 0]* )
    (?: \[ (?P<width_from> \d{1,4} ) \] (?=\*) )?
    (?P<width> \* | \d* )
    (?: (?P<point> \. )
        (?: \[ (?P<precision_from> \d{1,4} ) \] (?=\*) )? (?P<precision> \* | \d* ) )?
    (?: \[ (?P<index> \d{1,4} ) \] )?
    (?P<verb> . )? """,
    re.VERBOSE | re.DOTALL,
)


def display(value: Any) -> str:
    """What an action prints of ``value``."""
    if isinstance(value, str):
        return value
    return NO_VALUE if value is None else text_of(value)


def text_of(value: Any) -> str:
    """``%v``."""
    match value:
        case str():
            return value
        case None:
            return _NIL
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return shortest_float(value)
        case TypeNames():
            return str(value)
        case JSONObject() | JSONArray():
            return to_json(value)
        case Struct() if value.prints_json:
            return to_json(value)
        case Struct():
            return "{" + " ".join(map(text_of, value.fields.values())) + "}"
    fields = as_map(value)
    if fields is not None:
        return "map[" + " ".join(f"{k}:{text_of(fields[k])}" for k in sorted(fields)) + "]"
    return "[" + " ".join(map(text_of, as_list(value) or ())) + "]"


def joined(values: Sequence[Any]) -> str:
    """``print``: a space only between two neighbours that are both no texts."""
    pieces: list[str] = []
    for place, value in enumerate(values):
        if place and not isinstance(value, str) and not isinstance(values[place - 1], str):
            pieces.append(" ")
        pieces.append(text_of(value))
    return "".join(pieces)


def joined_line(values: Sequence[Any]) -> str:
    """``println``."""
    return " ".join(map(text_of, values)) + "\n"


def formatted(form: str, values: Sequence[Any], budget: Budget) -> str:
    """``printf``. What is wrong with it stands in the result, as Go has it."""
    printer = _Printer(values, budget)
    pieces: list[str] = []
    size = 0
    for piece in printer.pieces(form):
        size += len(piece)
        # A format may print one value many times, so that what is made is counted as it grows.
        budget.extend(size, len(piece))
        pieces.append(piece)
    return "".join(pieces)


class _Printer:
    """One printf: the values, and which of them is next."""

    def __init__(self, values: Sequence[Any], budget: Budget) -> None:
        self._values = values
        self._budget = budget
        self._next = 0
        self._reordered = False

    def pieces(self, form: str) -> Iterator[str]:
        at = 0
        while (percent := form.find("%", at)) >= 0:
            yield form[at:percent]
            directive = _DIRECTIVE.match(form, percent)
            assert directive is not None
            yield self._directive(directive)
            at = directive.end()
        yield form[at:]
        if not self._reordered and self._next < len(self._values):
            extra = ", ".join(_typed(value) for value in self._values[self._next :])
            yield f"%!(EXTRA {extra})"

    def _directive(self, found: re.Match[str]) -> str:
        verb = found["verb"]
        if verb is None:
            return "%!(NOVERB)"
        if verb == "%":
            return "%"
        self._turn_to(found["width_from"])
        width = self._number(found["width"])
        self._turn_to(found["precision_from"])
        precision = self._number(found["precision"] or "0") if found["point"] else None
        self._turn_to(found["index"])
        if isinstance(width, str) or isinstance(precision, str):
            return str(width if isinstance(width, str) else precision)
        if self._next < 0 or self._next >= len(self._values):
            return f"%!{verb}({'BADINDEX' if self._reordered else 'MISSING'})"
        value = self._values[self._next]
        self._next += 1
        style = Style.of(found["flags"], width, precision)
        # Each part of a list is filled up to the width, and each character looked at for quotes.
        self._budget.make_text((1 + style.width // _CHARGED) * self._budget.weigh(value))
        if verb in _SLOW_VERBS:
            self._budget.step(SLOW * self._budget.weigh(value))
        return _with_verb(value, verb, style)

    def _turn_to(self, index: str | None) -> None:
        if index:
            self._next = int(index) - 1
            self._reordered = True

    def _number(self, text: str) -> int | str | None:
        """A width or precision; a text is the complaint to print instead of the value."""
        if text != "*":
            return None if not text else min(int(text[:9]), _MAX_WIDTH)
        value = self._values[self._next] if 0 <= self._next < len(self._values) else None
        self._next += 1
        if type(value) is not int or abs(value) > _MAX_WIDTH:
            return "%!(BADWIDTH)"
        return value


def _with_verb(value: Any, verb: str, style: Style) -> str:
    """``value`` as ``verb`` writes it; of lists and maps, each of its parts."""
    if verb == "T":
        return style.pad(type_name(value))
    if verb == "v" and style.sharp:
        return _syntax(value)
    if value is None:
        return style.pad(_NIL) if verb == "v" else f"%!{verb}(<nil>)"
    if isinstance(value, JSONArray | JSONObject | TypeNames | Struct) and verb in "vsqxX":
        return apply(text_of(value), "s" if verb == "v" else verb, style) or ""
    fields, items = as_map(value), as_list(value)
    if fields is not None:
        parts = (
            f"{_with_verb(key, verb, style)}:{_with_verb(fields[key], verb, style)}"
            for key in sorted(fields)
        )
        return f"map[{' '.join(parts)}]"
    if items is not None:
        return f"[{' '.join(_with_verb(item, verb, style) for item in items)}]"
    if isinstance(value, Struct):
        return f"{{{' '.join(_with_verb(v, verb, style) for v in value.fields.values())}}}"
    written = apply(value, verb, style)
    return f"%!{verb}({_typed(value)})" if written is None else written


def _typed(value: Any) -> str:
    return _NIL if value is None else f"{type_name(value)}={text_of(value)}"


def _syntax(value: Any) -> str:
    """``%#v``."""
    match value:
        case None:
            return "interface {}(nil)"
        case str():
            return quoted(value)
        case Mapping():
            parts = (f"{quoted(key)}:{_syntax(value[key])}" for key in sorted(value))
            return f"map[string]interface {{}}{{{', '.join(parts)}}}"
        case list() | tuple():
            return f"[]interface {{}}{{{', '.join(map(_syntax, value))}}}"
    return text_of(value)
