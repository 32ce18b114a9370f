"""POST /v1/chat/completions in process: what a runner is asked, and what a client gets."""

import json
from typing import Any

import httpx
import pytest

from cama.core.errors import PromptTooLong, QueueFull, RunnerCrashed
from cama.core.generation import Chunk, Constraint, Logprob
from tests.api.conftest import Create
from tests.api.fakes import FakeRunner, FakeScheduler, finish

PATH = "/v1/chat/completions"
HI = [{"role": "user", "content": "Hi"}]


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": "chatty", "messages": HI, **fields}


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream that was told to be done."""
    *found, done, end = response.text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    return [json.loads(text.removeprefix("data: ")) for text in found]


async def test_a_whole_answer(api: httpx.AsyncClient) -> None:
    response = await api.post(PATH, json=ask())
    body = response.json()
    assert response.status_code == 200
    assert body["id"].startswith("chatcmpl-")
    assert (body["object"], body["model"]) == ("chat.completion", "chatty")
    assert body["system_fingerprint"]
    assert body["choices"][0].pop("cama")["eval_count"] == 2
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert body["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 2,
        "total_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    assert "x-cama-ignored" not in response.headers


async def test_a_stream(api: httpx.AsyncClient) -> None:
    response = await api.post(PATH, json=ask(stream=True))
    assert response.headers["content-type"].startswith("text/event-stream")
    chunks = events(response)
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": "Hel"},
        {"content": "lo"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "stop"]
    assert len({(chunk["id"], chunk["created"]) for chunk in chunks}) == 1
    assert all("usage" not in chunk for chunk in chunks)


async def test_a_stream_with_its_usage(api: httpx.AsyncClient) -> None:
    response = await api.post(PATH, json=ask(stream=True, stream_options={"include_usage": True}))
    *chunks, last = events(response)
    assert [chunk["usage"] for chunk in chunks] == [None] * 3
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 9


async def test_sampling_is_passed_on(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    await api.post(
        PATH,
        json=ask(
            temperature=0.5,
            top_p=0.25,
            seed=7,
            frequency_penalty=1,
            presence_penalty=-1,
            stop=["a", "b"],
            max_completion_tokens=5,
            logit_bias={"12": -100, "3": 1.5},
            top_k=3,
            min_p=0.1,
        ),
    )
    (made,) = runner.generations
    assert (made.sampling.temperature, made.sampling.top_p, made.sampling.seed) == (0.5, 0.25, 7)
    assert (made.sampling.frequency_penalty, made.sampling.presence_penalty) == (1, -1)
    assert (made.sampling.top_k, made.sampling.min_p) == (3, 0.1)
    assert made.sampling.logit_bias == {12: -100, 3: 1.5}
    assert (made.stop, made.num_predict) == (("a", "b"), 5)
    assert (made.truncate, made.shift) == (False, False)


async def test_openais_defaults_stand_behind_those_of_the_model(
    api: httpx.AsyncClient, runner: FakeRunner, create: Create
) -> None:
    create("cool", "PARAMETER temperature 0.1")
    await api.post(PATH, json=ask(model="cool"))
    (made,) = runner.generations
    assert (made.sampling.temperature, made.sampling.top_p) == (0.1, 1.0)


async def test_every_choice_has_its_own_seed_and_text(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    body = (await api.post(PATH, json=ask(n=3, seed=4))).json()
    assert sorted(made.sampling.seed for made in runner.generations) == [4, 5, 6]
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in body["choices"]} == {"Hello"}
    assert body["usage"]["prompt_tokens"] == 7
    assert body["usage"]["completion_tokens"] == 6


async def test_choices_are_streamed_side_by_side(api: httpx.AsyncClient) -> None:
    options = {"include_usage": True}
    *chunks, usage = events(
        await api.post(PATH, json=ask(n=2, stream=True, stream_options=options))
    )
    for index in range(2):
        own = [c["choices"][0] for c in chunks if c["choices"][0]["index"] == index]
        assert [c["delta"].get("role") for c in own] == ["assistant", None, None]
        assert "".join(c["delta"].get("content", "") for c in own) == "Hello"
        assert own[-1]["finish_reason"] == "stop"
    assert usage["usage"]["completion_tokens"] == 4


async def test_an_error_of_one_choice_ends_all(
    api: httpx.AsyncClient, runner: FakeRunner, scheduler: FakeScheduler
) -> None:
    runner.script = [Chunk(text="Hi", n_tokens=1), RunnerCrashed("it broke")]
    response = await api.post(PATH, json=ask(n=4))
    assert response.status_code == 500
    assert runner.n_ended == 4
    assert scheduler.n_active == 0


async def test_log_probabilities(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    top = (
        Logprob(token=5, piece=b"Hi", logprob=-0.5),
        Logprob(token=6, piece=b"\xc3", logprob=-1.5),
    )
    one = Logprob(token=5, piece=b"Hi", logprob=-0.5, top=top)
    runner.script = [Chunk(text="Hi", n_tokens=1, logprobs=(one,)), finish()]
    expected = {
        "token": "Hi",
        "logprob": -0.5,
        "bytes": [72, 105],
        "top_logprobs": [
            {"token": "Hi", "logprob": -0.5, "bytes": [72, 105]},
            {"token": "\ufffd", "logprob": -1.5, "bytes": [0xC3]},
        ],
    }
    whole = (await api.post(PATH, json=ask(logprobs=True, top_logprobs=2))).json()
    assert whole["choices"][0]["logprobs"] == {"content": [expected], "refusal": None}
    assert runner.generations[0].logprobs == 2
    first, _ = events(await api.post(PATH, json=ask(logprobs=True, stream=True)))
    assert first["choices"][0]["logprobs"]["content"] == [expected]
    assert runner.generations[1].logprobs == 0


@pytest.mark.parametrize(
    ("form", "constraint"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, Constraint(kind="json")),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "null"}}},
            Constraint(kind="json_schema", text='{"type": "null"}'),
        ),
    ],
)
async def test_forms(
    api: httpx.AsyncClient, runner: FakeRunner, form: dict[str, Any], constraint: Constraint | None
) -> None:
    await api.post(PATH, json=ask(response_format=form))
    assert runner.generations[0].constraint == constraint


async def test_messages_become_a_prompt(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c", "name": "x"},
        {"role": "user", "content": "d"},
    ]
    await api.post(PATH, json=ask(messages=messages))
    prompt = "<s>[system]Be brief.[user]a\nb[assistant]c[user]d[assistant]"
    assert runner.generations[0].prompt == prompt


async def test_calls_and_results_of_tools_become_a_prompt(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    function = {"name": "add", "arguments": '{"a": 1}'}
    messages = [
        {"role": "user", "content": "1+1?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "2"},
    ]
    await api.post(PATH, json=ask(model="caller", messages=messages))
    assert runner.generations[0].prompt == '|add:{"a": 1}||add=2|'


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("[1]", "of an object"),
        ('{"a": NaN}', "not valid JSON"),
        ('{"a": 1} and more', "not valid JSON"),
        ('{"a": ' * 5000 + "1" + "}" * 5000, ""),
        ("[" * 200_000, "not valid JSON"),
        ('{"a": 1' + "0" * 5000 + "}", "not valid JSON"),
    ],
)
async def test_hostile_arguments_of_a_call(
    api: httpx.AsyncClient, arguments: str, words: str
) -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": arguments}}
    messages = [{"role": "assistant", "tool_calls": [call]}]
    response = await api.post(PATH, json=ask(messages=messages))
    assert response.status_code == 400
    assert words in response.json()["error"]["message"]


async def test_half_of_a_character_in_arguments_is_replaced(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": '{"a": "\\ud800"}'}}
    messages = [{"role": "assistant", "tool_calls": [call]}]
    await api.post(PATH, json=ask(model="caller", messages=messages))
    assert "\ud800" not in str(runner.generations[0].prompt)


async def test_fields_may_be_given_and_mean_nothing(api: httpx.AsyncClient) -> None:
    nothing: dict[str, Any] = {
        "logprobs": False, "top_logprobs": 0, "n": None, "stop": None, "tools": [],
        "tool_choice": "auto", "response_format": None, "functions": [], "logit_bias": {},
    }  # fmt: skip
    response = await api.post(PATH, json=ask(**nothing))
    assert response.status_code == 200
    assert "x-cama-ignored" not in response.headers


async def test_fields_without_effect_are_told(api: httpx.AsyncClient) -> None:
    fields = {
        "user": "me", "metadata": {"a": "b"}, "store": False, "verbosity": "low", "temprature": 1,
        "service_tier": "auto", "modalities": ["text"], "functions": None, "bad name\r\nx: y": 1,
    }  # fmt: skip
    for stream in (False, True):
        response = await api.post(PATH, json=ask(stream=stream, **fields))
        assert response.status_code == 200
        told = "user, metadata, store, verbosity, temprature, (1 more)"
        assert response.headers["x-cama-ignored"] == told


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": 3}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "x"}, "messages"),
        ({"messages": ["x"]}, "messages[0]"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {"messages": [{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [
                {"function": {"name": "f", "arguments": "{"}}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"temperature": 3}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"seed": 2**64}, "seed"),
        ({"stop": [1]}, "stop[0]"),
        ({"stop": ["x"] * 300}, "stop"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"٣": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.name"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema.schema",
        ),
        ({"reasoning_effort": "much"}, "reasoning_effort"),
        ({"tools": [{"type": "custom"}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"service_tier": "gold"}, "service_tier"),
        ({"stream_options": []}, "stream_options"),
        ({"keep_alive": "soon"}, "keep_alive"),
        ({"options": {"temperature": "x"}}, "temperature"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_named(
    api: httpx.AsyncClient, runner: FakeRunner, fields: dict[str, Any], param: str
) -> None:
    response = await api.post(PATH, json=ask(**fields))
    error = response.json()["error"]
    assert response.status_code in {400, 500}
    assert error["param"] == param
    assert error["type"] in {"invalid_request_error", "api_error"}
    assert error["message"]
    assert runner.generations == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "missing request body"),
        (b"{", "unexpected EOF"),
        (b"[1]", "array"),
        (b"[" * 100_000, "max depth"),
        (b'{"model": NaN}', "invalid character"),
        (b'{"model": "x", "messages": null}', "at least one message"),
    ],
)
async def test_hostile_bodies(api: httpx.AsyncClient, body: bytes, words: str) -> None:
    response = await api.post(PATH, content=body)
    assert response.status_code == 400
    assert words in response.json()["error"]["message"]


async def test_an_unknown_model_is_a_404(api: httpx.AsyncClient) -> None:
    response = await api.post(PATH, json=ask(model="nobody"))
    assert response.status_code == 404
    assert response.json() == {
        "error": {
            "message": "model 'nobody' not found",
            "type": "not_found_error",
            "param": None,
            "code": "model_not_found",
        }
    }


async def test_a_prompt_that_does_not_fit_has_openais_code(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.script = [PromptTooLong("too long")]
    response = await api.post(PATH, json=ask(stream=True))
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


async def test_a_full_queue_says_when_to_come_back(
    api: httpx.AsyncClient, scheduler: FakeScheduler
) -> None:
    scheduler.error = QueueFull("server busy")
    response = await api.post(PATH, json=ask())
    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert response.json()["error"]["type"] == "api_error"


async def test_an_error_in_the_stream_is_its_last_event(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.script = [Chunk(text="Hi", n_tokens=1), RunnerCrashed("it broke")]
    response = await api.post(PATH, json=ask(stream=True))
    last = response.text.split("\n\n")[-2]
    assert json.loads(last.removeprefix("data: "))["error"]["message"] == "it broke"
    assert "[DONE]" not in response.text


async def test_embedding_models_do_not_chat(api: httpx.AsyncClient) -> None:
    response = await api.post(PATH, json=ask(model="embedder"))
    assert response.status_code == 400
    assert "does not support chat" in response.json()["error"]["message"]


async def test_a_flexible_tier_may_wait(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    await api.post(PATH, json=ask(service_tier="flex"))
    assert runner.generations[0].priority == "batch"
