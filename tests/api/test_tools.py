"""Tools and thoughts in chat: what reaches the template and the runner, and how answers look."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from cama.core.errors import InvalidConstraint
from cama.core.generation import Chunk
from cama.store.store import Store
from tests.api.conftest import lines, write
from tests.api.fakes import FakeRunner, finish

USER = {"role": "user", "content": "Weather in Oslo?"}
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "The time."}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'

HERMES = (
    "{% if tools %}[tools]{{ tools | tojson }}<tool_call>{% endif %}"
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}"
    "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}"
    "{% for c in m.tool_calls %}<tool_call>{{ c.function | tojson }}{% endfor %}"
    "{% if m.role == 'tool' %}({{ m.name }} {{ m.tool_call_id }}){% endif %}{% endfor %}[assistant]"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
)
OPENING = "{% for m in messages %}{{ m.content }}{% endfor %}<think>\n{# </think> #}"


@pytest.fixture(autouse=True)
def models_that_call(store: Store, tmp_path: Path) -> None:
    for name, template in {"hermes": HERMES, "opening": OPENING}.items():
        write(store, tmp_path, name, {"tokenizer.chat_template": template})


async def ask(api: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    body = {"model": "hermes", "messages": [USER], "stream": False, "tools": [TOOL], **fields}
    return await api.post("/api/chat", json=body)


async def message(api: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await ask(api, **fields)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()["message"]
    return answer


async def refusal(api: httpx.AsyncClient, **fields: Any) -> str:
    response = await ask(api, **fields)
    assert response.status_code == 400
    return str(response.json()["error"])


def says(runner: FakeRunner, *texts: str) -> None:
    runner.script = [*(Chunk(text=text, n_tokens=1) for text in texts), finish()]


async def test_a_call_is_a_call_in_the_answer(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    says(runner, "Let me look.\n", CALL)
    answer = await message(api)
    (call,) = answer.pop("tool_calls")
    assert answer == {"role": "assistant", "content": "Let me look."}
    assert call["id"].startswith("call_")
    assert call["function"] == {"index": 0, "name": "weather", "arguments": {"city": "Oslo"}}


async def test_calls_are_streamed_between_texts(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    says(runner, "Hm", "m. ", *CALL, "\n", *CALL)
    *parts, last = lines(await ask(api, stream=True))
    assert [part["message"]["content"] for part in parts] == ["Hm", "m.", "", ""]
    calls = [call for part in parts for call in part["message"].get("tool_calls", [])]
    assert [call["function"]["index"] for call in calls] == [0, 1]
    assert (last["done"], last["done_reason"]) == (True, "stop")
    assert last["message"] == {"role": "assistant", "content": ""}


async def test_tools_and_what_they_said_reach_the_template(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    said = {"id": "c1", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
    turns = [
        USER,
        {"role": "assistant", "content": "", "thinking": "Hm.", "tool_calls": [said]},
        {"role": "tool", "content": "-3", "tool_name": "weather", "tool_call_id": "c1"},
    ]
    await message(api, messages=turns, tools=[TOOL, CLOCK])
    prompt = runner.generations[0].prompt
    assert isinstance(prompt, str)
    shown, _, rest = prompt.removeprefix("[tools]").partition("<tool_call>")
    clock = {**CLOCK["function"], "parameters": {"type": "object", "properties": {}}}  # type: ignore[dict-item]
    assert json.loads(shown) == [TOOL, {"type": "function", "function": clock}]
    assert rest == (
        "[user]Weather in Oslo?[assistant]<think>Hm.</think>"
        '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}'
        "[tool]-3(weather c1)[assistant]"
    )


async def test_the_runner_shows_the_marks_of_the_family(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    await message(api)
    assert set(runner.generations[0].visible) >= {"<tool_call>", "</tool_call>", "<think>"}
    await ask(api, model="chatty", tools=[])
    assert runner.generations[1].visible == ()


@pytest.mark.parametrize("choice", ["required", {"function": {"name": "weather"}}])
async def test_a_required_call_holds_the_answer_to_it(
    api: httpx.AsyncClient, runner: FakeRunner, choice: Any
) -> None:
    await message(api, tools=[TOOL, CLOCK], tool_choice=choice)
    constraint = runner.generations[0].constraint
    assert constraint is not None
    assert constraint.kind == "rules"
    schemas = json.loads(constraint.text)["schemas"]
    assert len(schemas) == (2 if choice == "required" else 1)


async def test_no_choice_offers_no_tools(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    says(runner, CALL)
    answer = await message(api, tool_choice="none")
    assert answer == {"role": "assistant", "content": CALL}
    assert "[tools]" not in str(runner.generations[0].prompt)


async def test_only_one_call_where_they_must_not_be_parallel(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    says(runner, CALL, CALL)
    assert len((await message(api, parallel_tool_calls=False))["tool_calls"]) == 1


async def test_a_schema_that_cannot_be_kept_is_told(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    runner.script = [InvalidConstraint("invalid JSON schema: Invalid type: strin")]
    error = await refusal(api, tool_choice="required")
    assert error == "invalid JSON schema: Invalid type: strin"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"tools": ["weather"]}, "tools[0] must be an object"),
        ({"tools": [{"type": "web_search"}]}, 'tools[0].type must be "function"'),
        ({"tools": [{"type": "function"}]}, "tools[0].function must be an object"),
        ({"tools": [TOOL, {"function": {}}]},
         "tools[1].function.name must be a string that is not empty"),
        ({"tools": [{"function": {"name": "a", "parameters": []}}]},
         "tools[0].function.parameters must be a JSON Schema object"),
        ({"tools": [{"function": {"name": "a", "parameters": {"type": "string"}}}]},
         'tools[0].function.parameters.type must be "object"'),
        ({"tools": [{"function": {"name": "a\n"}}]},
         "tools[0].function.name must be at most 256 characters, all of them printable"),
        ({"tool_choice": "always"}, 'tool_choice must be "auto", "none", "required" or '
         '{"type": "function", "function": {"name": ...}}'),
        ({"tool_choice": {"function": {"name": "clock"}}},
         "tool_choice names a tool that is not in tools: 'clock'"),
        ({"tools": [], "tool_choice": "required"}, "tool_choice needs tools"),
        ({"model": "chatty"}, "registry.ollama.ai/library/chatty:latest does not support tools"),
        ({"model": "chatty", "tools": [], "think": True}, '"chatty" does not support thinking'),
        ({"model": "chatty", "tools": [], "think": "low"}, '"chatty" does not support thinking'),
    ],
)  # fmt: skip
async def test_what_cannot_be_asked_is_told(
    api: httpx.AsyncClient, runner: FakeRunner, fields: dict[str, Any], error: str
) -> None:
    assert await refusal(api, **fields) == error
    assert runner.generations == []


@pytest.mark.parametrize("think", [None, True, "low"])
async def test_thoughts_are_apart_from_the_text(
    api: httpx.AsyncClient, runner: FakeRunner, think: Any
) -> None:
    says(runner, "<think>", "Hm", "m.</", "think>\n\nHi")
    *parts, _ = lines(await ask(api, stream=True, think=think))
    assert [part["message"] for part in parts] == [
        {"role": "assistant", "content": "", "thinking": "Hm"},
        {"role": "assistant", "content": "", "thinking": "m."},
        {"role": "assistant", "content": "Hi"},
    ]


async def test_thoughts_and_text_of_a_whole_answer(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    says(runner, "<think>Hm", "m.</think>Hi ", "there")
    expected = {"role": "assistant", "content": "Hi there", "thinking": "Hmm."}
    assert await message(api) == expected


async def test_thoughts_that_the_prompt_opens(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    says(runner, "Hm.\n</think>\n\nHi")
    answer = await message(api, model="opening", tools=[])
    assert answer == {"role": "assistant", "content": "Hi", "thinking": "Hm.\n"}


async def test_thinking_off_reaches_the_template_and_drops_thoughts(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    says(runner, "Hm.</think>Hi")
    answer = await message(api, model="opening", tools=[], think=False)
    assert answer == {"role": "assistant", "content": "Hi"}
    await message(api, think=False)
    assert str(runner.generations[1].prompt).endswith("<think></think>")


async def test_a_form_waits_for_the_end_of_thoughts(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    says(runner, 'Hm.</think>{"n": 1}')
    answer = await message(api, model="opening", tools=[], format="json")
    assert (answer["content"], answer["thinking"]) == ('{"n": 1}', "Hm.")
    constraint = runner.generations[0].constraint
    assert constraint is not None
    assert constraint.kind == "rules"
    assert "</think>" in json.loads(constraint.text)["lark"]


async def test_generate_thinks_too(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    says(runner, "<think>Hm.</think>Hi")
    body = {"model": "hermes", "prompt": "Hi", "stream": False}
    answer = (await api.post("/api/generate", json=body)).json()
    assert (answer["response"], answer["thinking"]) == ("Hi", "Hm.")
    raw = (await api.post("/api/generate", json=body | {"raw": True})).json()
    assert raw["response"] == "<think>Hm.</think>Hi"


async def test_raw_prompts_may_ask_a_thinking_model_to_think(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    body = {"model": "hermes", "prompt": "Hi", "stream": False, "raw": True, "think": True}
    assert (await api.post("/api/generate", json=body)).status_code == 200
    refused = await api.post("/api/generate", json=body | {"model": "chatty"})
    assert refused.json() == {"error": '"chatty" does not support thinking'}


async def test_calls_are_spelled_out_where_a_template_has_no_place_for_them(
    api: httpx.AsyncClient, runner: FakeRunner, store: Store, tmp_path: Path
) -> None:
    template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{# <tool_call> #}"
    write(store, tmp_path, "silent", {"tokenizer.chat_template": template})
    said = {"function": {"name": "weather", "arguments": {"city": "Oslo"}}}
    turns = [USER, {"role": "assistant", "tool_calls": [said]}, {"role": "tool", "content": "-3"}]
    await message(api, model="silent", messages=turns)
    assert runner.generations[0].prompt == f"[user]Weather in Oslo?[assistant]{CALL}[tool]-3"


OSS = (
    "<|start|>{% for t in tools or () %}[{{ t.function.name }}]{% endfor %}{% for m in messages %}"
    "{{ m.content }}{% for c in m.tool_calls or () %}<{{ c.function.name }}>{% endfor %}"
    "{% if m.role == 'tool' %}({{ m.name }}){% endif %}{% endfor %}<|channel|><|message|>"
)


async def test_odd_names_of_tools_are_identifiers_to_gpt_oss_alone(
    api: httpx.AsyncClient, runner: FakeRunner, store: Store, tmp_path: Path
) -> None:
    write(store, tmp_path, "oss", {"tokenizer.chat_template": OSS})
    answer = "<|channel|>commentary to=functions.get_weather<|message|>{}"
    runner.script = [Chunk(text=answer, n_tokens=5), finish()]
    tool = {"type": "function", "function": {"name": "get-weather", "description": "d"}}
    call = {"id": "1", "function": {"name": "get-weather", "arguments": {}}}
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "5", "tool_name": "get-weather"},
    ]
    body = {"model": "oss", "messages": messages, "tools": [tool], "stream": False}
    choice = {"type": "function", "function": {"name": "get-weather"}}
    for extra in ({}, {"tool_choice": choice}):
        reply = (await api.post("/api/chat", json=body | extra)).json()
        assert reply["message"]["tool_calls"][0]["function"]["name"] == "get-weather"
        generation = runner.generations[-1]
        assert "[get_weather]Hi<get_weather>5(get_weather)" in str(generation.prompt)
        assert "get-weather" not in str(generation.prompt)
    assert generation.constraint is not None
    assert "functions.get_weather" in generation.constraint.text
