"""Draft models and priorities, from a client to an engine and back."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import IMPORT, World

pytestmark = [pytest.mark.e2e, pytest.mark.native]

OPTIONS = {"temperature": 0.8, "seed": 3, "num_predict": 60, "num_ctx": 256}

Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(server: World, tiny_model: Callable[..., Path]) -> Ask:
    def ask(prompt: str = "Once upon a time", **fields: Any) -> httpx.Response:
        body = {"model": str(tiny_model("llama", "F32")), "prompt": prompt, "raw": True}
        options = OPTIONS | fields.pop("options", {})
        body |= {"stream": False, "options": options} | fields
        return httpx.post(f"{server.url}/api/generate", json=body, timeout=100, trust_env=False)

    return ask


def test_draft_model_leaves_the_text_alone(ask: Ask, tiny_model: Callable[..., Path]) -> None:
    plain = ask()
    drafted = ask(options={"draft_model": str(tiny_model("llama", "Q4_0"))})
    assert drafted.status_code == 200, drafted.text
    assert drafted.json()["response"] == plain.json()["response"]
    assert drafted.json()["cama"]["proposed_count"] > 0
    assert "proposed_count" not in plain.json()["cama"]


def test_modelfile_names_a_draft_model(
    server: World, ask: Ask, tiny_model: Callable[..., Path]
) -> None:
    large, small = tiny_model("llama", "F32"), tiny_model("llama", "Q4_0")
    recipe = server.home / "Modelfile"
    recipe.write_text(f"FROM {large}\nPARAMETER draft_model {small}\nPARAMETER num_draft 3\n")
    made = server.cama("create", "pair", "-f", str(recipe))
    assert made.returncode == 0, made.stderr
    answer = ask(model="pair").json()
    assert answer["response"] == ask().json()["response"]
    assert answer["cama"]["proposed_count"] > 0
    assert f'draft_model "{small}"' in " ".join(server.cama("show", "pair").stdout.split())


@pytest.mark.parametrize(
    ("draft", "reason"),
    [
        ("nothing", "model 'nothing' not found"),
        ("guide", "the draft model has another vocabulary than the model"),
    ],
)
def test_draft_model_that_cannot_be_used_is_an_error(ask: Ask, draft: str, reason: str) -> None:
    response = ask(options={"draft_model": draft})
    assert response.status_code == 400, response.text
    assert reason in response.json()["error"]


def test_text_does_not_depend_on_the_priority(ask: Ask) -> None:
    greedy: dict[str, Any] = {"model": "guide", "options": {"temperature": 0, "num_predict": 20}}
    priorities = ["interactive", "batch"] * 6
    with ThreadPoolExecutor(12) as pool:
        futures = [
            pool.submit(ask, IMPORT.question, priority=priority, raw=False, **greedy)
            for priority in priorities
        ]
        answers = [future.result() for future in futures]
    assert [answer.status_code for answer in answers] == [200] * 12
    assert len({answer.json()["response"] for answer in answers}) == 1
