"""``format`` of generate and chat: what reaches the runner, and what is refused."""

import json
from typing import Any

import httpx
import pytest

from cama.core.errors import InvalidConstraint
from cama.core.generation import Constraint
from tests.api.conftest import lines
from tests.api.fakes import FakeRunner

ENDPOINTS = ["/api/generate", "/api/chat"]


async def ask(
    api: httpx.AsyncClient, path: str, form: Any, *, stream: bool = False
) -> httpx.Response:
    content: dict[str, dict[str, Any]] = {
        "/api/generate": {"prompt": "Hi"},
        "/api/chat": {"messages": [{"role": "user", "content": "Hi"}]},
    }
    return await api.post(
        path, json={"model": "chatty", "stream": stream, "format": form, **content[path]}
    )


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("stream", [True, False])
async def test_format_of_json_asks_for_an_object(
    api: httpx.AsyncClient, runner: FakeRunner, path: str, stream: bool
) -> None:
    response = await ask(api, path, "json", stream=stream)
    assert response.status_code == 200
    assert lines(response)[-1]["done_reason"] == "stop"
    assert runner.generations[0].constraint == Constraint(kind="json")


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_format_of_a_schema_keeps_it_as_it_is(
    api: httpx.AsyncClient, runner: FakeRunner, path: str
) -> None:
    schema = {"type": "object", "properties": {"z": {"const": "ü"}, "a": {"minimum": 1.5}}}
    assert (await ask(api, path, schema)).status_code == 200
    constraint = runner.generations[0].constraint
    assert constraint is not None
    assert (constraint.kind, constraint.after) == ("json_schema", "")
    assert json.loads(constraint.text) == schema
    assert constraint.text.index('"z"') < constraint.text.index('"a"')


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("form", [None, ""])
async def test_format_of_nothing_leaves_the_answer_free(
    api: httpx.AsyncClient, runner: FakeRunner, path: str, form: Any
) -> None:
    assert (await ask(api, path, form)).status_code == 200
    assert runner.generations[0].constraint is None


async def test_format_of_an_empty_schema_is_a_schema(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    await ask(api, "/api/generate", {})
    assert runner.generations[0].constraint == Constraint(kind="json_schema", text="{}")


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("xml", r'"\"xml\""'),
        ('{"type": "object"}', r'"\"{\\\"type\\\": \\\"object\\\"}\""'),
        (5, '"5"'),
        (True, '"true"'),
        (["json"], r'"[\"json\"]"'),
        ("é", r'"\"é\""'),
    ],
)
async def test_format_of_another_kind_is_refused(
    api: httpx.AsyncClient, runner: FakeRunner, path: str, form: Any, shown: str
) -> None:
    response = await ask(api, path, form)
    text = f'invalid format: {shown}; expected "json" or a valid JSON Schema object'
    assert (response.status_code, response.json()) == (400, {"error": text})
    assert runner.generations == []


async def test_refusal_shows_only_the_beginning_of_a_long_format(api: httpx.AsyncClient) -> None:
    error = (await ask(api, "/api/generate", "x" * 100_000)).json()["error"]
    assert error.startswith('invalid format: "\\"xxx')
    assert len(error) < 300


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("stream", [True, False])
async def test_schema_that_the_runner_refuses_is_the_clients_fault(
    api: httpx.AsyncClient, runner: FakeRunner, path: str, stream: bool
) -> None:
    text = "invalid JSON schema in format: Invalid type: strin"
    runner.script = [InvalidConstraint(text)]
    response = await ask(api, path, {"type": "strin"}, stream=stream)
    assert (response.status_code, response.json()) == (400, {"error": text})


@pytest.mark.parametrize(
    ("body", "is_healed"),
    [
        ({"raw": True, "format": "json"}, True),
        ({"raw": True, "format": "json", "options": {"heal": False}}, False),
        ({"raw": True}, False),
        ({"raw": True, "options": {"heal": True}}, True),
        ({"format": "json"}, False),
        ({"format": "json", "options": {"heal": True}}, True),
    ],
)
async def test_open_end_of_a_raw_prompt_is_retaken_for_a_form(
    api: httpx.AsyncClient, runner: FakeRunner, body: dict[str, Any], is_healed: bool
) -> None:
    asked = {"model": "chatty", "stream": False, "prompt": "Hi, I am ", **body}
    assert (await api.post("/api/generate", json=asked)).status_code == 200
    assert runner.generations[0].heal == is_healed
