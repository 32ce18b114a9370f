"""Tools and thoughts in OpenAI's two forms."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from cama.core.generation import Chunk
from cama.store.store import Store
from tests.api.conftest import write
from tests.api.fakes import FakeRunner, finish
from tests.api.openai.test_chat import events as chat_events
from tests.api.openai.test_responses import events as response_events
from tests.api.test_tools import CALL, CLOCK, HERMES, PARAMETERS, TOOL, says

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
FLAT = {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": True}
THOUGHT = "<think>Hm.</think>"


@pytest.fixture(autouse=True)
def model_that_calls(store: Store, tmp_path: Path) -> None:
    write(store, tmp_path, "hermes", {"tokenizer.chat_template": HERMES})


def chat(**fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Weather?"}]
    return {"model": "hermes", "messages": messages, "tools": [TOOL], **fields}


def response(**fields: Any) -> dict[str, Any]:
    return {"model": "hermes", "input": "Weather?", "tools": [FLAT], **fields}


async def test_a_chat_calls(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    says(runner, CALL)
    (choice,) = (await api.post(CHAT, json=chat())).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["id"].startswith("call_")
    function = {"name": "weather", "arguments": '{"city": "Oslo"}'}
    assert (call["type"], call["function"]) == ("function", function)


async def test_a_call_that_is_cut_short_ends_for_its_length(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.script = [Chunk(text=CALL, n_tokens=1), finish("length")]
    (choice,) = (await api.post(CHAT, json=chat())).json()["choices"]
    assert choice["finish_reason"] == "length"


async def test_a_chat_streams_thoughts_text_and_calls(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    says(runner, THOUGHT, "Let me look.", CALL, CALL)
    chunks = chat_events(await api.post(CHAT, json=chat(stream=True)))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    thoughts = "".join(delta.get("reasoning", "") for delta in deltas)
    assert thoughts == "".join(delta.get("reasoning_content", "") for delta in deltas) == "Hm."
    assert "".join(delta.get("content", "") for delta in deltas).strip() == "Let me look."
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    assert [call["index"] for call in calls] == [0, 1]
    assert len({call["id"] for call in calls}) == 2
    assert json.loads(calls[0]["function"]["arguments"]) == {"city": "Oslo"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("choice", "constrained"),
    [
        ("auto", False),
        ("required", True),
        ({"type": "function", "function": {"name": "weather"}}, True),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"function": {"name": "clock"}}]},
            },
            True,
        ),
    ],
)
async def test_the_choice_of_tools_is_honoured(
    api: httpx.AsyncClient, runner: FakeRunner, choice: Any, constrained: bool
) -> None:
    await api.post(CHAT, json=chat(tools=[TOOL, CLOCK], tool_choice=choice))
    (made,) = runner.generations
    held = made.constraint is not None and "clock" in made.constraint.text
    if isinstance(choice, dict) and choice["type"] == "allowed_tools":
        assert "weather" not in str(made.prompt)
    elif constrained:
        assert held == (choice == "required")
    assert constrained <= (made.constraint is not None)


async def test_thinking_can_be_switched_off(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    await api.post(CHAT, json=chat(reasoning_effort="none"))
    await api.post(RESPONSES, json=response(reasoning={"effort": "none"}))
    assert all(str(made.prompt).endswith("<think></think>") for made in runner.generations)


@pytest.mark.parametrize(
    ("fields", "thinks"),
    [
        ({"reasoning_effort": "ultra"}, True),
        ({"reasoning": {"effort": "none"}, "reasoning_effort": "high"}, False),
        ({"reasoning": {"effort": "high"}, "reasoning_effort": "none"}, True),
    ],
)
async def test_how_hard_to_think_is_told_in_either_field(
    api: httpx.AsyncClient, runner: FakeRunner, fields: dict[str, Any], thinks: bool
) -> None:
    assert (await api.post(CHAT, json=chat(**fields))).status_code == 200
    assert str(runner.generations[0].prompt).endswith("<think></think>") != thinks


async def test_a_namespace_holds_functions(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    space = {"type": "namespace", "name": "sky", "description": "Above.", "tools": [FLAT]}
    says(runner, CALL.replace("weather", "sky.weather"))
    answer = await api.post(RESPONSES, json=response(tools=[space]))
    (call,) = answer.json()["output"]
    assert (call["name"], json.loads(call["arguments"])) == ("sky.weather", {"city": "Oslo"})
    assert '"name": "sky.weather"' in str(runner.generations[0].prompt)
    assert answer.headers["x-cama-ignored"] == "tools[0].tools[0].strict"
    nested = await api.post(RESPONSES, json=response(tools=[space | {"tools": [space]}]))
    assert nested.json()["error"]["param"] == "tools[0].tools[0].type"


async def test_a_model_that_cannot_think_is_not_asked_to(api: httpx.AsyncClient) -> None:
    ask = {**chat(model="chatty"), "tools": [], "reasoning_effort": "high"}
    refused = await api.post(CHAT, json=ask)
    assert refused.status_code == 400
    assert "does not support thinking" in refused.json()["error"]["message"]


async def test_a_response_calls(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    says(runner, THOUGHT, CALL)
    include = ["reasoning.encrypted_content"]
    body = (await api.post(RESPONSES, json=response(include=include))).json()
    thoughts, call = body["output"]
    assert thoughts["summary"] == [{"type": "summary_text", "text": "Hm."}]
    assert thoughts["encrypted_content"] == "Hm."
    assert (call["type"], call["status"], call["name"]) == ("function_call", "completed", "weather")
    assert json.loads(call["arguments"]) == {"city": "Oslo"}
    assert body["tools"] == [FLAT]


async def test_a_response_streams_its_items(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    says(runner, THOUGHT, "Look: ", CALL)
    found = response_events(await api.post(RESPONSES, json=response(stream=True)))
    added = [e for e in found if e["type"] == "response.output_item.added"]
    done = [e for e in found if e["type"] == "response.output_item.done"]
    assert [e["item"]["type"] for e in added] == ["reasoning", "message", "function_call"]
    assert [e["output_index"] for e in added] == [e["output_index"] for e in done] == [0, 1, 2]
    assert found[-1]["response"]["output"] == [e["item"] for e in done]
    kinds = {e["type"].removeprefix("response.") for e in found}
    assert kinds >= {
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "function_call_arguments.delta",
        "function_call_arguments.done",
    }


async def test_the_result_of_a_call_comes_back(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    says(runner, THOUGHT, CALL)
    first = (await api.post(RESPONSES, json=response())).json()
    call = first["output"][-1]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "4 degrees"}
    await api.post(RESPONSES, json=response(input=[output], previous_response_id=first["id"]))
    prompt = str(runner.generations[1].prompt)
    _, _, rest = prompt.partition("[user]Weather?")
    function = '{"name": "weather", "arguments": {"city": "Oslo"}}'
    assert rest.startswith(f"[assistant]<think>Hm.</think><tool_call>{function}[tool]4 degrees")
    assert f"(weather {call['call_id']})" in rest
