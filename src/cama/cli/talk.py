"""One question, one answer: sends it, shows the answer as it comes, returns it whole."""

import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain, islice

from cama.cli.answer import AnswerWriter
from cama.cli.session import Message, Session
from cama.cli.spinner import spinner
from cama.cli.timings import timing_lines
from cama.client.client import JSON, Client, Events
from cama.client.fields import mapping, objects, text
from cama.core.errors import InvalidOption


def generate(client: Client, session: Session, prompt: str) -> None:
    """Show a completion of ``prompt``."""
    writer = _writer(session)
    final: JSON = {}
    with _events(client.generate(session.generation(prompt)), writer) as events:
        for event in events:
            writer.thinking(text(event, "thinking"))
            writer.content(text(event, "response"))
            final = event
    if prompt:
        print("\n")
    _report(session, final)


def embed(client: Client, session: Session, input: str) -> None:
    """Show the vector of ``input`` as a JSON array."""
    if not input:
        raise InvalidOption(
            f'embedding models require input text. Usage: cama run {session.model} "your text here"'
        )
    with spinner():
        answer = client.embed(session.embedding(input))
    print(json.dumps(answer["embeddings"][0], separators=(",", ":")))


def chat(client: Client, session: Session, message: str) -> None:
    """Show the answer to ``message`` and keep both; an interrupted turn is forgotten."""
    asked = session.asked(message)
    writer = _writer(session)
    answer: Message = {"role": "assistant", "content": ""}
    final: JSON = {}
    with _events(client.chat(session.turn(asked)), writer) as events:
        for event in events:
            piece = mapping(event, "message")
            _add(answer, piece)
            writer.thinking(text(piece, "thinking"))
            writer.content(text(piece, "content"))
            writer.tool_calls(objects(piece, "tool_calls"))
            final = event
    print("\n")
    session.record(asked, answer)
    _report(session, final)


@contextmanager
def _events(stream: Events, writer: AnswerWriter) -> Iterator[Iterator[JSON]]:
    """The events of an answer, after a spinner until the first.

    However the body is left, the server is told to stop and the terminal is as it was.
    """
    with closing(stream), closing(writer):
        with spinner():
            first = list(islice(stream, 1))
        yield chain(first, stream)


def _add(answer: Message, piece: JSON) -> None:
    answer["content"] += text(piece, "content")
    if thinking := text(piece, "thinking"):
        answer["thinking"] = answer.get("thinking", "") + thinking
    if calls := objects(piece, "tool_calls"):
        answer["tool_calls"] = answer.get("tool_calls", []) + calls


def _writer(session: Session) -> AnswerWriter:
    return AnswerWriter(sys.stdout, wordwrap=session.wordwrap, hide_thinking=session.hide_thinking)


def _report(session: Session, final: JSON) -> None:
    if session.verbose:
        sys.stdout.flush()
        print(timing_lines(final), end="", file=sys.stderr)
