import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from cama.api.activity import Activity
from cama.api.server import listen
from cama.core.errors import InvalidSetting
from cama.core.settings import Address

LOCAL = Address("127.0.0.1", 0)


class Clock:
    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        return self.now


async def _receive() -> Message:
    return {"type": "http.disconnect"}


async def _send(message: Message) -> None:
    del message


def test_listen_says_in_one_line_that_a_port_is_taken() -> None:
    with listen(LOCAL) as first:
        port = first.getsockname()[1]
        with pytest.raises(InvalidSetting) as caught, listen(Address("127.0.0.1", port)):
            pass
    assert caught.value.message == f"listen tcp 127.0.0.1:{port}: bind: address already in use"


def test_listen_says_that_an_address_is_unknown() -> None:
    with pytest.raises(InvalidSetting, match="listen tcp"), listen(Address("host.invalid", 0)):
        pass


def test_listen_closes_its_socket() -> None:
    with listen(LOCAL) as listener:
        pass
    assert listener.fileno() == -1


async def test_activity_counts_from_the_end_of_the_last_request() -> None:
    clock = Clock()
    inside: list[float] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        clock.now += 5
        inside.append(activity.idle_seconds)

    activity = Activity(app, clock)
    clock.now += 3
    assert activity.idle_seconds == 3
    await activity({"type": "http"}, _receive, _send)
    assert inside == [0]
    clock.now += 1
    assert activity.idle_seconds == 1


async def test_activity_does_not_count_the_lifespan() -> None:
    clock = Clock()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        clock.now += 5

    activity = Activity(app, clock)
    await activity({"type": "lifespan"}, _receive, _send)
    assert activity.idle_seconds == 5


def run_server(
    folder: Path, idle_exit: float | None, host: str = "127.0.0.1"
) -> "subprocess.Popen[str]":
    """A server in a process of its own, on any port."""
    settings = (
        f"Settings(models=Path({str(folder)!r}), host=Address({host!r}, 0), "
        f"home=Path({str(folder)!r}))"
    )
    program = (
        "from pathlib import Path\n"
        "from cama.api.server import serve\n"
        "from cama.core import log\n"
        "from cama.core.settings import Address, Settings\n"
        "log.configure()\n"
        f"serve({settings}, idle_exit={idle_exit})\n"
    )
    return subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)


@pytest.mark.e2e
def test_serve_ends_by_itself_when_idle(tmp_path: Path) -> None:
    with run_server(tmp_path, idle_exit=0.1) as process:
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "listening on http://127.0.0.1:" in log
    assert "idle for 0.1 s, stopping" in log
    assert "open to the network" not in log


@pytest.mark.e2e
def test_serve_says_that_it_is_open_to_the_network(tmp_path: Path) -> None:
    with run_server(tmp_path, idle_exit=0.1, host="0.0.0.0") as process:
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "listening on http://0.0.0.0:" in log
    assert "WARNING cama.api.server: open to the network without API keys" in log


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_cleanly_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    with run_server(tmp_path, idle_exit=None) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        url = line.split("listening on ")[1].split()[0]
        assert httpx.get(url, trust_env=False).text == "Ollama is running"
        process.send_signal(number)
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert log.endswith("stopped\n")
