"""A server for the commands that need one: one that answers, else one started in the background.

Such a server belongs to nobody: it ends by itself when no model has been loaded for a while. Of two
commands that start one at the same time, the loser of the race for the port uses the winner's.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cama.client.client import Client
from cama.client.transport import is_loopback
from cama.core.errors import ServerUnavailable
from cama.core.settings import Address, Settings

IDLE_EXIT_SECONDS = 300

# -P: a module of the current folder must not stand in for one of ours.
SERVE = (sys.executable, "-P", "-m", "cama", "serve", "--idle-exit", str(IDLE_EXIT_SECONDS))

_START_SECONDS = 30.0
_RACE_SECONDS = 2.0
"""How long after our server died another one, which holds the port, may take to answer."""

_POLL_SECONDS = 0.05
_LOG_BYTES = 4 * 2**20
_TAIL_BYTES = 4096


def connect(settings: Settings) -> Client:
    """A client of a server that answers; one is started where that is possible.

    Raises ServerUnavailable when there is none and none can be started.
    """
    client = running(settings)
    if client is not None:
        return client
    if not is_local(settings.host):
        url = settings.host.url
        raise ServerUnavailable(
            f"could not connect to cama server at {url}, run 'cama serve' to start it"
        )
    return start(settings)


def running(settings: Settings) -> Client | None:
    """A client of the server, if one answers."""
    client = Client(settings.host.url, settings.api_key)
    return client if client.is_up() else None


def is_local(address: Address) -> bool:
    """Whether a server of ours can stand at ``address`` and be reached from this machine only."""
    return address.scheme == "http" and is_loopback(address.host)


def start(settings: Settings, command: Sequence[str] = SERVE) -> Client:
    """Start a server in the background by ``command`` and wait until it answers."""
    log = _open_log(settings.home)
    offset = log.stat().st_size
    address = f"{settings.host.host}:{settings.host.port}"
    print(f"starting a server at {address} (log: {log}; it ends when idle)", file=sys.stderr)
    client = Client(settings.host.url, settings.api_key)
    process = _spawn(command, log)
    try:
        if not (_wait(client, process, _START_SECONDS) or _wait(client, None, _RACE_SECONDS)):
            raise ServerUnavailable(f"the server did not start: {_last_line(log, offset)}")
    except BaseException:
        process.terminate()
        process.wait()
        raise
    # It outlives this process on purpose: no warning that nobody waited for it.
    process.returncode = process.returncode or 0
    return client


def _spawn(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _wait(client: Client, process: subprocess.Popen[bytes] | None, seconds: float) -> bool:
    """Whether the server answers within that time; the death of ``process`` ends the wait."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if client.is_up():
            return True
        if process is not None and process.poll() is not None:
            return False
        time.sleep(_POLL_SECONDS)
    return False


def _open_log(home: Path) -> Path:
    """The log's path; a long one is put aside first."""
    log = home / "logs" / "server.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch(mode=0o600)
        if log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
            log.touch(mode=0o600)
    except OSError as error:
        raise ServerUnavailable(f"cannot write the server's log: {error}") from error
    return log


def _last_line(log: Path, offset: int) -> str:
    """The last thing that was logged since ``offset``: most likely why the server died."""
    with log.open("rb") as file:
        file.seek(max(offset, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").split("\n")
    line = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    return line.removeprefix("Error: ").strip()
