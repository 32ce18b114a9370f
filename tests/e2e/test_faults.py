"""What happens when things break: processes killed, clients gone, files damaged."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.e2e.conftest import IMPORT, LOADED, PORT, World

pytestmark = [pytest.mark.e2e, pytest.mark.native]

LONG = {"num_predict": 100_000, "temperature": 0}  # goes round in circles


@pytest.fixture
def http(server: World) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
        yield client


def _runners(server: World) -> list[psutil.Process]:
    """Runner processes of this server."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        environ = process.info["environ"] or {}
        if environ.get("HOME") == str(server.home) and "cama.runner" in process.info["cmdline"]:
            found.append(process)
    return found


def _lines(response: httpx.Response) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in response.iter_lines() if line)


def _wait_until(condition: Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_killed_runner_ends_the_stream_with_an_error_and_the_server_lives(
    http: httpx.Client, server: World, endless: str
) -> None:
    body = {"model": endless, "prompt": "Once", "options": LONG}
    with http.stream("POST", "/api/generate", json=body) as response:
        lines = _lines(response)
        assert not next(lines)["done"]
        (runner,) = _runners(server)
        runner.send_signal(signal.SIGKILL)
        last = list(lines)[-1]
    assert "unexpectedly stopped" in last.get("error", ""), last
    assert http.get("/api/version").status_code == 200
    short = body | {"stream": False, "options": {"num_predict": 3}}
    assert http.post("/api/generate", json=short).json()["eval_count"] == 3
    (new,) = _runners(server)
    assert new.pid != runner.pid


def test_client_that_leaves_in_mid_prefill_frees_the_engine(
    http: httpx.Client, server: World, tiny_model: Callable[..., Path]
) -> None:
    model = str(tiny_model("llama", "F16"))
    http.post("/api/generate", json={"model": model})
    body = {"model": model, "prompt": "word " * 1200, "raw": True, "options": LONG}
    for seconds in (0.0, 0.01, 0.05, 0.1, 0.2):
        leaving = HTTPConnection("127.0.0.1", server.port)
        leaving.request("POST", "/api/generate", json.dumps(body))
        time.sleep(seconds)
        leaving.close()
    short = {"model": model, "prompt": "x", "stream": False, "options": {"num_predict": 2}}
    assert http.post("/api/generate", json=short).json()["eval_count"] == 2
    runners = _runners(server)
    assert runners
    assert all(_is_idle_soon(runner) for runner in runners)


def _is_idle_soon(runner: psutil.Process) -> bool:
    """No abandoned answer keeps the processor busy."""
    return _wait_until(lambda: runner.cpu_percent(interval=0.3) < 20)


def test_many_clients_at_once_get_their_own_answers(http: httpx.Client) -> None:
    def ask(prompt: str) -> str:
        body = {"model": "guide", "prompt": prompt, "stream": False}
        text: str = http.post("/api/generate", json=body).json()["response"]
        return text

    prompts = [known.question for known in (IMPORT, LOADED, PORT)] + ["hello", "thanks", "bye"]
    alone = {prompt: ask(prompt) for prompt in prompts}
    assert len(set(alone.values())) == len(prompts)
    together: dict[str, str] = {}

    def run(prompt: str) -> None:
        together[prompt] = ask(prompt)

    threads = [threading.Thread(target=run, args=(prompt,)) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_runner_ends_with_a_killed_server(world: World) -> None:
    assert world.cama("run", "guide", "hello", "--keepalive", "10m").returncode == 0
    (runner,) = _runners(world)
    parent = runner.parent()
    assert parent is not None
    os.kill(parent.pid, signal.SIGKILL)
    assert _wait_until(lambda: not _runners(world))
