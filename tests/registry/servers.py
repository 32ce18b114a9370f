"""Debian's docker-registry on loopback, as a user of one would run it."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAM = "docker-registry"
START_SECONDS = 30

needs_registry = pytest.mark.skipif(
    shutil.which(PROGRAM) is None, reason="Debian's docker-registry is not installed"
)

_CONFIG = """\
version: 0.1
log:
  level: warn
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: {folder}/data
  delete:
    enabled: true
http:
  addr: 127.0.0.1:{port}
  secret: not-one
{more}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class RealRegistry:
    """``host`` is what a model's name begins with."""

    port: int
    folder: Path

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextlib.contextmanager
def running_registry(folder: Path, more: str = "") -> Iterator[RealRegistry]:
    """A registry whose configuration has ``more`` at its end; its data lie below ``folder``."""
    registry = RealRegistry(free_port(), folder)
    config = folder / "config.yml"
    config.write_text(_CONFIG.format(folder=folder, port=registry.port, more=more))
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, "serve", str(config)], stdout=log, stderr=log)
        try:
            _wait(registry, process)
            yield registry
        finally:
            process.terminate()
            process.wait(10)


def _wait(registry: RealRegistry, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, (registry.folder / "registry.log").read_text()
        try:
            socket.create_connection(("127.0.0.1", registry.port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("the registry does not answer")
