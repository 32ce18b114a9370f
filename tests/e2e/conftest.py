"""A real server in its own process, with its own home, store and port."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.e2e.speaker import Speaker, speaking

START_SECONDS = 60
LOCAL: dict[str, Any] = {
    "trust_env": False,
    "limits": httpx.Limits(max_keepalive_connections=0),
}
"""Of clients that nobody closes: no connection outlives its answer."""

COMMAND = [sys.executable, "-m", "cama"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True)
class World:
    """An isolated home with a port for a server; commands run in it as a user's would."""

    home: Path
    port: int
    engine: str = "auto"
    variables: tuple[tuple[str, str], ...] = ()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CAMA_", "OLLAMA_"))}
        return kept | {
            "HOME": str(self.home),
            "CAMA_HOST": f"127.0.0.1:{self.port}",
            "CAMA_NUM_THREADS": "2",
            "CAMA_ENGINE": self.engine,
            **dict(self.variables),
        }

    def cama(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. Standard input is ``text``, or empty."""
        return subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment,
            input=text,
            stdin=None if text is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A home without a server; what a command starts there in the background is ended."""
    yield World(tmp_path, free_port())
    _end_background_servers(tmp_path)


def _end_background_servers(home: Path) -> None:
    processes = [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("HOME") == str(home)
    ]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs(processes, timeout=10)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world with ``cama serve`` running; one for the tests of a module."""
    with serving(World(tmp_path_factory.mktemp("world"), free_port())) as world:
        yield world


@contextlib.contextmanager
def serving(world: World) -> Iterator[World]:
    """Run ``cama serve`` in ``world``."""
    log = (world.home / "server.log").open("wb")
    process = subprocess.Popen([*COMMAND, "serve"], env=world.environment, stderr=log, stdout=log)
    try:
        _wait_until_up(world, process)
        yield world
    finally:
        process.terminate()
        process.wait(30)
        log.close()
    assert process.returncode == 0, (world.home / "server.log").read_text()[-2000:]


def _wait_until_up(world: World, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, (world.home / "server.log").read_text()
        try:
            if httpx.get(world.url, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the server does not answer")


@pytest.fixture
def litellm() -> Iterator[Any]:
    """LiteLLM keeps its clients for as long as the process runs: they are closed here."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would ask the network for prices
    import litellm

    yield litellm
    kept: Any = litellm.in_memory_llm_clients_cache
    for client in kept.cache_dict.values():
        client.close()
    kept.flush_cache()


@pytest.fixture
def endless(tiny_model: Callable[..., Path]) -> str:
    """A file with random weights as a client names it: its answers are noise and do not end."""
    return str(tiny_model("llama", "Q8_0"))


@dataclass(frozen=True)
class Known:
    """A question that the bundled model has learnt, and what its answer must contain."""

    question: str
    key: str


IMPORT = Known("How do I import a GGUF file?", "FROM ./model.gguf")
LOADED = Known("How do I see which models are loaded?", "cama ps")
PORT = Known("How do I make the server listen on another port?", "CAMA_HOST=127.0.0.1:8080")


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Speaker]:
    """One for the tests of a module."""
    with speaking(tmp_path_factory.mktemp("speaker")) as found:
        yield found
