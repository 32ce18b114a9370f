"""What a model is shown of a conversation, and answers that say the same again and again."""

from typing import Any

import httpx
import pytest

from cama.api.history import without_old_thoughts
from cama.core.generation import Chunk
from cama.wire.requests import Message
from tests.api.conftest import lines
from tests.api.fakes import FakeRunner, finish


def said(*turns: tuple[str, str]) -> list[Message]:
    return [Message(role=role, content=content) for role, content in turns]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<think>Hm.</think>\n\nYes.", "Yes."),
        (" <think>Hm.</think>Yes.", "Yes."),
        ("Yes <think>no</think>", "Yes <think>no</think>"),
        ("<think>never ends", ""),
        ("Yes.", "Yes."),
        ("", ""),
    ],
)
def test_old_thoughts_are_left_out(text: str, shown: str) -> None:
    turns = said(("user", "a"), ("assistant", text), ("user", "b"), ("assistant", text))
    found = without_old_thoughts(turns)
    assert [m.content for m in found] == ["a", shown, "b", text], "those of the last turn stay"


def test_old_thoughts_without_a_question_stay() -> None:
    turns = said(("system", "s"), ("assistant", "<think>a</think>b"))
    assert without_old_thoughts(turns) == turns


def same(n: int, text: str = "na ") -> list[Any]:
    return [Chunk(text=text, n_tokens=1)] * n


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
async def test_an_answer_that_loops_is_broken_off(
    api: httpx.AsyncClient, runner: FakeRunner, path: str
) -> None:
    runner.script = [Chunk(text="Oh", n_tokens=1), *same(40), finish()]
    body = {"model": "chatty", "prompt": "Hi", "messages": [{"role": "user", "content": "Hi"}]}
    found = lines(await api.post(path, json=body))
    assert len(found) == 32
    assert not any(line["done"] for line in found)
    assert runner.n_ended == 1
    whole = (await api.post(path, json=body | {"stream": False})).json()
    assert whole["done"] is False


@pytest.mark.parametrize(
    "script", [same(31), [*same(31), *same(1, "batman "), *same(31)], same(40, "")]
)
async def test_an_answer_that_repeats_less_goes_on(
    api: httpx.AsyncClient, runner: FakeRunner, script: list[Any]
) -> None:
    runner.script = [*script, finish()]
    body = {"model": "chatty", "prompt": "Hi"}
    assert lines(await api.post("/api/generate", json=body))[-1]["done_reason"] == "stop"


@pytest.mark.parametrize("bound", [{"options": {"num_predict": 50}}, {"format": "json"}])
async def test_an_answer_that_is_bounded_may_repeat(
    api: httpx.AsyncClient, runner: FakeRunner, bound: dict[str, Any]
) -> None:
    runner.script = [*same(40), finish()]
    body = {"model": "chatty", "prompt": "Hi"} | bound
    assert lines(await api.post("/api/generate", json=body))[-1]["done_reason"] == "stop"


async def test_a_loop_is_a_length_to_others(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    runner.script = [*same(40), finish()]
    body = {"model": "chatty", "messages": [{"role": "user", "content": "Hi"}]}
    found = (await api.post("/v1/chat/completions", json=body)).json()
    assert found["choices"][0]["finish_reason"] == "length"
    assert found["usage"]["completion_tokens"] == 32
    assert found["usage"]["prompt_tokens"] > 0
