"""A conversation at a real terminal, with the model that ships with Cama."""

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import COMMAND, IMPORT, LOADED, World

pytestmark = [pytest.mark.e2e, pytest.mark.native]

_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[()][A-B0-2]|[=>78])")
SECONDS = 60


class Terminal:
    """A person who types and reads; lines are compared without colours and wrapping."""

    def __init__(self, world: World, *arguments: str) -> None:
        self._end, its_end = pty.openpty()
        environment = world.environment | {"TERM": "xterm", "COLUMNS": "200"}
        self._process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=its_end, stdout=its_end, stderr=its_end, env=environment
        )
        os.close(its_end)
        self._seen = ""

    def read_until(self, text: str) -> str:
        """All since the last call, up to and with ``text``."""
        deadline = time.monotonic() + SECONDS
        while text not in self._plain():
            assert time.monotonic() < deadline, self._plain()
            if select.select([self._end], [], [], 0.1)[0]:
                self._seen += os.read(self._end, 65536).decode(errors="replace")
        before, _, after = self._plain().partition(text)
        self._seen = after
        return before + text

    def type(self, text: str) -> None:
        os.write(self._end, text.encode() + b"\r")

    def wait(self) -> int:
        return self._process.wait(SECONDS)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._end)

    def _plain(self) -> str:
        return re.sub(r"\s+", " ", _ESCAPES.sub("", self._seen))


@pytest.fixture
def terminal(world: World) -> Iterator[Terminal]:
    opened = Terminal(world, "run", "guide")
    yield opened
    opened.close()


def test_conversation_answers_one_question_after_the_other(terminal: Terminal) -> None:
    terminal.read_until(">>> ")
    terminal.type(IMPORT.question)
    terminal.read_until(IMPORT.key)
    terminal.read_until(">>> ")
    terminal.type(LOADED.question)
    terminal.read_until(LOADED.key)
    terminal.read_until(">>> ")
    terminal.type("/bye")
    assert terminal.wait() == 0


def test_conversation_shows_the_model_and_clears(terminal: Terminal) -> None:
    terminal.read_until(">>> ")
    terminal.type("/show info")
    terminal.read_until("Q8_0")
    terminal.read_until(">>> ")
    terminal.type("/clear")
    terminal.read_until(">>> ")
    terminal.type(IMPORT.question)
    terminal.read_until(IMPORT.key)
    terminal.read_until(">>> ")
    terminal.type("/bye")
    assert terminal.wait() == 0
