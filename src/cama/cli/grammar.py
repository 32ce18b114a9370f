"""The grammar of the command line, which is that of Go's pflag and cobra as Ollama's users know it.

It reads what Typer declares. Typer's own parser has other rules (``--think low`` would take the
prompt's first word as its value), other texts and exit statuses, and it imports pydantic to turn a
string into a string, which costs 70 ms.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from typer.core import TyperArgument, TyperOption

from cama.core.errors import InvalidOption

_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}

OPTIONAL_VALUES = {"think": "true"}
"""Options whose value only ``=`` can give, and what they mean without one."""


class Words:
    """The words after a command's name, sorted into options and positional arguments."""

    def __init__(self, params: Sequence[Any], words: Sequence[str]) -> None:
        declared = [p for p in params if isinstance(p, TyperOption) and p.name != "help"]
        self._options = {flag.lstrip("-"): p for p in declared for flag in p.opts}
        self.options: dict[str, Any] = {str(p.name): p.default for p in declared}
        self.positional: list[str] = []
        self.wants_help = False
        self._read(iter(words))

    def _read(self, words: Iterator[str]) -> None:
        for word in words:
            if word == "--":
                self.positional.extend(words)
            elif word == "-" or not word.startswith("-"):
                self.positional.append(word)
            elif word in ("-h", "--help"):
                self.wants_help = True
            elif word.startswith("--"):
                self._long(word, words)
            else:
                self._short(word, words)

    def _long(self, word: str, words: Iterator[str]) -> None:
        name, equals, value = word[2:].partition("=")
        if len(name) < 2 or name not in self._options:
            raise InvalidOption(f"unknown flag: --{name}")
        self._set(name, f"--{name}", value if equals else None, words)

    def _short(self, word: str, words: Iterator[str]) -> None:
        """Letters, the last of which may have a value: ``-v``, ``-qf x``, ``-fx``, ``-f=x``."""
        rest = word[1:]
        while rest:
            name, rest = rest[0], rest[1:]
            if name not in self._options:
                raise InvalidOption(f"unknown shorthand flag: '{name}' in {word}")
            value = rest.removeprefix("=") if rest and not self._takes_none(name, rest) else None
            self._set(name, f"-{name}", value, words)
            rest = rest if value is None else ""

    def _takes_none(self, name: str, rest: str) -> bool:
        return bool(self._options[name].is_flag) and not rest.startswith("=")

    def _set(self, name: str, flag: str, value: str | None, words: Iterator[str]) -> None:
        option = self._options[name]
        if option.is_flag:
            self.options[str(option.name)] = _boolean(flag, "true" if value is None else value)
            return
        if value is None:
            value = OPTIONAL_VALUES.get(name) or next(words, None)
        if value is None:
            raise InvalidOption(f"flag needs an argument: {flag}")
        self.options[str(option.name)] = _like(option.default, flag, value)


def _like(default: object, flag: str, text: str) -> int | float | str:
    """A number where the default is one."""
    kind = type(default)
    if kind not in (int, float):
        return text
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        raise InvalidOption(f'invalid argument "{text}" for {flag}: must be a number') from None


def _boolean(flag: str, text: str) -> bool:
    if text not in _BOOLEANS:
        raise InvalidOption(f'invalid argument "{text}" for {flag}: must be true or false')
    return _BOOLEANS[text]


def distribute(params: Sequence[Any], words: Sequence[str]) -> dict[str, Any]:
    """Distribute positional words; the last parameter may take all that are left."""
    arguments = [p for p in params if isinstance(p, TyperArgument)]
    _check_number(arguments, len(words))
    values: dict[str, Any] = {}
    for index, param in enumerate(arguments):
        rest = list(words[index:])
        if param.nargs == -1:
            values[str(param.name)] = rest
        else:
            values[str(param.name)] = rest[0] if rest else param.default
    return values


def _check_number(arguments: Sequence[Any], received: int) -> None:
    least = sum(1 for param in arguments if param.required)
    variadic = any(param.nargs == -1 for param in arguments)
    most = len(arguments)
    if variadic and received < least:
        raise InvalidOption(f"requires at least {least} arg(s), only received {received}")
    if not variadic and least == most != received:
        raise InvalidOption(f"accepts {most} arg(s), received {received}")
    if not variadic and received > most:
        raise InvalidOption(f"accepts at most {most} arg(s), received {received}")
