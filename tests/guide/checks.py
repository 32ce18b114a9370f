"""What an answer of the guide says of the product, and what of that is not so.

Each check takes an answer and yields complaints. Commands, names and snippets stand in backticks.
"""

import io
import json
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import typer

from cama.cli import guidance
from cama.cli.catalog import ALIASES, COMMANDS
from cama.cli.session import Session
from cama.cli.slash import Slash
from cama.cli.slash_show import show_item
from cama.client.client import Client
from cama.core.duration import parse_duration, parse_keep_alive
from cama.core.errors import CamaError, InvalidSetting
from cama.core.settings import DEFAULT_PORT, Settings
from cama.modelfile.parameters import DEPRECATED, parse_parameter
from cama.modelfile.parser import COMMANDS as INSTRUCTIONS
from cama.modelfile.parser import parse_modelfile
from cama.wire.decode import Fields
from cama.wire.options import Options
from tests.guide.product import (
    PACKAGE,
    REQUESTS,
    ROOT,
    api_fields,
    command,
    methods,
    shown_flags,
    variables,
)

Check = Callable[[str], Iterator[str]]

_PROGRAMS = ("cama", ".venv/bin/cama")
_PATH = re.compile(
    r"(?<![\w./~-])(?:(?:docs|scripts|guide|src|tests|benchmarks|engine)/[\w./-]*\w|[A-Z]+\.md)"
)


def ticked(answer: str) -> list[str]:
    """The texts in backticks."""
    return re.findall(r"`([^`]+)`", answer)


def unticked(answer: str) -> str:
    """The rest."""
    return re.sub(r"`[^`]+`", "`", answer)


def simple_commands(line: str) -> Iterator[list[str]]:
    """The commands of a shell line, each as its words, without redirections.

    Of ``$(...)`` the word ``$`` stays, and its commands follow. A quoted text that is a command
    line of Cama counts as one. Yields nothing when the line is not shell.
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        tokens = list(lexer)
    except ValueError:
        return
    words: list[str] = []
    rest = iter(tokens)
    for token in rest:
        if token and set(token) <= set("();|&"):
            yield words
            words = []
        elif token and set(token) <= set("<>"):
            next(rest, None)
        else:
            words.append(token)
    yield words
    for token in tokens:
        if token.startswith("cama "):
            yield from simple_commands(token)


def without_assignments(words: list[str]) -> list[str]:
    """A command without the ``NAME=value`` before it."""
    start = next((i for i, word in enumerate(words) if not re.match(r"\w+=", word)), len(words))
    return words[start:]


def invocations(answer: str) -> Iterator[list[str]]:
    """The words after ``cama`` of each of its command lines."""
    for text in ticked(answer):
        for words in map(without_assignments, simple_commands(text)):
            if words and words[0] in _PROGRAMS:
                yield words[1:]


def check_ticks(answer: str) -> Iterator[str]:
    if answer.count("`") % 2:
        yield "a backtick is left open"
    names = "|".join((*COMMANDS, *ALIASES, "-"))
    for found in re.findall(rf"\bcama (?:{names})\S*|(?<!\S)--[a-z]\S*", unticked(answer)):
        yield f"{found!r} must stand in backticks"


def check_commands(answer: str) -> Iterator[str]:
    for words in invocations(answer):
        complaint = _complaint(words)
        if complaint:
            yield f"cama {shlex.join(words)}: {complaint}"


def _complaint(words: list[str]) -> str:
    """What is wrong with a command line; one without arguments may only mention the command."""
    name = ALIASES.get(words[0], words[0]) if words else ""
    flags = words if name.startswith("-") else words[1:]
    if name.startswith("-"):
        name = ""
    elif name and name not in COMMANDS:
        return "there is no such command"
    if not all(word.startswith("-") for word in flags):
        try:
            _parse(name, words[1:])
        except CamaError as error:
            return error.message
        flags = [word for word in flags if re.match(r"--?[a-z]", word)]
    return _unknown_flag(name, flags)


def _parse(name: str, words: list[str]) -> None:
    """Read the words by the command's own parser. Raises InvalidOption."""
    with redirect_stdout(io.StringIO()):
        try:
            context = command(name).make_context(f"cama {name}", list(words))
        except typer.Exit:  # it was asked for help, and gave it
            return
    if keepalive := context.params.get("keepalive"):
        parse_duration(keepalive)


def _unknown_flag(name: str, flags: list[str]) -> str:
    """Complains about a flag that the help does not show, or that the command does not declare."""
    declared = {flag for p in command(name).params for flag in p.opts} if name else set()
    for flag in (word.partition("=")[0] for word in flags if word != "--"):
        if flag not in shown_flags(name):
            return f"{flag} is not in the help"
        if name and flag not in declared | {"-h", "--help"}:
            return f"{flag} is not declared"
    return ""


def check_flags(answer: str) -> Iterator[str]:
    """A flag by itself belongs to a command that the answer names, or to any when it names none."""
    named = {ALIASES.get(words[0], words[0]) for words in invocations(answer) if words}
    known = [shown_flags(name) for name in (named & COMMANDS.keys()) or COMMANDS]
    for text in ticked(answer):
        if re.fullmatch(r"--?[a-z][a-z-]*", text) and not any(text in flags for flags in known):
            yield f"no command that it names has {text}"


