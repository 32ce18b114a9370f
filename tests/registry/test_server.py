"""Pulls and pushes by the API and the command line, in processes of their own."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from cama.modelfile.create import create_model
from cama.modelfile.parser import parse_modelfile
from cama.registry.access import Access
from cama.registry.push import push
from cama.store.names import ModelName
from cama.store.partials import completed
from cama.store.store import Store
from tests.e2e.conftest import World, free_port, serving
from tests.registry.conftest import WEIGHTS_BYTES, add_model
from tests.registry.proxy import FaultProxy
from tests.registry.servers import RealRegistry, needs_registry

pytestmark = [pytest.mark.e2e, needs_registry]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(World(tmp_path_factory.mktemp("world"), free_port())) as world:
        yield world


def store_of(world: World) -> Store:
    return Store(world.home / ".ollama" / "models")


def weights_of(name: ModelName, store: Store) -> str:
    there = next(one for one in store.manifests.names() if one.model == name.model)
    return store.manifest(there.full)[1].layers[0].digest


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_api_streams_a_pull_in_ollamas_words(
    served: World, pushed: ModelName, source: Store
) -> None:
    body = {"model": pushed.full, "insecure": True}
    response = httpx.post(f"{served.url}/api/pull", json=body, timeout=60, trust_env=False)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/x-ndjson")
    events = [json.loads(line) for line in response.text.splitlines()]
    digest = weights_of(pushed, source)
    assert events[0] == {"status": "pulling manifest"}
    assert events[-3:] == [
        {"status": "verifying sha256 digest"}, {"status": "writing manifest"},
        {"status": "success"},
    ]  # fmt: skip
    last = [event for event in events if event.get("digest") == digest][-1]
    assert last == {
        "status": f"pulling {digest[7:19]}", "digest": digest,
        "total": WEIGHTS_BYTES, "completed": WEIGHTS_BYTES,
    }  # fmt: skip
    again = httpx.post(
        f"{served.url}/api/pull", json=body | {"stream": False}, timeout=60, trust_env=False
    )
    assert (again.status_code, again.json()) == (200, {"status": "success"})


def test_api_tells_of_a_model_that_is_nowhere(served: World, proxy: FaultProxy) -> None:
    body = {"model": f"{proxy.host}/test/none", "insecure": True}
    error = {"error": "pull model manifest: file does not exist"}
    streamed = httpx.post(f"{served.url}/api/pull", json=body, trust_env=False)
    assert streamed.status_code == 200
    assert [json.loads(line) for line in streamed.text.splitlines()] == [
        {"status": "pulling manifest"}, error,
    ]  # fmt: skip
    whole = httpx.post(f"{served.url}/api/pull", json=body | {"stream": False}, trust_env=False)
    assert (whole.status_code, whole.json()) == (500, error)
    pushing = httpx.post(f"{served.url}/api/push", json=body, trust_env=False)
    events = [json.loads(line) for line in pushing.text.splitlines()]
    assert [event["status"] for event in events[:2]] == [
        "retrieving manifest", "couldn't retrieve manifest",
    ]  # fmt: skip
    assert "not found" in events[2]["error"]


@pytest.mark.parametrize(
    ("path", "model", "error"),
    [
        ("pull", "", "invalid model name"),
        ("pull", "a b", "invalid model name"),
        ("push", "", "model is required"),
        ("push", "a b", "unqualified name: a b"),
    ],
)
def test_api_refuses_names_that_are_none(served: World, path: str, model: str, error: str) -> None:
    response = httpx.post(f"{served.url}/api/{path}", json={"model": model}, trust_env=False)
    assert (response.status_code, response.json()) == (400, {"error": error})


def test_two_clients_share_a_download(served: World, proxy: FaultProxy, pushed: ModelName) -> None:
    proxy.pause = 0.01
    proxy.asked.clear()
    command = [sys.executable, "-m", "cama", "pull", pushed.full, "--insecure"]
    pair = [
        subprocess.Popen(command, env=served.environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in pair:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors.splitlines()[-1]) == (0, "success"), errors
    digest = weights_of(pushed, store_of(served))
    assert proxy.bytes_asked()[digest] == WEIGHTS_BYTES


def test_interrupted_pull_is_cancelled_and_continued_later(
    served: World, proxy: FaultProxy, pushed: ModelName, source: Store
) -> None:
    """And the server answers others meanwhile."""
    digest, store = weights_of(pushed, source), store_of(served)
    proxy.pause = 0.02
    command = [sys.executable, "-m", "cama", "pull", pushed.full, "--insecure"]
    process = subprocess.Popen(command, env=served.environment, stderr=subprocess.PIPE, text=True)
    partial = store.blobs.path(digest).with_name(f"{store.blobs.path(digest).name}-partial")
    wait_until(partial.exists)
    assert httpx.get(served.url, trust_env=False, timeout=2).status_code == 200
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in errors
    wait_until(lambda: not list(store.root.glob(".cama/turns/*")))
    has = completed(store.blobs.folder, digest)
    assert 0 < has < WEIGHTS_BYTES
    proxy.pause = 0
    proxy.asked.clear()
    outcome = served.cama("pull", pushed.full, "--insecure")
    assert (outcome.returncode, outcome.stdout) == (0, "")
    assert proxy.bytes_asked()[digest] == WEIGHTS_BYTES - has


def test_run_pulls_what_is_missing(
    served: World,
    registry: RealRegistry,
    source: Store,
    access: Access,
    tiny_model: Callable[..., Path],
) -> None:
    name = ModelName.parse(f"{registry.host}/test/tiny")
    create_model(
        source, name.full, parse_modelfile(f"FROM {tiny_model()}\n"), Path(), lambda text: None
    )
    push(name, source, access, lambda progress: None)
    outcome = served.cama("run", name.full, "--insecure", "")
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stderr.splitlines()[-1] == "success"
    assert served.cama("run", name.full, "").stderr == ""


def test_push_tells_where_the_model_is(served: World, registry: RealRegistry) -> None:
    name = add_model(store_of(served), f"{registry.host}/test/from-here:q4")
    outcome = served.cama("push", name.full, "--insecure")
    assert (outcome.returncode, outcome.stdout) == (
        0,
        f"\nYou can find your model at:\n\n\t{name.full}\n",
    )
    denied = served.cama("push", "nobody-has-this", "--insecure")
    assert (denied.returncode, denied.stdout) == (1, "")
    assert denied.stderr.splitlines()[-1].startswith("Error: ")
