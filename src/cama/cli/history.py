"""The lines that were entered in the interactive mode, kept in a file: one JSON string a line."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prompt_toolkit.history import History

_LIMIT = 100


class LineHistory(History):
    """The last hundred entries. A file that cannot be read or written costs only the memory."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.is_on = True
        self._path = path

    def load_history_strings(self) -> Iterable[str]:
        """The entries, newest first."""
        return reversed(self._stored())

    def store_string(self, string: str) -> None:
        if not self.is_on:
            return
        lines = [json.dumps(entry) for entry in [*self._stored(), string][-_LIMIT:]]
        text = "".join(f"{line}\n" for line in lines)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_suffix(f".{os.getpid()}")
            with open(
                os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w"
            ) as file:
                file.write(text)
            temporary.replace(self._path)
        except OSError:
            self.is_on = False

    def _stored(self) -> list[str]:
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        entries = (_entry(line) for line in lines[-_LIMIT:])
        return [entry for entry in entries if entry is not None]


def _entry(line: str) -> str | None:
    """The entry on a line of the file; None for a line that is not ours."""
    try:
        entry: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, str) else None
