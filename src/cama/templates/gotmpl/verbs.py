"""The verbs of ``printf`` for single values: numbers, truths and texts."""

import re
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from cama.templates.gotmpl.encoding import shortest_float

_DEFAULT_PRECISION: Final = 6
_MAX_PRECISION: Final = 1000
_ESCAPES: Final = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
    "\\": "\\\\",
}  # fmt: skip
_SUSPECT: Final = re.compile(r"""[^ !#-&(-\[\]-~]""")
_BASES: Final = {
    "b": ("b", "0b"),
    "o": ("o", "0"),
    "O": ("o", ""),
    "x": ("x", "0x"),
    "X": ("X", "0X"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Flags, width and precision of a verb."""

    plus: bool
    minus: bool
    sharp: bool
    space: bool
    zero: bool
    width: int
    precision: int | None

    @classmethod
    def of(cls, flags: str, width: int | None, precision: int | None) -> Self:
        left = "-" in flags or (width or 0) < 0
        return cls(
            plus="+" in flags,
            minus=left,
            sharp="#" in flags,
            space=" " in flags,
            zero="0" in flags and not left,
            width=abs(width or 0),
            precision=None if precision is None or precision < 0 else precision,
        )

    def pad(self, text: str, *, zeros: bool = False) -> str:
        """``text`` as wide as it must be."""
        if self.minus:
            return text.ljust(self.width)
        if zeros and self.zero:
            sign = text[:1] if text[:1] in ("+", "-", " ") else ""
            return sign + text[len(sign) :].rjust(self.width - len(sign), "0")
        return text.rjust(self.width)

    def signed(self, text: str, *, negative: bool) -> str:
        return ("-" if negative else "+" if self.plus else " " if self.space else "") + text


def apply(value: Any, verb: str, style: Style) -> str | None:
    """``value`` written by ``verb``; None when the verb is not for it."""
    match value:
        case bool():
            return style.pad("true" if value else "false") if verb in "tv" else None
        case int():
            return _integer(value, verb, style)
        case float():
            return _float(value, verb, style)
        case str():
            return _text(value, verb, style)
    return None


def _integer(value: int, verb: str, style: Style) -> str | None:
    match verb:
        case "v" | "d":
            return _digits(value, str(abs(value)), style)
        case "b" | "o" | "O" | "x" | "X":
            base, mark = _BASES[verb]
            prefix = "0o" if verb == "O" else mark if style.sharp else ""
            return _digits(value, prefix + format(abs(value), base), style)
        case "c":
            return style.pad(_character(value))
        case "q":
            return style.pad(quoted(_character(value), "'"))
        case "U":
            shown = f" '{_character(value)}'" if style.sharp else ""
            return style.pad(f"U+{value:04X}{shown}")
    return None


def _digits(value: int, digits: str, style: Style) -> str:
    if style.precision is not None:
        digits = digits.rjust(min(style.precision, _MAX_PRECISION), "0")
        style = replace(style, zero=False)
    return style.pad(style.signed(digits, negative=value < 0), zeros=True)


def _character(value: int) -> str:
    is_text = 0 <= value <= 0x10FFFF and not 0xD800 <= value <= 0xDFFF
    return chr(value) if is_text else "\ufffd"


def _float(value: float, verb: str, style: Style) -> str | None:
    written = _unsigned(abs(value), verb, style.precision)
    if written is None:
        return None
    if not written[0].isdigit():  # infinity and NaN are never filled up with zeros
        text = written if written == "NaN" else "Inf"
        sign = style.signed(text, negative=value < 0)
        return style.pad("+Inf" if sign == "Inf" else sign)
    return style.pad(style.signed(written, negative=value < 0 or str(value)[0] == "-"), zeros=True)


def _unsigned(value: float, verb: str, precision: int | None) -> str | None:
    digits = None if precision is None else min(precision, _MAX_PRECISION)
    lower = "f" if verb == "F" else verb.lower()
    if value != value or value == float("inf"):
        return shortest_float(value) if lower in "vefgxb" else None
    match lower:
        case "v" | "g" if verb in "vgG":
            text = shortest_float(value) if digits is None else f"{value:.{digits or 1}g}"
        case "e" | "f":
            text = f"{value:.{_DEFAULT_PRECISION if digits is None else digits}{lower}}"
        case "x":
            text = _hexadecimal(value)
        case _:
            return None
    return text.upper() if verb in "EGX" else text


def _hexadecimal(value: float) -> str:
    mantissa, _, exponent = value.hex().partition("p")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}p{exponent[0]}{exponent[1:].rjust(2, '0')}"


def _text(value: str, verb: str, style: Style) -> str | None:
    cut = value if style.precision is None else value[: style.precision]
    match verb:
        case "v" | "s":
            return style.pad(cut, zeros=True)
        case "q":
            raw = style.sharp and "`" not in cut and cut.isprintable()
            return style.pad(f"`{cut}`" if raw else quoted(cut, ascii_only=style.plus), zeros=True)
        case "x" | "X":
            data = value.encode(errors="replace")[: style.precision]
            text = data.hex(" ") if style.space else data.hex()
            text = f"0x{text}" if style.sharp and text else text
            return style.pad(text.upper() if verb == "X" else text, zeros=True)
    return None


def quoted(text: str, quote: str = '"', *, ascii_only: bool = False) -> str:
    """``text`` as a Go literal."""
    is_plain = text.isprintable() and quote not in text and "\\" not in text
    if is_plain and (text.isascii() or not ascii_only):
        return f"{quote}{text}{quote}"
    inside = _SUSPECT.sub(lambda found: _escaped(found[0], quote, ascii_only=ascii_only), text)
    return f"{quote}{inside}{quote}"


def _escaped(char: str, quote: str, *, ascii_only: bool) -> str:
    if char == quote:
        return f"\\{char}"
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable() and (char.isascii() or not ascii_only):
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
