"""A server that the commands find in their environment, and a way to run them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from cama.cli.main import execute
from tests.unit.client.tiny_server import TinyServer


@dataclass(frozen=True, slots=True)
class Outcome:
    status: int
    out: str
    err: str


Cama = Callable[..., Outcome]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAMA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TinyServer]:
    with TinyServer() as server:
        monkeypatch.setenv("CAMA_HOST", f"127.0.0.1:{server.port}")
        yield server


@pytest.fixture
def cama(capfd: pytest.CaptureFixture[str]) -> Cama:
    """Run a command line in this process."""

    def run(*words: str) -> Outcome:
        return _outcome(words, capfd)

    return run


def _outcome(words: Sequence[str], capfd: pytest.CaptureFixture[str]) -> Outcome:
    capfd.readouterr()
    status = execute(words)
    out, err = capfd.readouterr()
    return Outcome(status, out, err)
