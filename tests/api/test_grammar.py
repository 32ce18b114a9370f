"""``grammar`` of generate and chat, and its names in OpenAI's dialect."""

import json
from typing import Any

import httpx
import pytest

from cama.core.errors import InvalidConstraint
from cama.core.generation import Constraint
from cama.store.store import Store
from tests.api.conftest import write
from tests.api.fakes import FakeRunner

GBNF = 'root ::= "yes" | "no"'
LARK = 'start: "yes" | "no"'
DIGITS = "[0-9]{3}"

CONTENT: dict[str, dict[str, Any]] = {
    "/api/generate": {"prompt": "Hi"},
    "/api/chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/responses": {"input": "Hi"},
    "/v1/messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
}
OURS = ["/api/generate", "/api/chat"]
OPENAI = ["/v1/chat/completions", "/v1/completions", "/v1/responses"]


async def ask(api: httpx.AsyncClient, path: str, **fields: Any) -> httpx.Response:
    body = {"model": "chatty", "stream": False, **CONTENT[path], **fields}
    return await api.post(path, json=body)


@pytest.mark.parametrize("path", CONTENT)
@pytest.mark.parametrize(
    ("grammar", "constraint"),
    [
        (GBNF, Constraint(kind="gbnf", text=GBNF)),
        ({"syntax": "gbnf", "definition": GBNF}, Constraint(kind="gbnf", text=GBNF)),
        ({"syntax": "lark", "definition": LARK}, Constraint(kind="lark", text=LARK)),
        ({"syntax": "regex", "definition": DIGITS}, Constraint(kind="regex", text=DIGITS)),
        ("", None),
        (None, None),
    ],
)
async def test_grammar_reaches_the_runner(
    api: httpx.AsyncClient, runner: FakeRunner, path: str, grammar: Any, constraint: Any
) -> None:
    assert (await ask(api, path, grammar=grammar)).status_code == 200
    assert runner.generations[0].constraint == constraint


@pytest.mark.parametrize("path", CONTENT)
@pytest.mark.parametrize(
    "grammar",
    [
        5,
        [GBNF],
        {},
        {"definition": GBNF},
        {"syntax": "gbnf"},
        {"syntax": "gbnf", "definition": ""},
        {"syntax": "peg", "definition": GBNF},
        {"syntax": "gbnf", "definition": GBNF, "start": "root"},
    ],
)
async def test_what_is_no_grammar_is_refused(
    api: httpx.AsyncClient, runner: FakeRunner, path: str, grammar: Any
) -> None:
    response = await ask(api, path, grammar=grammar)
    assert response.status_code == 400
    assert 'grammar must be GBNF, or an object of \\"syntax\\"' in response.text
    assert runner.generations == []


@pytest.mark.parametrize("path", OURS)
async def test_format_and_grammar_exclude_each_other(api: httpx.AsyncClient, path: str) -> None:
    response = await ask(api, path, grammar=GBNF, format="json")
    assert response.status_code == 400
    assert response.json()["error"] == "an answer has a format or a grammar, not both"


async def test_schema_and_grammar_exclude_each_other_for_anthropics_clients(
    api: httpx.AsyncClient,
) -> None:
    form = {"format": {"type": "json_schema", "schema": {"type": "null"}}}
    response = await ask(api, "/v1/messages", grammar=GBNF, output_config=form)
    assert response.status_code == 400
    assert "'grammar' does not go together with" in response.text


@pytest.mark.parametrize("path", CONTENT)
async def test_grammar_that_does_not_compile_is_the_clients_fault(
    api: httpx.AsyncClient, runner: FakeRunner, path: str
) -> None:
    text = "invalid GBNF grammar: Rule 'other' not found in grammar"
    runner.script = [InvalidConstraint(text)]
    response = await ask(api, path, grammar="root ::= other")
    assert response.status_code == 400
    assert text in response.text


