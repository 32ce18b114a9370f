"""The child's side as a process: its life line, its secret, its end."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cama.core.errors import CamaError
from cama.core.load import LoadOptions
from cama.core.model import ModelSpec
from cama.runner.http import Endpoint
from cama.runner.process import ChildProcess
from cama.runner.protocol import SECRET_HEADER, RunnerConfig
from cama.runner.stdin import ORPHANED
from tests.runner.conftest import FAKE_CHILD, process_exists, write_model

pytestmark = pytest.mark.e2e

MakeSpec = Callable[..., ModelSpec]

# A parent that starts a runner, says which process it is, and waits to be killed.
PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write(sys.argv[1].encode() + b"\\n")
child.stdin.flush()
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


def config_of(spec: ModelSpec) -> RunnerConfig:
    return RunnerConfig(model_path=spec.path, load=spec.load, secret="sesame")


@contextmanager
def raw_child(spec: ModelSpec) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A runner started by hand, and its port."""
    with subprocess.Popen(FAKE_CHILD, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps(config_of(spec).to_json()).encode() + b"\n")
            child.stdin.flush()
            yield child, json.loads(child.stdout.readline())["port"]
        finally:
            child.kill()


def request(
    port: int, method: str, path: str, body: bytes = b"", secret: str | None = "sesame"
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {} if secret is None else {SECRET_HEADER: secret}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def wait_for_status(port: int, status: str) -> dict[str, Any]:
    while (health := request(port, "GET", "/health")[1])["status"] != status:
        assert health["status"] in ("starting", "loading")
    return dict(health)


@pytest.mark.parametrize("script", ["", "hang"])
def test_a_runner_ends_with_its_standard_input(make_spec: MakeSpec, script: str) -> None:
    with raw_child(make_spec(script)) as (child, _):
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(30) == ORPHANED


def test_a_runner_ends_while_it_computes(make_spec: MakeSpec) -> None:
    with raw_child(make_spec()) as (child, port):
        wait_for_status(port, "ready")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        generation = {"prompt": "!hang", "sampling": {}, "stop": []}
        headers = {SECRET_HEADER: "sesame"}
        connection.request("POST", "/generate", json.dumps(generation), headers)
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(30) == ORPHANED
        connection.close()


def test_a_runner_ends_when_its_parent_is_killed(make_spec: MakeSpec) -> None:
    config = json.dumps(config_of(make_spec()).to_json())
    command = [sys.executable, "-c", PARENT, config, *FAKE_CHILD]
    with subprocess.Popen(command, stdout=-1, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert process_exists(pid)
        parent.kill()
    wait_until_gone(pid)


def wait_until_gone(pid: int) -> None:
    """The test's timeout is the bound."""
    while process_exists(pid):
        # Orphans go to init, which does not reap everywhere.
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return


@pytest.mark.parametrize("secret", [None, "", "sesam", "sesame2"])
@pytest.mark.parametrize("path", ["/health", "/info", "/generate", "/nowhere"])
def test_a_request_without_the_secret_is_refused(
    runner_port: int, path: str, secret: str | None
) -> None:
    status, answer = request(runner_port, "GET", path, secret=secret)
    assert status == 403
    assert answer["error"]["code"] == "invalid_request"


@pytest.fixture(scope="module")
def runner_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """One ready runner for all tests that do no harm."""
    path = tmp_path_factory.mktemp("models") / "model.gguf"
    write_model(path)
    spec = ModelSpec(
        name="fake", path=path, digest="0", weights_bytes=1, load=LoadOptions(n_ctx=512)
    )
    with raw_child(spec) as (_, port):
        wait_for_status(port, "ready")
        yield port


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/generate", b""),
        ("/generate", b"\xff"),
        ("/generate", b"[]"),
        ("/generate", b"{}"),
        ("/generate", b'{"prompt": 1, "sampling": {}, "stop": []}'),
        ("/generate", b'{"prompt": "x", "sampling": {"heat": 1}, "stop": []}'),
        ("/generate", b'{"prompt": ["x"], "sampling": {}, "stop": []}'),
        ("/generate", b'{"prompt": [true], "sampling": {}, "stop": []}'),
        ("/tokenize", b'{"text": 1, "add_special": true, "parse_special": true}'),
        ("/tokenize", b'{"text": "x"}'),
        ("/detokenize", b'{"tokens": "x"}'),
        ("/detokenize", b'{"tokens": [1.5]}'),
    ],
)
def test_a_malformed_request_is_refused(runner_port: int, path: str, body: bytes) -> None:
    status, answer = request(runner_port, "POST", path, body)
    assert (status, answer["error"]["code"]) == (400, "invalid_request")


def test_an_unknown_endpoint_is_not_found(runner_port: int) -> None:
    assert request(runner_port, "GET", "/nowhere")[0] == 404
    assert request(runner_port, "POST", "/health")[0] == 404


def test_info_is_refused_while_the_model_loads(make_spec: MakeSpec) -> None:
    with raw_child(make_spec("hang")) as (_, port):
        status, answer = request(port, "GET", "/info")
    assert status == 409
    assert "not loaded yet" in answer["error"]["message"]


def test_a_runner_that_cannot_load_ends_once_it_has_said_so(make_spec: MakeSpec) -> None:
    with raw_child(make_spec("invalid")) as (child, port):
        health = wait_for_status(port, "failed")
        assert health["error"]["code"] == "invalid_model_file"
        assert child.wait(30) == 1


def test_a_runner_ignores_an_interrupt(make_spec: MakeSpec) -> None:
    with raw_child(make_spec()) as (child, port):
        wait_for_status(port, "ready")
        child.send_signal(signal.SIGINT)
        assert request(port, "GET", "/info")[0] == 200


def test_a_runner_without_a_configuration_ends() -> None:
    child = subprocess.run(
        [sys.executable, "-m", "cama.runner"], stdin=subprocess.DEVNULL, check=False, timeout=60
    )
    assert child.returncode == ORPHANED


async def test_stop_kills_a_process_that_does_not_listen(make_spec: MakeSpec) -> None:
    child = await ChildProcess.start(config_of(make_spec()), FAKE_CHILD)
    assert await child.port() is not None
    os.kill(child.pid, signal.SIGSTOP)
    await child.stop(grace=0.05)
    assert not process_exists(child.pid)


async def test_a_wrong_secret_is_an_error_of_the_call(make_spec: MakeSpec) -> None:
    child = await ChildProcess.start(config_of(make_spec()), FAKE_CHILD)
    try:
        port = await child.port()
        assert port is not None
        with pytest.raises(CamaError, match="secret"):
            await Endpoint(port, "guess").call("GET", "/health")
    finally:
        await child.kill()
