"""Prompts and answers that outgrow the context, from a client to either engine and back."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import World, free_port, serving

pytestmark = [pytest.mark.e2e, pytest.mark.native]

LONG = "The caravan crosses the desert, and nobody knows where it goes. " * 20


@pytest.fixture(scope="module", params=["native", "llama"])
def server(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("world"), free_port(), request.param)
    with serving(world):
        yield world


Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(server: World, tiny_model: Callable[..., Path]) -> Ask:
    """A request to a model with a context of 64 tokens, whose answers hardly end."""

    def ask(prompt: str, path: str = "generate", **fields: Any) -> httpx.Response:
        options = {"num_ctx": 64, "temperature": 0, "num_predict": 150} | fields.pop("options", {})
        text = {"messages": [{"role": "user", "content": prompt}]}
        body: dict[str, Any] = {"prompt": prompt, "raw": True} if path == "generate" else text
        body |= {"model": str(tiny_model("llama", "F16")), "stream": False, "options": options}
        url = f"{server.url}/api/{path}"
        return httpx.post(url, json=body | fields, timeout=100, trust_env=False)

    return ask


def test_answer_that_outgrows_the_context_goes_on_and_says_so(ask: Ask) -> None:
    answer = ask("Once upon a time", options={"num_keep": 4}).json()
    assert (answer["done_reason"], answer["eval_count"]) == ("length", 150)
    assert answer["shifted_tokens"] >= answer["prompt_eval_count"] + 150 - 64 - 1
    assert "truncated_tokens" not in answer


def test_answer_ends_with_the_context_where_it_may_not_shift(ask: Ask) -> None:
    answer = ask("Once upon a time", shift=False).json()
    assert answer["done_reason"] == "length"
    assert answer["prompt_eval_count"] + answer["eval_count"] == 64 + 1
    assert "shifted_tokens" not in answer


def test_long_prompt_is_cut_and_the_answer_says_by_how_much(ask: Ask) -> None:
    whole = ask(LONG, options={"num_predict": 1, "num_ctx": 2048}).json()
    cut = ask(LONG, options={"num_predict": 1}).json()
    filled = ask(LONG, shift=False, options={"num_predict": 1}).json()
    assert cut["prompt_eval_count"] < filled["prompt_eval_count"] == 64
    for answer in (cut, filled):
        n_prompt = answer["prompt_eval_count"] + answer["truncated_tokens"]
        assert n_prompt == whole["prompt_eval_count"]


@pytest.mark.parametrize("path", ["generate", "chat"])
def test_long_prompt_is_refused_where_it_must_be_whole(ask: Ask, path: str) -> None:
    response = ask(LONG, path, truncate=False)
    assert response.status_code == 400
    assert "the input length exceeds the context length" in response.text


def test_streamed_answer_tells_it_in_its_last_line(ask: Ask) -> None:
    *_, last = ask("Once upon a time", stream=True).text.splitlines()
    assert '"shifted_tokens":' in last
