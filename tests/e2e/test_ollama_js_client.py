"""The official Ollama client for JavaScript talks to the server and notices nothing."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import IMPORT, LOADED, PORT, World
from tests.e2e.speaker import MODEL as SPEAKER
from tests.e2e.speaker import Speaker

pytestmark = [pytest.mark.e2e, pytest.mark.native]

FOLDER = Path(__file__).parent / "node"
MODEL = "guide"


@pytest.fixture(autouse=True)
def _node() -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not on this machine")
    if not (FOLDER / "node_modules" / "ollama").is_dir():
        pytest.skip("the package ollama for node is not installed: npm ci --prefix tests/e2e/node")


def play(scene: str, url: str, model: str, *words: str) -> Any:
    """What a scene of ``client.mjs`` gives."""
    done = subprocess.run(
        ["node", "client.mjs", scene, url, model, *words],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_client_generates(server: World) -> None:
    found = play("generate", server.url, MODEL, IMPORT.question)
    assert IMPORT.key in found["whole"]["response"]
    assert "".join(part["response"] for part in found["parts"]) == found["whole"]["response"]
    assert [part["done"] for part in found["parts"]] == [False] * (len(found["parts"]) - 1) + [True]


def test_client_chats(server: World) -> None:
    found = play("chat", server.url, MODEL, LOADED.question, PORT.question)
    assert LOADED.key in found["first"]["message"]["content"]
    assert PORT.key in "".join(part["message"]["content"] for part in found["parts"])


def test_client_gets_an_answer_of_a_schema(server: World, endless: str) -> None:
    assert 0 <= json.loads(play("form", server.url, endless)["response"])["n"] <= 99


def test_client_gets_log_probabilities(server: World) -> None:
    answer = play("logprobs", server.url, MODEL)
    assert [len(one["top_logprobs"]) for one in answer["logprobs"]] == [2, 2, 2]


def test_client_gets_vectors(server: World) -> None:
    found = play("vectors", server.url, MODEL)
    assert [len(vector) for vector in found["embedded"]["embeddings"]] == [8, 8]
    assert len(found["old"]["embedding"]) == 512


def test_client_makes_and_manages_models(server: World) -> None:
    found = play("models", server.url, MODEL)
    made = {"child:latest", "other:latest", "twin:latest"}
    assert set(found["names"]) == made | {"guide:latest"}
    assert found["left"] == ["guide:latest"]
    assert "twin:latest" in found["running"]
    assert found["shown"]["system"] == "Be kind."
    assert "top_k" in found["shown"]["parameters"]
    assert found["statuses"][-1]["status"] == "success"


def test_client_calls_tools_and_hears_thoughts(speaker: Speaker) -> None:
    speaker.says(
        "<think>hm</think>", '<tool_call>{"name": "weather",', '"arguments": {"city": "Bern"}}'
    )
    parts = play("tools", speaker.url, SPEAKER)["parts"]
    assert "".join(part["message"].get("thinking", "") for part in parts) == "hm"
    (call,) = [call for part in parts for call in part["message"].get("tool_calls", ())]
    assert (call["function"]["name"], call["function"]["arguments"]) == (
        "weather",
        {"city": "Bern"},
    )


def test_client_aborts_an_answer(server: World, endless: str) -> None:
    found = play("abort", server.url, endless)
    assert found["name"] == "AbortError"
    assert found["count"] < 20


def test_client_gets_errors(server: World) -> None:
    missing, option, thinking, unknown = play("errors", server.url, MODEL)
    assert missing == [404, "model 'nobody' not found"]
    assert option == [500, 'option "temperature" must be of type float32']
    assert thinking == [400, '"guide" does not support thinking']
    assert unknown == [404, "model 'nobody:latest' not found"]
