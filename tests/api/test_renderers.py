"""Which of a renderer, a Go template and a Jinja template makes a model's prompts."""

import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from cama.api.app import create_app
from cama.api.templates import _log_choice
from cama.core.generation import Chunk
from cama.core.settings import Settings
from cama.store.store import Store
from cama.templates.renderers.table import RENDERERS
from tests.api.conftest import Create, lines, write
from tests.api.fakes import FakeRunner, FakeScheduler, finish

USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "now", "description": "The time"}}


async def ask(api: httpx.AsyncClient, model: str, **fields: Any) -> httpx.Response:
    body = {"model": model, "messages": [USER], "stream": False, **fields}
    return await api.post("/api/chat", json=body)


async def capabilities(api: httpx.AsyncClient, model: str) -> list[str]:
    shown = (await api.post("/api/show", json={"model": model})).json()
    found: list[str] = shown["capabilities"]
    return found


@pytest.mark.parametrize("base", ["base", "chatty"])
async def test_a_renderer_makes_the_prompt_whatever_templates_there_are(
    api: httpx.AsyncClient, create: Create, runner: FakeRunner, base: str
) -> None:
    create("built", "RENDERER qwen3-vl-instruct\nTEMPLATE {{ .Prompt }}", base=base)
    assert (await ask(api, "built")).status_code == 200
    assert runner.generations[0].prompt == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("name", RENDERERS)
async def test_every_renderer_answers_with_its_parser(
    api: httpx.AsyncClient, create: Create, runner: FakeRunner, name: str
) -> None:
    create("built", f"RENDERER {name}", base="base")
    found = await capabilities(api, "built")
    assert found[0] == "completion"
    assert ("tools" in found) == (name not in {"olmo3-think", "olmo3-32b-think"})
    runner.script = [Chunk(text="Hello", n_tokens=1), finish()]
    tools = [TOOL] if "tools" in found else []
    answer = await ask(api, "built", tools=tools)
    assert answer.status_code == 200, answer.text
    message = answer.json()["message"]
    assert "Hello" in (message["content"], message.get("thinking"))
    prompt = str(runner.generations[0].prompt)
    assert "Hi" in prompt
    assert not tools or "now" in prompt


async def test_a_parser_reads_calls_that_a_renderer_asked_for(
    api: httpx.AsyncClient, create: Create, runner: FakeRunner
) -> None:
    create("built", "RENDERER qwen3-coder\nPARSER qwen3-coder", base="base")
    call = "<tool_call>\n<function=now>\n</function>\n</tool_call>"
    runner.script = [Chunk(text=call, n_tokens=9), finish()]
    message = (await ask(api, "built", tools=[TOOL])).json()["message"]
    assert [c["function"]["name"] for c in message["tool_calls"]] == ["now"]
    calls = [{"role": "assistant", "content": "", "tool_calls": message["tool_calls"]}]
    await ask(api, "built", messages=[USER, *calls, {"role": "tool", "content": "5"}])
    assert call in str(runner.generations[1].prompt)


async def test_a_parser_reads_calls_also_in_a_turn_without_tools(
    api: httpx.AsyncClient, create: Create, runner: FakeRunner
) -> None:
    create("built", "RENDERER qwen3-coder\nPARSER qwen3-coder", base="base")
    call = "<tool_call>\n<function=now>\n</function>\n</tool_call>"
    runner.script = [Chunk(text=call, n_tokens=9), finish()]
    message = (await ask(api, "built")).json()["message"]
    assert [c["function"]["name"] for c in message["tool_calls"]] == ["now"]
    refusing = {"model": "built", "messages": [USER], "tools": [TOOL], "tool_choice": "none"}
    choice = (await api.post("/v1/chat/completions", json=refusing)).json()["choices"][0]
    assert (choice["message"]["content"], choice["message"].get("tool_calls")) == (call, None)


