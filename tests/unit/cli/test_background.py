"""A server in the background, by a small real one in its place."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cama.cli import background
from cama.core.errors import ServerUnavailable
from cama.core.settings import Address, Settings
from tests.unit.cli.conftest import Cama
from tests.unit.client.test_client import unused_port
from tests.unit.client.tiny_server import TinyServer

_SERVER = """
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()
server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
os.write(1, f"pid {os.getpid()}\\n".encode())  # whole, whoever else writes
server.serve_forever()
"""

_FAILURE = "import sys; print('a line'); sys.exit('Error: the port is taken')"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(host=Address("127.0.0.1", unused_port()), home=tmp_path)


@pytest.fixture
def serving(settings: Settings) -> Iterator[tuple[str, ...]]:
    """The command of a server, which is ended afterwards."""
    yield (sys.executable, "-c", _SERVER, str(settings.host.port))
    for line in (settings.home / "logs" / "server.log").read_text().splitlines():
        if line.startswith("pid "):
            pid = int(line.split()[1])
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)


def test_start_waits_until_the_server_answers(
    settings: Settings, serving: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    assert background.start(settings, serving).is_up()
    log = settings.home / "logs" / "server.log"
    assert capfd.readouterr() == (
        "",
        f"starting a server at 127.0.0.1:{settings.host.port} (log: {log}; it ends when idle)\n",
    )


def test_started_server_has_a_session_of_its_own(
    settings: Settings, serving: tuple[str, ...]
) -> None:
    background.start(settings, serving)
    pid = int((settings.home / "logs" / "server.log").read_text().split()[1])
    assert os.getsid(pid) == pid


def test_server_that_dies_tells_its_last_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_RACE_SECONDS", 0.0)
    log = settings.home / "logs" / "server.log"
    log.parent.mkdir()
    log.write_text("an older line\n")
    with pytest.raises(ServerUnavailable, match=r"^the server did not start: the port is taken$"):
        background.start(settings, (sys.executable, "-c", _FAILURE))


def test_server_that_says_nothing_is_an_error_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_RACE_SECONDS", 0.0)
    (settings.home / "logs").mkdir()
    (settings.home / "logs" / "server.log").write_text("an older line\n")
    with pytest.raises(ServerUnavailable, match="it said nothing"):
        background.start(settings, (sys.executable, "-c", "raise SystemExit(1)"))


def test_server_that_never_answers_is_ended(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_START_SECONDS", 0.5)
    monkeypatch.setattr(background, "_RACE_SECONDS", 0.0)
    code = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
    with pytest.raises(ServerUnavailable):
        background.start(settings, (sys.executable, "-c", code))
    pid = int((settings.home / "logs" / "server.log").read_text() or 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_loser_of_the_race_uses_the_winners_server(
    settings: Settings, serving: tuple[str, ...]
) -> None:
    """Ours dies; another one takes the port a little later."""
    winner = threading.Timer(0.3, _serve, (settings, serving))
    winner.start()
    try:
        client = background.start(settings, (sys.executable, "-c", _FAILURE))
    finally:
        winner.join()
    assert client.is_up()


def _serve(settings: Settings, command: tuple[str, ...]) -> None:
    with (settings.home / "logs" / "server.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    process.returncode = 0


def test_two_that_start_at_once_both_get_a_server(
    settings: Settings, serving: tuple[str, ...]
) -> None:
    answered: list[bool] = []

    def start() -> None:
        answered.append(background.start(settings, serving).is_up())

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answered == [True, True]


def test_long_log_is_put_aside(settings: Settings, serving: tuple[str, ...]) -> None:
    log = settings.home / "logs" / "server.log"
    log.parent.mkdir()
    log.write_bytes(b"x" * (background._LOG_BYTES + 1))
    background.start(settings, serving)
    assert log.stat().st_size < 1000
    assert log.with_suffix(".log.1").stat().st_size == background._LOG_BYTES + 1


def test_log_that_cannot_be_written_is_an_error(settings: Settings) -> None:
    settings.home.joinpath("logs").touch()
    with pytest.raises(ServerUnavailable, match="cannot write the server's log"):
        background.start(settings)


def test_connect_uses_the_server_that_answers(server: TinyServer, home: Path) -> None:
    settings = Settings(host=Address("127.0.0.1", server.port), home=home)
    assert background.connect(settings).base_url == server.url
    assert not home.exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "https://localhost"])
def test_no_server_is_started_for_others_to_reach(
    cama: Cama, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("CAMA_HOST", f"{host}:{unused_port()}")
    outcome = cama("list")
    assert outcome.status == 1
    assert outcome.err.startswith("Error: could not connect to cama server at ")
    assert outcome.err.endswith(", run 'cama serve' to start it\n")


@pytest.mark.e2e
def test_real_server_answers_and_ends_when_idle(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMA_HOST", settings.host.url)
    monkeypatch.setenv("CAMA_MODELS", str(settings.home / "models"))
    client = background.start(settings, (*background.SERVE[:-1], "1"))
    assert [model["name"] for model in client.tags()] == ["guide:latest"]
    deadline = time.monotonic() + 30
    while _listens(settings.host.port) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not client.is_up()


def _listens(port: int) -> bool:
    """Whether the port is open; a request would keep the server from being idle."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True
