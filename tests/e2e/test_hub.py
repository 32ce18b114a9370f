"""A model of the Hugging Face hub, from its name to an answer; and without a network."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cama.store.bundled import FOLDER
from tests.e2e.conftest import IMPORT, World, serving
from tests.splitting import split
from tests.unit.registry.hub_server import COMMIT, TOKEN, HubServer

pytestmark = [pytest.mark.e2e, pytest.mark.native]

NAME = "hf.co/u/guide-GGUF"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    with HubServer() as server:
        guide = FOLDER / "guide.gguf"
        parts = split(guide, tmp_path / "parts", "guide-F16", 2)
        server.repositories["u/guide-GGUF"] = {
            "guide-Q8_0.gguf": guide.read_bytes(),
            **{f"F16/{part.name}": part.read_bytes() for part in parts},
            "params": b'{"num_predict": 50}',
        }
        server.gated.add("u/guide-GGUF")
        yield server


@pytest.fixture
def connected(world: World, hub: HubServer) -> World:
    return replace(world, variables=(("HF_ENDPOINT", hub.url), ("HF_TOKEN", TOKEN)))


def test_pulled_model_answers_and_tells_where_it_is_from(connected: World) -> None:
    with serving(connected):
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
    with serving(connected):
        answer = connected.cama("run", f"{NAME}:F16", IMPORT.question)
        assert IMPORT.key in answer.stdout, answer.stderr
        assert connected.cama("doctor").returncode == 0


def test_gated_model_says_what_it_wants(world: World, hub: HubServer) -> None:
    with serving(replace(world, variables=(("HF_ENDPOINT", hub.url),))) as stranger:
        refused = stranger.cama("pull", NAME)
        assert refused.returncode == 1
        assert "accepted its terms" in refused.stderr.splitlines()[-1]


def test_offline_nothing_is_asked(connected: World, hub: HubServer) -> None:
    variables = (*connected.variables, ("CAMA_OFFLINE", "1"))
    with serving(replace(connected, variables=variables)) as offline:
        for name in (NAME, "llama3.2", "http://127.0.0.1:1/u/m"):
            refused = offline.cama("pull", "--insecure", name)
            assert refused.returncode == 1
            assert "other machines. Copy a GGUF file here and name its path" in refused.stderr
        assert "CAMA_OFFLINE is set" in offline.cama("push", "u/m").stderr
        assert "CAMA_OFFLINE is set" in offline.cama("run", "nothing", "hi").stderr
        assert hub.requests == []


def test_offline_the_hubs_own_downloads_answer(world: World) -> None:
    cache = world.home / "hub"
    folder = cache / "models--u--guide-GGUF"
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    (snapshot / "guide-Q8_0.gguf").symlink_to(FOLDER / "guide.gguf")
    variables = (("CAMA_OFFLINE", "1"), ("HF_HUB_CACHE", str(cache)))
    with serving(replace(world, variables=variables)) as offline:
        answer = offline.cama("run", f"{NAME}:Q8_0", IMPORT.question)
        assert IMPORT.key in answer.stdout, answer.stderr
        assert not os.path.exists(world.home / ".ollama")
        found = json.loads(offline.cama("doctor", "--json").stdout)
        assert (found["models"], found["findings"]) == (0, [])
