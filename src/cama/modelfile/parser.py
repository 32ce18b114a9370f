"""The Modelfile parser: text to commands, after Ollama's lexical rules."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cama.core.errors import InvalidModelfile
from cama.store.files import read_bounded, storing

COMMANDS: Final = (
    "from", "license", "template", "system", "adapter", "draft", "renderer", "parser",
    "parameter", "message", "requires",
)  # fmt: skip
ROLES: Final = ("system", "user", "assistant")
SIZE_LIMIT: Final = 16 << 20

_BLANKS = " \t"
_BLANKS_AND_ENDS = " \t\r\n"
_LINE = re.compile(r"[^\r\n]*(?:[\r\n]|\Z)")
_WORD = re.compile(r"([A-Za-z]+)[ \t]")
_ARGUMENT = {
    "parameter": re.compile(r"([A-Za-z0-9_]*)[ \t]"),
    "message": re.compile(r"([A-Za-z]*)[ \t]"),
}
_BAD_COMMAND = "command must be one of {}, or {}".format(
    ", ".join(f'"{name}"' for name in COMMANDS[:-1]), f'"{COMMANDS[-1]}"'
)
_BAD_ROLE = 'message role must be one of "system", "user", or "assistant"'
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class Command:
    """One command. ``argument`` is the name of a PARAMETER or the role of a MESSAGE."""

    name: str
    value: str
    argument: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Modelfile:
    """Commands in the order of the file; at least one is ``from``."""

    commands: tuple[Command, ...]

    def all(self, name: str) -> tuple[Command, ...]:
        return tuple(command for command in self.commands if command.name == name)

    def last(self, name: str) -> str:
        """The value of the last such command, the one that counts; empty if there is none."""
        found = self.all(name)
        return found[-1].value if found else ""


def load_modelfile(path: Path) -> Modelfile:
    """Read a file. Raises InvalidModelfile, StoreError, InvalidModelFile when it is too large."""
    with storing(path):
        return parse_modelfile(decode_modelfile(read_bounded(path, SIZE_LIMIT)))


def decode_modelfile(data: bytes) -> str:
    """Text of a Modelfile: UTF-8 unless a byte order mark says otherwise."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, errors="replace")
    return data.decode(errors="replace")


def parse_modelfile(text: str) -> Modelfile:
    """Read a Modelfile. Raises InvalidModelfile; its field ``line`` says where."""
    modelfile = Modelfile(tuple(_commands(_lines(text))))
    if not modelfile.all("from"):
        raise InvalidModelfile("no FROM line")
    return modelfile


def invalid_at(line: int, problem: str, **fields: Any) -> InvalidModelfile:
    """The error of a command that begins at ``line``."""
    return InvalidModelfile(f"(line {line}): {problem}", line=line, **fields)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Numbered lines with their ends; a carriage return ends a line like a line feed does."""
    lines = (found.group() for found in _LINE.finditer(text.removeprefix("\ufeff")))
    return ((number, line) for number, line in enumerate(lines, start=1) if line)


def _commands(lines: Iterator[tuple[int, str]]) -> Iterator[Command]:
    for number, line in lines:
        body = line.strip(_BLANKS_AND_ENDS)
        if not body or body.startswith("#"):
            continue
        rest = line.lstrip(_BLANKS)
        word = _WORD.match(rest)
        name = word[1].lower() if word else ""
        if word is None or name not in COMMANDS:
            raise invalid_at(number, _BAD_COMMAND)
        rest = rest[word.end() :]
        argument = ""
        if name in _ARGUMENT:
            argument, rest = _split_argument(name, rest, number)
        yield Command(name, _value(rest, lines, number), argument, number)


def _split_argument(name: str, rest: str, number: int) -> tuple[str, str]:
    """The name of a parameter or the role of a message, and what follows its blank."""
    found = _ARGUMENT[name].match(rest)
    if found is None:
        raise _cut_off(f"{name.upper()} {rest}", number)
    if name == "message" and found[1] not in ROLES:
        raise invalid_at(number, _BAD_ROLE)
    return found[1], rest[found.end() :]


def _value(first: str, lines: Iterator[tuple[int, str]], number: int) -> str:
    """A value, which goes on over further lines until its quotes are closed."""
    text = _printable(first).lstrip(_BLANKS)
    quote = _opening(text)
    if not quote:
        return _trimmed(text)
    pieces = [text]
    is_closed = len(_trimmed(text)) >= 2 * len(quote) and _trimmed(text).endswith(quote)
    while not is_closed:
        _, line = next(lines, (0, ""))
        if not line:
            raise _cut_off(text, number)
        pieces.append(_printable(line))
        is_closed = _trimmed(pieces[-1]).endswith(quote)
    return _trimmed("".join(pieces))[len(quote) : -len(quote)]


def _trimmed(text: str) -> str:
    return text.rstrip(_BLANKS_AND_ENDS)


def _opening(text: str) -> str:
    if text.startswith('"""'):
        return '"""'
    return '"' if text.startswith('"') else ""


def _printable(text: str) -> str:
    kept = _BLANKS_AND_ENDS
    return text if text.isprintable() else "".join(c for c in text if c.isprintable() or c in kept)


def _cut_off(text: str, line: int) -> InvalidModelfile:
    return InvalidModelfile(f"unexpected EOF: {text.strip()[:80]}", line=line)