async def test_grammar_waits_for_the_end_of_thoughts(
    api: httpx.AsyncClient, runner: FakeRunner, store: Store, tmp_path: Any
) -> None:
    template = "{% for m in messages %}{{ m.content }}{% endfor %}<think>\n{# </think> #}"
    write(store, tmp_path, "thinker", {"tokenizer.chat_template": template})
    await ask(api, "/api/chat", model="thinker", grammar=GBNF)
    constraint = runner.generations[0].constraint
    assert constraint is not None
    assert constraint.kind == "rules"
    rules = json.loads(constraint.text)
    assert "</think>" in rules["lark"]
    assert rules["grammars"] == {"form": {"kind": "gbnf", "text": GBNF}}


async def test_open_end_of_a_raw_prompt_is_retaken_for_a_grammar(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    await ask(api, "/api/generate", raw=True, grammar=GBNF)
    assert runner.generations[0].heal


# What other servers with OpenAI's API call it

SCHEMA = {"type": "null"}
A_SCHEMA = Constraint(kind="json_schema", text='{"type": "null"}')

FIELDS: list[tuple[dict[str, Any], Constraint | None]] = [
    ({"response_format": {"type": "grammar", "grammar": GBNF}}, Constraint(kind="gbnf", text=GBNF)),
    (
        {"response_format": {"type": "grammar", "syntax": "lark", "definition": LARK}},
        Constraint(kind="lark", text=LARK),
    ),
    ({"structured_outputs": {"regex": DIGITS}}, Constraint(kind="regex", text=DIGITS)),
    ({"structured_outputs": {"grammar": GBNF}}, Constraint(kind="gbnf", text=GBNF)),
    ({"structured_outputs": {"json": SCHEMA}}, A_SCHEMA),
    ({"structured_outputs": {"json": json.dumps(SCHEMA)}}, A_SCHEMA),
    ({"structured_outputs": {"json_object": True}}, Constraint(kind="json")),
    ({"structured_outputs": {"json_object": False}}, None),
    (
        {"structured_outputs": {"choice": ["ja", 'say "no"']}},
        Constraint(kind="lark", text='start: "ja" | "say \\"no\\""'),
    ),
    ({"structured_outputs": {"regex": None}}, None),
]


def as_sent(path: str, fields: dict[str, Any]) -> dict[str, Any]:
    """A response has its format in ``text``."""
    sent = dict(fields)
    if path == "/v1/responses" and (form := sent.pop("response_format", None)):
        sent["text"] = {"format": form}
    return sent


@pytest.mark.parametrize("path", OPENAI)
@pytest.mark.parametrize(("fields", "constraint"), FIELDS)
async def test_other_names_of_forms(
    api: httpx.AsyncClient,
    runner: FakeRunner,
    path: str,
    fields: dict[str, Any],
    constraint: Constraint | None,
) -> None:
    response = await ask(api, path, **as_sent(path, fields))
    assert response.status_code == 200
    assert "x-cama-ignored" not in response.headers
    assert runner.generations[0].constraint == constraint


@pytest.mark.parametrize("path", OPENAI)
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"response_format": {"type": "grammar"}}, "grammar"),
        ({"response_format": {"type": "grammar", "grammar": "x", "syntax": "peg"}}, "syntax"),
        ({"response_format": {"type": "json_object"}, "grammar": GBNF}, "grammar"),
        ({"grammar": GBNF, "structured_outputs": {"regex": "x"}}, "structured_outputs"),
        ({"structured_outputs": {"regex": "x", "grammar": GBNF}}, "structured_outputs.grammar"),
        ({"structured_outputs": {"structural_tag": "x"}}, "structured_outputs.structural_tag"),
        ({"structured_outputs": {"choice": []}}, "structured_outputs.choice"),
        ({"structured_outputs": {"choice": [""]}}, "structured_outputs.choice"),
        ({"structured_outputs": {"json": "{"}}, "structured_outputs.json"),
        ({"guided_regex": "x"}, "guided_regex"),
        ({"json_schema": SCHEMA}, "json_schema"),
    ],
)
async def test_forms_that_are_wrong_are_named(
    api: httpx.AsyncClient, runner: FakeRunner, path: str, fields: dict[str, Any], field: str
) -> None:
    response = await ask(api, path, **as_sent(path, fields))
    assert response.status_code == 400
    assert response.json()["error"]["param"].endswith(field)
    assert runner.generations == []
