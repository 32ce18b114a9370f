"""POST /v1/messages and /v1/messages/count_tokens."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from cama.core.errors import QueueFull, RunnerCrashed
from cama.core.generation import Chunk
from cama.store.store import Store
from tests.api.conftest import Create, write
from tests.api.fakes import FakeRunner, FakeScheduler, finish

ANSWER = "<s>[system]Be kind.[user]Hi[assistant]"


def ask(**fields: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": "Hi"}]
    return {"model": "chatty", "max_tokens": 9, "system": "Be kind.", "messages": turns, **fields}


def events(response: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    """The names and data of server-sent events."""
    found = []
    for event in response.text.split("\n\n")[:-1]:
        name, data = event.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def test_a_message_is_answered(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    response = await api.post("/v1/messages", json=ask(temperature=0.5, stop_sequences=["END"]))
    reply = response.json()
    assert response.status_code == 200
    assert reply["content"] == [{"type": "text", "text": "Hello"}]
    assert (reply["model"], reply["stop_reason"]) == ("chatty", "end_turn")
    (generation,) = runner.generations
    assert generation.prompt == ANSWER
    assert (generation.num_predict, generation.stop) == (9, ("END",))
    assert (generation.truncate, generation.shift) == (False, False)
    assert generation.sampling.temperature == 0.5


async def test_a_message_is_streamed(api: httpx.AsyncClient) -> None:
    response = await api.post("/v1/messages", json=ask(stream=True))
    assert response.headers["content-type"].startswith("text/event-stream")
    names, data = zip(*events(response), strict=True)
    assert names == (
        "message_start", "ping", "content_block_start", "content_block_delta",
        "content_block_delta", "content_block_stop", "message_delta", "message_stop",
    )  # fmt: skip
    assert [one["type"] for one in data] == list(names)
    n_prompt = len(ANSWER.removeprefix("<s>")) + 1
    assert data[0]["message"]["usage"]["input_tokens"] == n_prompt


async def test_tokens_are_counted_and_nothing_is_generated(
    api: httpx.AsyncClient, runner: FakeRunner, scheduler: FakeScheduler
) -> None:
    body = ask()
    del body["max_tokens"]
    response = await api.post("/v1/messages/count_tokens", json=body)
    assert response.json() == {"input_tokens": len(ANSWER.removeprefix("<s>")) + 1}
    assert runner.generations == []
    assert len(scheduler.leases) == 1
    assert scheduler.n_active == 0


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    ("fields", "status", "kind", "message"),
    [
        ({"model": "nobody"}, 404, "not_found_error", "model 'nobody' not found"),
        ({"model": None}, 400, "invalid_request_error", "'model' is required"),
        ({"model": "embedder"}, 400, "invalid_request_error", "does not support chat"),
        ({"messages": []}, 400, "invalid_request_error", "at least one message"),
        ({"mcp_servers": [{}]}, 400, "invalid_request_error", "'mcp_servers' is not supported"),
    ],
)
async def test_refusals_have_anthropics_shape(
    api: httpx.AsyncClient, path: str, fields: dict[str, Any], status: int, kind: str, message: str
) -> None:
    body = ask(**fields)
    if path.endswith("count_tokens"):
        del body["max_tokens"]
    response = await api.post(path, json=body, headers={"x-request-id": "mine"})
    reply = response.json()
    assert response.status_code == status
    assert response.headers["request-id"] == reply["request_id"] == "mine"
    assert (reply["type"], reply["error"]["type"]) == ("error", kind)
    assert message in reply["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({"banana": 1, "system": [{"type": "text", "text": "S", "x": 1}]}, "system[0].x, banana"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000}, "thinking"),
        ({"output_config": {"effort": "high"}}, "output_config.effort"),
    ],
)
async def test_what_a_model_cannot_do_is_told_and_left_out(
    api: httpx.AsyncClient, path: str, fields: dict[str, Any], ignored: str
) -> None:
    body = ask(**fields)
    if path.endswith("count_tokens"):
        del body["max_tokens"]
    response = await api.post(path, json=body)
    assert (response.status_code, response.headers["x-cama-ignored"]) == (200, ignored)


THINKER = (
    "{% for t in tools or () %}[{{ t.function.name }}]<tool_call>{% endfor %}"
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ m.reasoning_content }}"
    "{% for c in m.tool_calls or () %}{{ c.function.name }}{% endfor %}{% endfor %}"
    "{{ '<think>' if enable_thinking else '</think>' }}"
)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"system": None},
        {"system": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]},
        {"thinking": {"type": "disabled"}},
        {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000},
        {"tools": [{"name": "add", "input_schema": {"type": "object"}}]},
        {"tools": [{"name": "add", "input_schema": {"type": "object"}}],
         "tool_choice": {"type": "none"}},
        {"messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": ""},
                {"type": "tool_use", "id": "t", "name": "add", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": "7"},
            ]},
        ]},
    ],
)  # fmt: skip
async def test_tokens_are_counted_as_a_message_with_all_of_it_has_them(
    api: httpx.AsyncClient, store: Store, tmp_path: Path, runner: FakeRunner, fields: dict[str, Any]
) -> None:
    write(store, tmp_path, "thinker", {"tokenizer.chat_template": THINKER})
    body = ask(model="thinker", stream=True, **fields)
    name, first = events(await api.post("/v1/messages", json=body))[0]
    assert name == "message_start"
    del body["max_tokens"], body["stream"]
    counted = (await api.post("/v1/messages/count_tokens", json=body)).json()
    assert counted["input_tokens"] == first["message"]["usage"]["input_tokens"]
    prompt = str(runner.generations[0].prompt)
    assert counted["input_tokens"] == len(prompt.encode()) + 1


async def test_images_are_refused(api: httpx.AsyncClient) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "aGk="}
    turn = {"role": "user", "content": [{"type": "image", "source": source}]}
    response = await api.post("/v1/messages", json=ask(messages=[turn]))
    assert response.status_code == 400
    assert response.json()["error"]["message"].endswith("does not support vision")


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_another_version_of_the_api_is_refused(api: httpx.AsyncClient, path: str) -> None:
    response = await api.post(path, json=ask(), headers={"anthropic-version": "2023-01-01"})
    assert response.status_code == 400
    assert "anthropic-version" in response.json()["error"]["message"]


async def test_a_full_queue_is_an_overload(
    api: httpx.AsyncClient, scheduler: FakeScheduler
) -> None:
    scheduler.error = QueueFull("busy")
    response = await api.post("/v1/messages", json=ask(stream=True))
    assert response.status_code == 503
    assert response.json()["error"] == {"type": "overloaded_error", "message": "busy"}


async def test_an_error_in_a_stream_is_its_last_event(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.script = [Chunk(text="Hi", n_tokens=1), RunnerCrashed("it broke")]
    response = await api.post("/v1/messages", json=ask(stream=True))
    name, data = events(response)[-1]
    assert response.status_code == 200
    assert (name, data["type"]) == ("error", "error")
    assert data["error"] == {"type": "api_error", "message": "it broke"}


async def test_a_begun_answer_is_continued(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well,"}]
    await api.post("/v1/messages", json=ask(messages=turns))
    assert runner.generations[0].prompt == "<s>[system]Be kind.[user]Hi[assistant]Well,"


async def test_results_of_tools_reach_the_template(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    call = {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "3"}
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    await api.post("/v1/messages", json=ask(model="caller", messages=turns))
    assert runner.generations[0].prompt == '|add:{"a": 1}||add=3|'


async def test_the_models_own_settings_count(
    api: httpx.AsyncClient, runner: FakeRunner, create: Create
) -> None:
    create("mine", "PARAMETER temperature 0.25\nPARAMETER stop STOP\nSYSTEM Be brief.")
    body = ask(model="mine", system=None)
    await api.post("/v1/messages", json=body)
    (generation,) = runner.generations
    assert generation.sampling.temperature == 0.25
    assert generation.stop == ("STOP",)
    assert str(generation.prompt).startswith("<s>[system]Be brief.")


async def test_a_client_that_leaves_while_tokens_are_counted_ends_the_lease(
    api: httpx.AsyncClient, scheduler: FakeScheduler, runner: FakeRunner,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    waiting = asyncio.Event()

    async def tokenize(text: str, **_: Any) -> list[int]:
        waiting.set()
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(runner, "tokenize", tokenize)
    body = ask()
    del body["max_tokens"]
    task = asyncio.ensure_future(api.post("/v1/messages/count_tokens", json=body))
    await waiting.wait()
    assert scheduler.n_active == 1
    task.cancel()
    await asyncio.wait([task])
    assert scheduler.n_active == 0


async def test_finish_counts_what_was_cached(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    runner.script = [finish(cached_tokens=4)]
    usage = (await api.post("/v1/messages", json=ask())).json()["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (3, 4)
