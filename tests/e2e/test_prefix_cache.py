"""What of a prompt was at hand, as users of the server and of the command line see it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest

from tests.e2e.conftest import World

pytestmark = [pytest.mark.e2e, pytest.mark.native]

TRUNK = "You are a camel. You answer the questions of travellers. "
OPTIONS = {"temperature": 0, "num_predict": 6}


@pytest.fixture
def client(server: World) -> Iterator[ollama.Client]:
    with ollama.Client(server.url, trust_env=False) as client:
        yield client


def _generate(server: World, model: str, prompt: str, **options: Any) -> dict[str, Any]:
    body = {"model": model, "prompt": prompt, "raw": True, "stream": False}
    body["options"] = OPTIONS | options
    answer = httpx.post(f"{server.url}/api/generate", json=body, timeout=100, trust_env=False)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_answer_tells_what_became_of_its_prompt(server: World, endless: str) -> None:
    first = _generate(server, endless, TRUNK + "How far is the well?")
    second = _generate(server, endless, TRUNK + "What do you carry?")
    assert first["cama"]["miss_reason"] == "new"
    assert second["cama"]["miss_reason"] == "diverged"
    assert second["cama"]["diverged_at"] == second["prompt_cached_count"] > 5
    for duration in ("queue", "prefill", "decode", "sampling"):
        assert 0 < first["cama"][f"{duration}_duration"] < first["total_duration"]


def test_client_does_not_mind_what_it_does_not_know(client: ollama.Client) -> None:
    *_, last = client.generate("guide", TRUNK, raw=True, options=OPTIONS, stream=True)
    assert (last.done, last.eval_count) == (True, 6)
    assert client.chat("guide", [{"role": "user", "content": "Hi"}], options=OPTIONS).done


def test_command_tells_it_when_verbose(world: World) -> None:
    command = ("run", "guide", "--verbose", "Which models are running right now?")
    lines = [_cache_line(world.cama(*command).stderr) for _ in range(2)]
    assert lines[0] == "prompt cache:         0 token(s) (new)"
    assert re.fullmatch(r"prompt cache:         [1-9]\d* token\(s\)", lines[1])


def _cache_line(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("prompt cache"))


@pytest.mark.slow
def test_long_prompt_survives_its_model(server: World, tmp_path: Path) -> None:
    model = str(_slow_model(tmp_path / "slow.gguf"))
    prompt = "The caravan has crossed the desert for seven days and seven nights. " * 26
    answers = []
    for _ in range(2):
        answers.append(_generate(server, model, prompt, num_thread=1))
        httpx.post(f"{server.url}/api/generate", json={"model": model, "keep_alive": 0})
    first, second = answers
    assert "restored_count" not in first["cama"]
    assert second["cama"]["restored_count"] == second["prompt_eval_count"] - 1
    assert second["response"] == first["response"]
    assert list((server.home / ".cama" / "cache" / "prefix").glob("*.prefix"))


def _slow_model(path: Path) -> Path:
    """A model with which 1,800 tokens take any single core more than a second."""
    from benchmarks.make_model import TINY, make_model

    shape = replace(TINY, n_layer=16, n_embd=512, n_head=8, n_head_kv=2, n_ff=2048)
    make_model(path, shape, "F32")
    return path
