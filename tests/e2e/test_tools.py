"""Calls of tools by a real engine: random weights call what the grammar holds them to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from cama.gguf import GGUFFile
from cama.gguf.values import Array, ValueType
from tests.e2e.conftest import World
from tests.rewriting import rewrite

pytestmark = [pytest.mark.e2e, pytest.mark.native]

TEMPLATE = (
    "{% for tool in tools or [] %}<tool_call>{{ tool.function.name }}{% endfor %}"
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}[assistant]"
    "{# <think></think> #}"
)
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 10},
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["city", "unit", "days"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]
MARKS = {259: "<tool_call>", 260: "</tool_call>", 261: "</think>"}
_CONTROL = 3


@pytest.fixture
def caller(tiny_model: Callable[..., Path], tmp_path: Path) -> str:
    """Random weights with a template for tools, whose marks are control tokens."""
    source = tiny_model("llama", "Q8_0")
    with GGUFFile.open(source) as file:
        tokens = list(file.get("tokenizer.ggml.tokens", []))
        types = list(file.get("tokenizer.ggml.token_type", []))
    for token, mark in MARKS.items():
        tokens[token] = mark
        types[token] = _CONTROL
    changes: dict[str, Any] = {
        "tokenizer.chat_template": TEMPLATE,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": Array(ValueType.INT32, types),
    }
    return str(rewrite(source, tmp_path / "caller.gguf", changes))


def ask(server: World, model: str, **fields: Any) -> httpx.Response:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Weather?"}],
        "tools": TOOLS,
        "stream": False,
        "options": {"temperature": 1.5, "seed": 3, "num_predict": 300},
    }
    return httpx.post(f"{server.url}/api/chat", json=body | fields, timeout=100)


def test_a_required_call_is_made_and_fits_its_schema(server: World, caller: str) -> None:
    for seed in range(3):
        options = {"temperature": 1.5, "seed": seed, "num_predict": 300}
        response = ask(
            server, caller, tool_choice="required", parallel_tool_calls=False, think=False,
            options=options,
        )  # fmt: skip
        answer = response.json()
        (call,) = answer["message"]["tool_calls"]
        assert (call["function"]["name"], answer["message"]["content"]) == ("weather", "")
        Draft202012Validator(PARAMETERS).validate(call["function"]["arguments"])
        assert answer["done_reason"] == "stop"


def test_a_form_is_kept_behind_thoughts(server: World, caller: str) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 99}},
              "required": ["n"], "additionalProperties": False}  # fmt: skip
    for seed in range(8):  # thoughts of random weights seldom end
        options = {"temperature": 1.5, "seed": seed, "num_predict": 300}
        answer = ask(server, caller, tools=[], format=schema, options=options).json()
        if answer["done_reason"] == "stop":
            Draft202012Validator(schema).validate(json.loads(answer["message"]["content"]))
            return
        assert answer["message"].get("thinking") or answer["message"]["content"].strip() == ""
    raise AssertionError("no answer ended")


def test_a_schema_that_cannot_be_kept_is_refused(server: World, caller: str) -> None:
    wrong = {"type": "object", "properties": {"a": {"type": "strin"}}, "required": ["a"]}
    tools = [{"type": "function", "function": {"name": "f", "parameters": wrong}}]
    response = ask(server, caller, tools=tools, tool_choice="required")
    assert response.status_code == 400
    assert "Invalid type: strin" in response.json()["error"]
