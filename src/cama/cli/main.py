"""The ``cama`` command: finds the command, runs it, and turns every outcome into an exit status."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module

from cama.cli.catalog import ALIASES, COMMANDS
from cama.cli.terminal import clean
from cama.core.errors import CamaError, InvalidOption
from cama.core.settings import Settings

_INTERRUPTED = 130
_BROKEN_PIPE = 141
"""What a shell reports for a program ended by SIGPIPE."""

_USAGE = """\
Run language models on this machine

Usage:
  cama [flags]
  cama [command]

Available Commands:
{commands}

Flags:
  -h, --help      help for cama
  -v, --version   show version information

Use "cama [command] --help" for more information about a command.
"""


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    sys.exit(execute(sys.argv[1:]))


def execute(words: Sequence[str]) -> int:
    """Run one command line; returns its exit status."""
    try:
        status = _dispatch(words)
        sys.stdout.flush()
    except CamaError as error:
        return _complain(_line(error))
    except BrokenPipeError:
        _abandon_stdout()
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the edge of the process
        return _complain(_unexpected(error))
    return status


def _dispatch(words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help") or list(words) == ["help"]:
        print(_usage(), end="")
        return 0
    name, *rest = words
    if name == "help":
        name, rest = rest[0], ["--help"]
    if name in ("-v", "--version"):
        import_module("cama.cli.version").show_version()
        return 0
    if name.startswith("--"):
        raise InvalidOption(f"unknown flag: {name.partition('=')[0]}")
    if name.startswith("-") and name != "-":
        raise InvalidOption(f"unknown shorthand flag: '{name[1]}' in {name}")
    return _invoke(name, rest)


def _invoke(name: str, words: Sequence[str]) -> int:
    canonical = ALIASES.get(name, name)
    if canonical not in COMMANDS:
        raise InvalidOption(_unknown(name))
    function: Callable[..., None] = import_module(f"cama.cli.{COMMANDS[canonical].module}").command
    # Only here: help and version do without Typer.
    from cama.cli.command import invoke

    return invoke(canonical, function, words)


def _usage() -> str:
    width = max(map(len, COMMANDS)) + 2
    rows = (f"  {name:<{width}}{entry.summary}" for name, entry in sorted(COMMANDS.items()))
    return _USAGE.format(commands="\n".join(rows))


def _unknown(name: str) -> str:
    text = f'unknown command "{name}" for "cama"'
    if similar := get_close_matches(name, [*COMMANDS, *ALIASES]):
        text += "\n\nDid you mean this?" + "".join(f"\n\t{match}" for match in similar)
    return text


def _line(error: CamaError) -> str:
    status_line = error.fields.get("status_line")
    return f"{status_line}: {error.message}" if status_line else error.message


def _complain(text: str) -> int:
    with suppress(OSError):  # nobody reads standard error: the status still tells
        print(f"Error: {clean(text)}", file=sys.stderr)
    return 1


def _unexpected(error: Exception) -> str:
    """One line for a bug; its traceback goes to the log, and to the terminal when debugging."""
    settings = _settings()
    if settings.debug:
        traceback.print_exc()
    text = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
    log = settings.home / "logs" / "cli.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
    except OSError:
        return text
    return f"{text} (see {log})"


def _settings() -> Settings:
    """The settings, or the defaults where those are what is wrong."""
    try:
        return Settings.load()
    except CamaError:
        return Settings()


def _abandon_stdout() -> None:
    """Let the interpreter's last flush go nowhere instead of failing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