def check_variables(answer: str) -> Iterator[str]:
    for name in re.findall(r"\b(?:CAMA|OLLAMA)_[A-Z]\w*", answer):
        is_denied = name.startswith("OLLAMA_") and "no effect" in answer
        if name not in variables() and not is_denied:
            yield f"{name} is not a setting"
    for text in ticked(answer):
        if found := re.fullmatch(r"((CAMA_\w+)=(\S+)): .*", text):
            yield from _wrong_setting_error(found[2], found[3], text)
        else:
            for name, value in re.findall(r"\b((?:CAMA|OLLAMA)_\w+)=(\S+)", text):
                yield from _refused_setting(name, value)


def _refused_setting(name: str, value: str) -> Iterator[str]:
    try:
        Settings.load({name: value})
    except InvalidSetting as error:
        yield error.message


def _wrong_setting_error(name: str, value: str, text: str) -> Iterator[str]:
    if list(_refused_setting(name, value)) != [text]:
        yield f"{name}={value} does not give the error {text!r}"


def check_routes(answer: str) -> Iterator[str]:
    for path in re.findall(r"(?<![\w.])/(?:api|v1)\b(?:/[\w/]+)?", answer):
        if not methods(path):
            yield f"there is no route {path}"
    for method, path in re.findall(r"\b([A-Z]{3,}) (?:to )?`?(/[\w/]*)", answer):
        if method not in methods(path):
            yield f"{path} does not take {method}"
    for text in ticked(answer):
        for words in simple_commands(text):
            if words[:1] == ["curl"]:
                yield from _wrong_request(words)


def _wrong_request(words: list[str]) -> Iterator[str]:
    """Complains about a curl command."""
    url = urlsplit(next(word for word in words if word.startswith("http")))
    body = words[words.index("-d") + 1] if "-d" in words else ""
    method = words[words.index("-X") + 1] if "-X" in words else "POST" if body else "GET"
    if url.port != DEFAULT_PORT:
        yield f"{url.geturl()} is not the default address"
    if method not in methods(url.path):
        yield f"{url.path} does not take {method}"
    if body:
        yield from _wrong_json(json.loads(body))


def check_slash_commands(answer: str) -> Iterator[str]:
    for text in ticked(answer):
        if re.match(r"/(?:[a-z]+$|[a-z]+ |\?)", text):
            said = _say(text)
            is_mention = text in ("/set parameter", "/load", "/save")
            if re.match(r"Unknown|Couldn't|Invalid|Usage", said) and not is_mention:
                yield f"{text}: {said}"
            topic = re.fullmatch(r"/(?:\?|help) (\S+)", text)
            if topic and topic[1] not in guidance.TOPICS:
                yield f"{text}: there is no help on that"


class _AsksTheServer(Exception):
    """The command exists, and would go on with the server."""


class _History:
    is_on = True


def _say(line: str) -> str:
    """What the interactive mode prints when the line is entered, as far as it needs no server."""

    def client() -> Client:
        raise _AsksTheServer

    session = Session(model="mine")
    output = io.StringIO()
    try:
        with redirect_stdout(output), redirect_stderr(io.StringIO()):
            Slash(session, client, _History())(line)
    except _AsksTheServer:
        if line.startswith("/show"):
            return show_item(session, {}, line.split()[1])
    return output.getvalue().strip()


def check_modelfile(answer: str) -> Iterator[str]:
    for text in filter(_is_instruction, ticked(answer)):
        closed = f'{text}\n"""' if text.count('"""') % 2 else text
        try:
            for parameter in parse_modelfile(f"FROM x\n{closed}\n").all("parameter"):
                parse_parameter(parameter.argument, parameter.value)
        except CamaError as error:
            yield f"{text}: {error.message}"


def _is_instruction(text: str) -> bool:
    word, _, value = text.partition(" ")
    return word.isupper() and word.lower() in INSTRUCTIONS and bool(value)


def check_json(answer: str) -> Iterator[str]:
    for text in ticked(answer):
        if not re.match(r'\{"|"[^"]', text):
            continue
        try:
            value = _read_json(text)
        except ValueError as error:
            yield f"{text}: {error}"
        else:
            yield from (f"{text}: {complaint}" for complaint in _wrong_json(value))


def _read_json(text: str) -> Any:
    """A JSON value, or the inside of an object."""
    try:
        return json.loads(text)
    except ValueError:
        return json.loads(f"{{{text}}}")


def _wrong_json(value: Any) -> Iterator[str]:
    """Complains about an object of the API; about a string that is no duration."""
    try:
        if isinstance(value, str):
            parse_keep_alive(value)
            return
        yield from (f"{key!r} is no field" for key in value.keys() - api_fields())
        for kind in REQUESTS:
            kind.read(Fields(value, kind.struct))
        options = value.get("options", {})
        known = Options.merge({}, options).values
        yield from (f"{key!r} is no option" for key in options.keys() - known.keys())
    except CamaError as error:
        yield error.message


def check_paths(answer: str) -> Iterator[str]:
    for path in _PATH.findall(answer):
        if not ((ROOT / path).exists() or (PACKAGE / path).exists()):
            yield f"{path} is not in the repository"
    for module in re.findall(r"-m (\w+(?:\.\w+)*)|\b(benchmarks\.\w+)", answer):
        name = module[0] or module[1]
        if find_spec(name) is None:
            yield f"there is no module {name}"


def check_options(answer: str) -> Iterator[str]:
    """Options without effect are named only to say so."""
    for name in DEPRECATED.intersection(ticked(answer)):
        if "no effect" not in answer:
            yield f"{name} has no effect, which the answer does not say"


CHECKS: tuple[Check, ...] = (
    check_ticks,
    check_commands,
    check_flags,
    check_variables,
    check_routes,
    check_slash_commands,
    check_modelfile,
    check_json,
    check_paths,
    check_options,
)
