"""A model of the Hugging Face hub, from its name to an answer; and without a network."""

import json
from collections.abc import Iterator

import pytest

from cama.store.bundled import FOLDER
from tests.e2e.conftest import IMPORT, World, free_port, serving
from tests.splitting import split
from tests.unit.registry.hub_server import COMMIT, TOKEN, HubServer

pytestmark = [pytest.mark.e2e, pytest.mark.native]

NAME = "hf.co/u/guide-GGUF"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with HubServer() as server:
        guide = FOLDER / "guide.gguf"
        parts = split(guide, tmp_path_factory.mktemp("parts"), "guide-F16", 2)
        server.repositories["u/guide-GGUF"] = {
            "guide-Q8_0.gguf": guide.read_bytes(),
            **{f"F16/{part.name}": part.read_bytes() for part in parts},
            "params": b'{"num_predict": 50}',
        }
        server.repositories["u/closed"] = server.repositories["u/guide-GGUF"]
        server.gated |= {"u/guide-GGUF": TOKEN, "u/closed": "hf_other"}
        yield server


@pytest.fixture(scope="module")
def connected(tmp_path_factory: pytest.TempPathFactory, hub: HubServer) -> Iterator[World]:
    """A server that knows the hub and a token."""
    variables = (("HF_ENDPOINT", hub.url), ("HF_TOKEN", TOKEN))
    world = World(tmp_path_factory.mktemp("connected"), free_port(), variables=variables)
    with serving(world):
        yield world


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server without a network, but with what the hub's own client has downloaded."""
    home = tmp_path_factory.mktemp("offline")
    folder = home / "hub" / "models--u--guide-GGUF"
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    (snapshot / "guide-Q8_0.gguf").symlink_to(FOLDER / "guide.gguf")
    with HubServer() as watched:
        variables = (
            ("CAMA_OFFLINE", "1"),
            ("HF_ENDPOINT", watched.url),
            ("HF_HUB_CACHE", str(home / "hub")),
        )
        world = World(home, free_port(), variables=variables)
        with serving(world):
            yield world
        assert watched.requests == []


def test_pulled_model_answers_and_tells_where_it_is_from(connected: World) -> None:
    pulled = connected.cama("pull", NAME)
    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stdout == ""
    lines = pulled.stderr.splitlines()
    assert lines[0] == "pulling manifest"
    assert lines[1].startswith("Q8_0 takes ")
    assert lines[-3:] == ["verifying sha256 digest", "writing manifest", "success"]
    shown = connected.cama("show", NAME).stdout
    assert "num_predict" in shown
    assert f"repository    u/guide-GGUF\n    commit        {COMMIT[:12]}" in shown
    assert f"reason        {lines[1]}" in shown
    answer = connected.cama("run", NAME, IMPORT.question)
    assert IMPORT.key in answer.stdout, answer.stderr
    assert f"{NAME}:latest" in connected.cama("list").stdout


def test_run_pulls_all_parts_of_a_model(connected: World) -> None:
    answer = connected.cama("run", f"{NAME}:F16", IMPORT.question)
    assert IMPORT.key in answer.stdout, answer.stderr
    assert connected.cama("doctor").returncode == 0


def test_gated_model_says_what_it_wants(connected: World) -> None:
    refused = connected.cama("pull", "hf.co/u/closed")
    assert refused.returncode == 1
    assert "accepted its terms" in refused.stderr.splitlines()[-1]


def test_offline_nothing_is_asked(offline: World) -> None:
    for name in ("hf.co/u/other", "llama3.2", "http://127.0.0.1:1/u/m"):
        refused = offline.cama("pull", "--insecure", name)
        assert refused.returncode == 1
        assert "other machines. Copy a GGUF file here and name its path" in refused.stderr
    assert "CAMA_OFFLINE is set" in offline.cama("push", "u/m").stderr
    assert "CAMA_OFFLINE is set" in offline.cama("run", "nothing", "hi").stderr


def test_offline_the_hubs_own_downloads_answer(offline: World) -> None:
    answer = offline.cama("run", f"{NAME}:Q8_0", IMPORT.question)
    assert IMPORT.key in answer.stdout, answer.stderr
    assert not (offline.home / ".ollama" / "models").exists()
    found = json.loads(offline.cama("doctor", "--json").stdout)
    assert (found["models"], found["findings"]) == (0, [])
