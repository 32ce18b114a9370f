"""Structured output from the client's side: the official client, and the command line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import pytest
from jsonschema import Draft202012Validator

from tests.e2e.conftest import World

pytestmark = [pytest.mark.e2e, pytest.mark.native]

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "größe": {"enum": ["klein", "groß"]},
    },
    "required": ["name", "age", "größe"],
    "additionalProperties": False,
}
OPTIONS = {"temperature": 1.2, "seed": 7, "num_predict": 200}


@pytest.fixture
def client(server: World) -> Iterator[ollama.Client]:
    with ollama.Client(server.url, trust_env=False) as client:
        yield client


def check(text: str | None) -> None:
    Draft202012Validator(SCHEMA).validate(json.loads(text or ""))


def test_generate_keeps_a_schema(client: ollama.Client, endless: str) -> None:
    answer = client.generate(endless, "Who?", format=SCHEMA, options=OPTIONS)
    assert answer.done_reason == "stop"
    check(answer.response)


def test_chat_keeps_a_schema_while_it_streams(client: ollama.Client, endless: str) -> None:
    messages = [{"role": "user", "content": "Who?"}]
    parts = list(client.chat(endless, messages, format=SCHEMA, options=OPTIONS, stream=True))
    assert parts[-1].done_reason == "stop"
    assert len(parts) > 5
    check("".join(part.message.content or "" for part in parts))


def test_json_mode_gives_an_object(client: ollama.Client, endless: str) -> None:
    answer = client.generate(endless, "Who?", format="json", options={"num_predict": 5})
    assert (answer.response or "").startswith("{")


@pytest.mark.parametrize("stream", [True, False])
def test_bad_schema_is_refused_with_the_reason(
    client: ollama.Client, endless: str, stream: bool
) -> None:
    with pytest.raises(ollama.ResponseError, match="Invalid type: strin") as caught:
        list(client.generate(endless, "Who?", format={"type": "strin"}, stream=stream))  # type: ignore[call-overload]
    assert caught.value.status_code == 400
    check(client.generate(endless, "Who?", format=SCHEMA, options=OPTIONS).response)


def test_run_keeps_a_schema_from_a_file(server: World, endless: str, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA), "utf-8")
    outcome = server.cama("run", endless, "--format", f"@{file}", "Who?")
    assert outcome.returncode == 0, outcome.stderr
    check(outcome.stdout)


def test_run_says_what_is_wrong_with_a_schema(server: World, endless: str) -> None:
    outcome = server.cama("run", endless, "--format", '{"uniqueItems": true}', "Who?")
    assert outcome.returncode == 1
    assert 'invalid JSON schema in format: Unimplemented keys: ["uniqueItems"]' in outcome.stderr
