"""Structured output from the client's side: the official client, and the command line."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
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


GRAMMARS: list[tuple[Any, str]] = [
    ('root ::= "yes" | "no" [!?]', "yes|no[!?]"),
    ({"syntax": "regex", "definition": "[0-9]{3}-[a-f]{2}"}, "[0-9]{3}-[a-f]{2}"),
    ({"syntax": "lark", "definition": "start: x{2,3}\nx: /[xyü]/"}, "[xyü]{2,3}"),
]


@pytest.mark.parametrize(("grammar", "pattern"), GRAMMARS)
@pytest.mark.parametrize("path", ["/api/generate", "/v1/completions"])
def test_answers_match_a_grammar(
    server: World, endless: str, path: str, grammar: Any, pattern: str
) -> None:
    body = {"model": endless, "prompt": "Who?", "stream": False, "grammar": grammar}
    answer = httpx.post(server.url + path, json=body, trust_env=False, timeout=60).json()
    text = answer["response"] if "response" in answer else answer["choices"][0]["text"]
    assert re.fullmatch(pattern, text), text


def test_bad_grammar_is_refused_with_the_reason(server: World, endless: str) -> None:
    body = {"model": endless, "prompt": "Who?", "stream": False, "grammar": "root ::= other"}
    answer = httpx.post(f"{server.url}/api/generate", json=body, trust_env=False, timeout=60)
    assert answer.status_code == 400
    assert "invalid GBNF grammar: Rule 'other'" in answer.json()["error"]


def test_run_keeps_a_schema_from_a_file(server: World, endless: str, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA), "utf-8")
    outcome = server.cama("run", endless, "--format", f"@{file}", "Who?")
    assert outcome.returncode == 0, outcome.stderr
    check(outcome.stdout)


def test_run_keeps_a_grammar(server: World, endless: str) -> None:
    outcome = server.cama("run", endless, "--grammar", 'root ::= "yes" | "no"', "Really?")
    assert outcome.stdout.strip() in ("yes", "no"), outcome.stderr


def test_run_says_what_is_wrong_with_a_schema(server: World, endless: str) -> None:
    outcome = server.cama("run", endless, "--format", '{"uniqueItems": true}', "Who?")
    assert outcome.returncode == 1
    assert 'invalid JSON schema in format: Unimplemented keys: ["uniqueItems"]' in outcome.stderr
