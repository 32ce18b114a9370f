"""``cama run``: ask a model something, or talk with it."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from cama.cli import talk, transfer
from cama.cli.background import connect
from cama.cli.reference import model_reference
from cama.cli.session import Session
from cama.cli.terminal import is_terminal
from cama.client.client import Client
from cama.core.duration import parse_duration
from cama.core.errors import CamaError, InvalidOption, ModelNotFound
from cama.core.settings import Settings

_THINK: dict[str, bool | str] = {
    "true": True, "false": False, "high": "high", "medium": "medium", "low": "low", "max": "max",
}  # fmt: skip


def command(  # noqa: PLR0913, PLR0917 - one parameter per flag
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    prompt: Annotated[list[str] | None, typer.Argument(metavar="PROMPT")] = None,
    keepalive: Annotated[
        str, typer.Option("--keepalive", metavar="DURATION", help="Keep it loaded (5m, 1h30m)")
    ] = "",
    verbose: Annotated[bool, typer.Option("--verbose", help="Show timings")] = False,
    nowordwrap: Annotated[bool, typer.Option("--nowordwrap", help="Do not wrap words")] = False,
    format: Annotated[
        str,
        typer.Option(
            "--format", metavar="FORMAT", help="Answer in this form: json, a JSON schema, or @FILE"
        ),
    ] = "",
    grammar: Annotated[
        str,
        typer.Option(
            "--grammar", metavar="GRAMMAR", help="Answer as this grammar (GBNF) says, or @FILE"
        ),
    ] = "",
    think: Annotated[
        str,
        typer.Option(
            "--think",
            metavar="[=LEVEL]",
            help="Whether to think first, or how much: true, false, high, medium, low or max",
        ),
    ] = "",
    hidethinking: Annotated[
        bool, typer.Option("--hidethinking", help="Do not show the thinking")
    ] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Pull a model that is missing by http, without TLS")
    ] = False,
) -> None:
    session = Session(
        model=model_reference(model),
        format=_format(format),
        grammar=_grammar(grammar),
        think=_think(think),
        keep_alive=_keep_alive(keepalive),
        verbose=verbose,
        wordwrap=not nowordwrap,
        hide_thinking=hidethinking,
    )
    settings = Settings.load()
    text = question(prompt or (), sys.stdin)
    client = connect(settings)
    facts = _facts(client, session.model, insecure=insecure)
    session.describe(facts)
    if text is None and is_terminal(sys.stdout) and "embedding" not in session.capabilities:
        from cama.cli.repl import converse

        converse(settings, session, facts)
    else:
        _answer(client, session, text or "")


def _facts(client: Client, model: str, *, insecure: bool) -> dict[str, Any]:
    """What is known of a model, which is pulled when it is not there."""
    try:
        return client.show(model)
    except ModelNotFound:
        transfer.pull(client, model, insecure=insecure)
        return client.show(model)


def question(words: Sequence[str], stdin: TextIO | None) -> str | None:
    """The prompt: what is piped in, then the arguments. None when nobody has given any."""
    if is_terminal(stdin) or stdin is None:
        return " ".join(words) if words else None
    try:
        piped = stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise InvalidOption(f"standard input is not UTF-8 text: {error.reason}") from error
    return " ".join([piped, *words] if piped else words)


def _answer(client: Client, session: Session, prompt: str) -> None:
    show = talk.embed if "embedding" in session.capabilities else talk.generate
    try:
        show(client, session, prompt)
    except KeyboardInterrupt:
        print()  # asked for, and done: not an error


def _keep_alive(text: str) -> str | None:
    if not text:
        return None
    try:
        parse_duration(text)
    except CamaError as error:
        raise InvalidOption(f"--keepalive: {error.message}") from None
    return text


def _format(text: str) -> Any:
    if text in ("", "json"):
        return text or None
    try:
        schema = json.loads(_content("--format", text))
    except (ValueError, RecursionError):
        schema = None
    if not isinstance(schema, dict):
        raise InvalidOption(f"--format must be json or a JSON schema, not {text!r}")
    return schema


def _grammar(text: str) -> str | None:
    try:
        return _content("--grammar", text) or None
    except UnicodeDecodeError as error:
        raise InvalidOption(f"--grammar: {text[1:]} is not UTF-8 text: {error.reason}") from None


def _content(flag: str, text: str) -> str:
    """``text``, or what is in the file that ``@`` names."""
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text("utf-8")
    except OSError as error:
        raise InvalidOption(f"{flag}: {text[1:]}: {error.strerror}") from None


def _think(text: str) -> bool | str | None:
    if not text:
        return None
    if text not in _THINK:
        raise InvalidOption(
            f'invalid value for --think: "{text}" (must be true, false, high, medium, low, or max)'
        )
    return _THINK[text]
