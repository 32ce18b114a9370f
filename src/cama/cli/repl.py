"""The interactive mode of ``cama run``: read, answer, repeat."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from cama.cli import talk
from cama.cli.background import connect
from cama.cli.multiline import Entry, Lines
from cama.cli.session import Session, stored_conversation
from cama.cli.slash import Slash
from cama.cli.spinner import spinner
from cama.client.client import Client
from cama.core.errors import InvalidInput
from cama.core.settings import Settings


class Reader(Protocol):
    """Where entries come from: the line editor."""

    def read(self, *, is_continued: bool) -> str:
        """One entry. Raises KeyboardInterrupt on Ctrl-C and EOFError at the end."""


def converse(settings: Settings, session: Session, facts: Mapping[str, Any]) -> None:
    """Load the model, show how its conversation begins, and go on with it."""
    # Only here: a one-shot answer must not pay for the import.
    from cama.cli.editor import LineEditor

    def client() -> Client:
        # Each time anew: a server that was started in the background ends when idle.
        return connect(settings)

    keep_alive = {} if session.keep_alive is None else {"keep_alive": session.keep_alive}
    with spinner():
        client().load(session.model, **keep_alive)
    for role, text in stored_conversation(facts):
        print(f">>> {text}" if role == "user" else f"{text}\n")
    editor = LineEditor(settings.home / "history")
    Repl(session, client, editor, Slash(session, client, editor.history)).run()


class Repl:
    """The loop. Errors that the user can mend are shown; others end it."""

    def __init__(
        self, session: Session, client: Callable[[], Client], reader: Reader, slash: Slash
    ) -> None:
        self._session = session
        self._client = client
        self._reader = reader
        self._slash = slash
        self._lines = Lines()

    def run(self) -> None:
        """Until the user leaves."""
        while self._step():
            pass

    def _step(self) -> bool:
        """One entry; False when it was the last."""
        try:
            line = self._reader.read(is_continued=self._lines.is_open)
        except KeyboardInterrupt:
            self._lines.discard()
            print("\nUse Ctrl + d or /bye to exit.")
            return True
        except EOFError:
            print()
            return False
        entry = self._lines.feed(line)
        return entry is None or self._take(entry)

    def _take(self, entry: Entry) -> bool:
        if entry.text.startswith("/") and not entry.is_block and not self._is_path(entry.text):
            return self._slash(entry.text)
        if entry.text:
            self._ask(entry.text)
        return True

    def _is_path(self, text: str) -> bool:
        """Whether ``text`` begins with a picture for the model, and is no command."""
        if not self._session.attaches:
            return False
        from cama.cli.attachments import begins_with_file

        return begins_with_file(text)

    def _ask(self, text: str) -> None:
        try:
            talk.chat(self._client(), self._session, text)
        except KeyboardInterrupt:
            print("\n")
        except InvalidInput as error:
            print(f"error: {error.message}")
            sys.stdout.flush()
