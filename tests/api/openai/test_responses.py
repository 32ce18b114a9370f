"""POST /v1/responses in process, and what is kept of them."""

import json
from typing import Any

import httpx
import pytest

from cama.api.responses import Responses
from cama.core.errors import RunnerCrashed
from cama.core.generation import Chunk, Constraint
from tests.api.fakes import FakeRunner, finish

PATH = "/v1/responses"


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": "chatty", "input": "Hi", **fields}


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream, whose names and numbers must be right."""
    found = []
    for number, text in enumerate(response.text.split("\n\n")[:-1]):
        name, data = text.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert event["sequence_number"] == number
        found.append(event)
    return found


async def test_a_whole_response(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    body = (await api.post(PATH, json=ask(instructions="Be kind.", metadata={"a": "b"}))).json()
    assert body["id"].startswith("resp_")
    assert (body["object"], body["status"], body["model"]) == ("response", "completed", "chatty")
    (item,) = body["output"]
    assert item["id"].startswith("msg_")
    assert (item["type"], item["role"], item["status"]) == ("message", "assistant", "completed")
    text = {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
    assert item["content"] == [text]
    assert body["usage"]["input_tokens"] == 7
    assert body["usage"]["output_tokens"] == 2
    assert (body["instructions"], body["metadata"]) == ("Be kind.", {"a": "b"})
    assert body["text"] == {"format": {"type": "text"}}
    assert runner.generations[0].prompt == "<s>[system]Be kind.[user]Hi[assistant]"


async def test_a_stream(api: httpx.AsyncClient) -> None:
    found = events(await api.post(PATH, json=ask(stream=True)))
    assert [event["type"].removeprefix("response.") for event in found] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["delta"] for event in found if "delta" in event] == ["Hel", "lo"]
    last = found[-1]["response"]
    assert last["output"] == [found[-2]["item"]]
    assert last["output"][0]["content"][0]["text"] == "Hello"
    assert len({event["item_id"] for event in found if "item_id" in event}) == 1
    assert found[0]["response"]["status"] == "in_progress"


async def test_an_answer_that_is_cut_is_incomplete(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.script = [Chunk(text="Hi", n_tokens=1), finish("length")]
    body = (await api.post(PATH, json=ask(max_output_tokens=1))).json()
    assert body["status"] == "incomplete"
    assert body["incomplete_details"] == {"reason": "max_output_tokens"}
    assert body["output"][0]["status"] == "incomplete"
    last = events(await api.post(PATH, json=ask(max_output_tokens=1, stream=True)))[-1]
    assert last["type"] == "response.incomplete"


async def test_an_error_in_the_stream_fails_the_response(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.script = [Chunk(text="Hi", n_tokens=1), RunnerCrashed("it broke")]
    last = events(await api.post(PATH, json=ask(stream=True)))[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"] == {"code": "server_error", "message": "it broke"}


async def test_a_response_goes_on_from_the_one_before(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    first = (await api.post(PATH, json=ask(instructions="Once."))).json()
    second = (await api.post(PATH, json=ask(input="And?", previous_response_id=first["id"]))).json()
    await api.post(PATH, json=ask(input="So?", previous_response_id=second["id"], stream=True))
    assert second["previous_response_id"] == first["id"]
    assert [made.prompt for made in runner.generations[1:]] == [
        "<s>[user]Hi[assistant]Hello[user]And?[assistant]",
        "<s>[user]Hi[assistant]Hello[user]And?[assistant]Hello[user]So?[assistant]",
    ]


async def test_a_kept_response_is_found_until_it_is_deleted(api: httpx.AsyncClient) -> None:
    made = (await api.post(PATH, json=ask())).json()
    where = f"{PATH}/{made['id']}"
    assert (await api.get(where)).json() == made
    assert (await api.delete(where)).json()["deleted"] is True
    for method in ("GET", "DELETE"):
        gone = await api.request(method, where)
        assert gone.status_code == 404
        assert gone.json()["error"]["code"] == "response_not_found"
    refused = await api.post(PATH, json=ask(previous_response_id=made["id"]))
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "previous_response_id"


async def test_a_response_is_not_kept_against_ones_will(api: httpx.AsyncClient) -> None:
    made = (await api.post(PATH, json=ask(store=False))).json()
    assert made["store"] is False
    assert (await api.get(f"{PATH}/{made['id']}")).status_code == 404


def test_few_responses_are_kept_those_of_each_tenant_apart() -> None:
    kept = Responses(most=2)
    for name in ("a", "b"):
        kept.keep("me", {"id": name, "output": []}, ())
    assert kept.get("you", "a") is None
    assert kept.get("me", "a")
    kept.keep("me", {"id": "c", "output": []}, ())
    assert [bool(kept.get("me", name)) for name in "abc"] == [True, False, True]


def test_kept_responses_are_bounded_in_bytes() -> None:
    kept = Responses(most_bytes=1000)
    for i in range(20):
        kept.keep("", {"id": f"{i}", "output": [{"text": "x" * 200}]}, ())
    assert kept.get("", "19")
    assert kept.get("", "17") is None
    kept.keep("", {"id": "huge", "output": [{"text": "x" * 2000}]}, ())
    assert kept.get("", "huge") is None
    assert not kept.delete("", "huge")


async def test_items_become_a_prompt(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    items = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "1+1?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'},
        {"type": "function_call", "call_id": "c2", "name": "sub", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c2", "output": "0"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "2"}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "message", "role": "user", "content": "Thanks"},
    ]
    await api.post(PATH, json=ask(model="caller", input=items))
    assert runner.generations[0].prompt == '|add:{"a": 1}||sub:{}||sub=0|'
    await api.post(PATH, json=ask(input=items))
    prompt = "<s>[system]Be brief.[user]1+1?[assistant][tool]0[assistant]2[user]Thanks[assistant]"
    assert runner.generations[1].prompt == prompt


async def test_a_form_is_held_to(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    form = {"type": "json_schema", "name": "x", "schema": {"type": "null"}, "strict": True}
    response = await api.post(PATH, json=ask(text={"format": form, "verbosity": "low"}))
    assert runner.generations[0].constraint == Constraint(
        kind="json_schema", text='{"type": "null"}'
    )
    assert response.json()["text"]["format"] == form
    assert response.headers["x-cama-ignored"] == "text.verbosity"


async def test_a_long_conversation_is_cut_when_told(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    await api.post(PATH, json=ask())
    await api.post(PATH, json=ask(truncation="auto"))
    assert [made.truncate for made in runner.generations] == [False, True]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 1}, "input"),
        ({"input": ["x"]}, "input[0]"),
        ({"input": [{}]}, "input[0].type"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file"}]}]},
            "input[0].content[0].type",
        ),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        (
            {"input": [{"type": "function_call", "name": "f", "call_id": "c", "arguments": "["}]},
            "input[0].arguments",
        ),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0]"),
        ({"background": True}, "background"),
        ({"conversation": "x"}, "conversation"),
        ({"prompt": {"id": "x"}}, "prompt"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"truncation": "some"}, "truncation"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"reasoning": {"effort": "much"}}, "reasoning.effort"),
        ({"previous_response_id": "resp_x"}, "previous_response_id"),
        ({"metadata": []}, "metadata"),
    ],
)
async def test_what_is_wrong_is_named(
    api: httpx.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    response = await api.post(PATH, json=ask(**fields))
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