async def test_generate_tells_calls_at_the_end_where_the_model_has_a_parser(
    api: httpx.AsyncClient, create: Create, runner: FakeRunner
) -> None:
    create("parsed", "RENDERER qwen3-coder\nPARSER qwen3-coder", base="base")
    create("plain", "TEMPLATE {{ .Tools }}{{ .Prompt }}{{/* <tool_call> */}}", base="base")
    call = "<tool_call>\n<function=now>\n</function>\n</tool_call>"
    texts = ("Let me see.", call[:9], call[9:], call)
    runner.script = [*(Chunk(text=text, n_tokens=1) for text in texts), finish()]
    body = {"model": "parsed", "prompt": "Hi"}
    *parts, last = lines(await api.post("/api/generate", json=body))
    assert [part["response"] for part in parts] == ["Let me see."]
    assert not any("tool_calls" in part for part in parts)
    functions = [call["function"] for call in last["tool_calls"]]
    assert [(one["name"], one["index"]) for one in functions] == [("now", 0), ("now", 1)]
    whole = (await api.post("/api/generate", json=body | {"stream": False})).json()
    assert whole["response"] == "Let me see."
    assert [call["function"] for call in whole["tool_calls"]] == functions
    plain = (
        await api.post("/api/generate", json=body | {"model": "plain", "stream": False})
    ).json()
    assert (plain["response"], plain.get("tool_calls")) == ("".join(texts), None)
    raw = (await api.post("/api/generate", json=body | {"raw": True, "stream": False})).json()
    assert raw["response"] == "".join(texts)


async def test_a_parser_alone_gives_its_abilities_to_a_template(
    api: httpx.AsyncClient, create: Create
) -> None:
    create("plain", "TEMPLATE {{ .Prompt }}", base="base")
    create("parsed", "TEMPLATE {{ .Prompt }}\nPARSER qwen3-thinking", base="base")
    create("unknown", "TEMPLATE {{ .Prompt }}\nPARSER nobody", base="base")
    assert await capabilities(api, "plain") == ["completion"]
    assert await capabilities(api, "parsed") == ["completion", "tools", "thinking"]
    assert await capabilities(api, "unknown") == ["completion"]


@pytest.mark.parametrize(("name", "is_large"), [("g-e4b", False), ("g-31b", True), ("g", False)])
async def test_gemma_has_the_renderer_of_its_size(
    api: httpx.AsyncClient, create: Create, runner: FakeRunner, name: str, is_large: bool
) -> None:
    create(name, "RENDERER gemma4", base="base")
    assert (await ask(api, name, think=False)).status_code == 200
    prompt = str(runner.generations[0].prompt)
    assert prompt.endswith("<|channel>thought\n<channel|>") == is_large


GO, OWN = "go: Hi", "<s>[user]Hi[assistant]"
DOES_MORE = OWN.replace("<s>", "") + "<tool_call>"


@pytest.mark.parametrize(
    ("base", "go_first", "prompt"),
    [
        ("chatty", None, GO), ("chatty", True, GO), ("chatty", False, OWN),
        ("calls", None, DOES_MORE), ("calls", True, GO), ("calls", False, DOES_MORE),
    ],
)  # fmt: skip
async def test_a_setting_decides_between_two_templates(
    store: Store, create: Create, scheduler: FakeScheduler, runner: FakeRunner, tmp_path: Path,
    base: str, go_first: bool | None, prompt: str,
) -> None:  # fmt: skip
    own = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]<tool_call>"
    write(store, tmp_path, "calls", {"tokenizer.chat_template": own})
    create("two", "TEMPLATE go: {{ .Prompt }}", base=base)
    settings = Settings(offline=True, models=store.root, go_template=go_first)
    transport = httpx.ASGITransport(create_app(settings, store, scheduler))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as api:
        assert (await ask(api, "two")).status_code == 200
        assert runner.generations[0].prompt == prompt
        assert ("tools" in await capabilities(api, "two")) == (prompt == DOES_MORE)


async def test_an_unknown_renderer_is_an_error(api: httpx.AsyncClient, create: Create) -> None:
    create("odd", 'RENDERER x"y', base="base")
    answer = await ask(api, "odd")
    assert (answer.status_code, answer.json()["error"]) == (500, 'unknown renderer "x"y"')


async def test_an_unknown_renderer_gives_way_to_the_files_template(
    api: httpx.AsyncClient, create: Create, runner: FakeRunner, caplog: pytest.LogCaptureFixture
) -> None:
    _log_choice.cache_clear()
    create("odd", "RENDERER glimmer")
    with caplog.at_level(logging.INFO):
        await ask(api, "odd")
    assert runner.generations[0].prompt == "<s>[user]Hi[assistant]"
    assert "instead of the renderer 'glimmer', which Cama does not have" in caplog.text
