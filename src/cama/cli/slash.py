"""The commands of the interactive mode, which begin with a slash."""

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from cama.cli import guidance
from cama.cli.list import models_table
from cama.cli.reference import model_reference
from cama.cli.session import Session
from cama.cli.slash_set import change
from cama.cli.slash_show import show_item
from cama.client.client import Client
from cama.core.errors import InvalidModelName, ModelNotFound
from cama.store.names import ModelName


class Switch(Protocol):
    """What remembers entered lines, and can be told not to."""

    is_on: bool


class Slash:
    """Carries out one command at a time on a session. The first command that fits is taken."""

    def __init__(self, session: Session, client: Callable[[], Client], history: Switch) -> None:
        self._session = session
        self._client = client
        self._history = history
        self._commands: Sequence[tuple[str, Callable[[str], None]]] = (
            ("/list", self._list),
            ("/load", self._load),
            ("/save", self._save),
            ("/clear", self._clear),
            ("/set", self._set),
            ("/show", self._show),
            ("/help", self._help),
            ("/?", self._help),
        )

    def __call__(self, line: str) -> bool:
        """Do what ``line`` says; False when it says to leave."""
        if line.startswith(("/bye", "/exit")):
            return False
        for prefix, action in self._commands:
            if line.startswith(prefix):
                action(line)
                break
        else:
            print(f"Unknown command '{line.split()[0]}'. Type /? for help")
        return True

    def _list(self, line: str) -> None:
        now = datetime.now().astimezone()
        print(models_table(self._client().tags(), now), end="")

    def _load(self, line: str) -> None:
        words = line.split()
        if len(words) != 2:
            print("Usage:\n  /load <modelname>")
            return
        name = words[1]
        try:
            model = model_reference(name)
            print(f"Loading model '{name}'")
            facts = self._client().show(model)
            self._client().load(model)
        except ModelNotFound:
            print(f"Couldn't find model '{name}'")
            return
        self._session.use(model, facts)

    def _save(self, line: str) -> None:
        words = line.split()
        if len(words) != 2:
            print("Usage:\n  /save <modelname>")
            return
        name = words[1]
        try:
            ModelName.parse(name)
        except InvalidModelName:
            print(f"error: The model name '{name}' is invalid")
            return
        client = self._client()
        facts = client.show(self._session.model)
        for _ in client.create(self._session.saving(name, facts)):
            pass
        print(f"Created new model '{name}'")

    def _clear(self, line: str) -> None:
        self._session.messages.clear()
        print("Cleared session context")

    def _set(self, line: str) -> None:
        what = line.removeprefix("/set").strip()
        if what in ("history", "nohistory"):
            self._history.is_on = what == "history"
        elif what:
            print(change(self._session, line))
        else:
            print(guidance.SET, end="", file=sys.stderr)

    def _show(self, line: str) -> None:
        words = line.split()
        if len(words) != 2:
            print(guidance.SHOW, end="", file=sys.stderr)
            return
        facts = self._client().show(self._session.model)
        print(show_item(self._session, facts, words[1]))

    def _help(self, line: str) -> None:
        topic = line.split()[1:2]
        print(guidance.TOPICS.get(topic[0] if topic else "", guidance.ALL), end="", file=sys.stderr)
