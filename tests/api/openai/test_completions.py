"""POST /v1/completions in process."""

import json
from typing import Any

import httpx
import pytest

from cama.core.generation import Chunk, Logprob
from tests.api.conftest import Create
from tests.api.fakes import FakeRunner, finish

PATH = "/v1/completions"


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": "chatty", "prompt": "Once", **fields}


def logprob(piece: bytes, value: float = -1.0, *top: bytes) -> Logprob:
    others = tuple(Logprob(token=9, piece=other, logprob=value) for other in top)
    return Logprob(token=1, piece=piece, logprob=value, top=others)


async def test_a_prompt_is_continued_as_it_is(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    body = (await api.post(PATH, json=ask())).json()
    assert body["id"].startswith("cmpl-")
    assert body["object"] == "text_completion"
    assert body["choices"][0].pop("cama")["eval_count"] == 2
    assert body["choices"] == [
        {"text": "Hello", "index": 0, "logprobs": None, "finish_reason": "stop"}
    ]
    assert body["usage"]["total_tokens"] == 9
    assert (runner.generations[0].prompt, runner.generations[0].add_special) == ("Once", True)


async def test_a_stream_ends_with_its_reason(api: httpx.AsyncClient) -> None:
    fields = {"stream": True, "stream_options": {"include_usage": True}}
    response = await api.post(PATH, json=ask(**fields))
    *texts, done, _ = response.text.split("\n\n")
    assert done == "data: [DONE]"
    first, second, last, usage = (json.loads(text.removeprefix("data: ")) for text in texts)
    assert [chunk["choices"][0]["text"] for chunk in (first, second, last)] == ["Hel", "lo", ""]
    assert last["choices"][0]["finish_reason"] == "stop"
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 2)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([5, 6], [(5, 6)]),
        ([[5], [6, 7]], [(5,), (6, 7)]),
        (["a", [5]], ["a", (5,)]),
        ("", [""]),
    ],
)
async def test_prompts_in_every_form(
    api: httpx.AsyncClient, runner: FakeRunner, prompt: Any, expected: list[Any]
) -> None:
    body = (await api.post(PATH, json=ask(prompt=prompt, n=2))).json()
    made = [made.prompt for made in runner.generations]
    assert sorted(map(str, made)) == sorted(map(str, expected * 2))
    assert [choice["index"] for choice in body["choices"]] == list(range(2 * len(expected)))
    assert body["usage"]["prompt_tokens"] == 7 * len(expected)
    assert body["usage"]["completion_tokens"] == 4 * len(expected)


async def test_an_echo_has_the_prompt_in_front(api: httpx.AsyncClient) -> None:
    body = (await api.post(PATH, json=ask(prompt=["Once", [67, 68]], echo=True))).json()
    assert [choice["text"] for choice in body["choices"]] == ["OnceHello", "ABHello"]


async def test_an_echo_has_log_probabilities_of_the_prompt(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.script = [
        Chunk(text="", n_tokens=0, prompt_logprobs=(logprob("ß".encode(), -2.0, b"x"),)),
        Chunk(text="", n_tokens=0, prompt_logprobs=(logprob(b"c", -3.0),)),
        Chunk(text="d", n_tokens=1, logprobs=(logprob(b"d", -4.0, b"d"),)),
        finish(),
    ]
    body = (await api.post(PATH, json=ask(prompt="aßc", echo=True, logprobs=1))).json()
    assert body["choices"][0]["text"] == "aßcd"
    assert body["choices"][0]["logprobs"] == {
        "tokens": ["a", "ß", "c", "d"],
        "token_logprobs": [None, -2.0, -3.0, -4.0],
        "top_logprobs": [None, {"x": -2.0}, {}, {"d": -4.0}],
        "text_offset": [0, 1, 2, 3],
    }
    assert (runner.generations[0].echo, runner.generations[0].logprobs) == (True, 1)


async def test_a_prompt_can_be_scored_without_an_answer(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.script = [
        Chunk(text="", n_tokens=0, prompt_logprobs=(logprob(b"b", -2.0),)),
        Chunk(text="c", n_tokens=1, logprobs=(logprob(b"c", -3.0),)),
        finish("length", eval_tokens=1),
    ]
    body = (await api.post(PATH, json=ask(prompt="ab", echo=True, logprobs=0, max_tokens=0))).json()
    assert body["choices"][0]["text"] == "ab"
    assert body["choices"][0]["logprobs"]["token_logprobs"] == [None, -2.0]
    assert body["usage"]["completion_tokens"] == 0
    assert runner.generations[0].num_predict == 1


async def test_offsets_count_characters_that_tokens_share(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.script = [
        Chunk(text="ß", n_tokens=2, logprobs=(logprob(b"\xc3"), logprob(b"\x9f"))),
        Chunk(text="x", n_tokens=1, logprobs=(logprob(b"x"),)),
        finish(),
    ]
    body = (await api.post(PATH, json=ask(logprobs=0))).json()
    found = body["choices"][0]["logprobs"]
    assert found["tokens"] == ["bytes:\\xc3", "bytes:\\x9f", "x"]
    assert found["text_offset"] == [0, 0, 1]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt[0]"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt[1]"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [299, 300]}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": ["a"] * 100, "n": 100}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": 21}, "logprobs"),
        ({"best_of": 3, "n": 2}, "best_of"),
        ({"suffix": "x"}, "suffix"),
        ({"suffix": "x", "echo": True}, "suffix"),
        ({"suffix": "x", "prompt": [1]}, "suffix"),
    ],
)
async def test_what_is_wrong_is_named(
    api: httpx.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    response = await api.post(PATH, json=ask(**fields))
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_a_gap_is_filled_where_the_template_knows_how(
    api: httpx.AsyncClient, runner: FakeRunner, create: Create
) -> None:
    create("coder", 'TEMPLATE """<pre>{{ .Prompt }}<suf>{{ .Suffix }}<mid>"""')
    fields = {"model": "coder", "prompt": ["a", "b"], "suffix": "c"}
    body = (await api.post(PATH, json=ask(**fields))).json()
    assert [choice["text"] for choice in body["choices"]] == ["Hello", "Hello"]
    prompts = [made.prompt for made in runner.generations]
    assert prompts == ["<pre>a<suf>c<mid>", "<pre>b<suf>c<mid>"]


async def test_fields_without_effect_are_told(api: httpx.AsyncClient) -> None:
    response = await api.post(PATH, json=ask(user="me"))
    assert response.headers["x-cama-ignored"] == "user"
