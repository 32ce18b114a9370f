"""The API's document says all that there is, and only what is true."""

import json
import re
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from cama.api import described
from cama.wire.anthropic import shapes as anthropic
from cama.wire.anthropic.request import CountRequest, MessagesRequest
from cama.wire.notes import NOTES
from cama.wire.openai import fields
from cama.wire.openai.chat import ChatCompletionRequest
from cama.wire.openai.completions import CompletionRequest
from cama.wire.openai.embeddings import EmbeddingsRequest, RankingRequest
from cama.wire.openai.responses import ResponseRequest
from tests.api.describing import BODY_TYPES, DOCUMENT, OPERATIONS, TYPES
from tests.api.test_hostile import BODIES


def test_every_route_is_described() -> None:
    routes = set(OPERATIONS)
    missing = routes - described.ROUTES.keys()
    assert {pair for pair in missing if ("GET", pair[1]) not in described.ROUTES} == set()
    assert described.ROUTES.keys() - routes == set()


def test_every_field_of_a_request_is_described() -> None:
    names = {name for _, _, name in BODY_TYPES} | {"Options"}
    silent = {
        f"{name}.{field}"
        for name in names
        for field, schema in TYPES[name]["properties"].items()
        if "description" not in schema
    }
    assert silent == set()


def test_every_description_is_of_a_field() -> None:
    known = {field for schema in TYPES.values() for field in schema.get("properties", {})}
    known |= {
        f"{name}.{field}"
        for name, schema in TYPES.items()
        for field in schema.get("properties", {})
    }
    assert NOTES.keys() - known == set()


def test_every_schema_is_one_and_refers_to_what_is_there() -> None:
    for schema in TYPES.values():
        Draft202012Validator.check_schema(schema)
    referred = re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT))
    assert set(referred) - {"Options"} == TYPES.keys() - {"Options"}
    names = [about["operationId"] for path in DOCUMENT["paths"].values() for about in path.values()]
    assert len(set(names)) == len(names)


def wrong(schema: dict[str, Any]) -> Any:
    """A value of none of the types that ``schema`` allows, None if it allows all."""
    validator = Draft202012Validator({**schema, "components": DOCUMENT["components"]})
    odd = (7.5, "\x00", [[7.5]], {"\x00": 1}, True)
    return next((value for value in odd if not validator.is_valid(value)), None)


@pytest.mark.parametrize(("method", "path", "name"), BODY_TYPES)
async def test_a_field_of_the_wrong_type_is_refused(
    api: httpx.AsyncClient, method: str, path: str, name: str
) -> None:
    """So each field that the document has is read, and as it says."""
    needed = {*TYPES[name].get("required", ()), "text"} & BODIES[path].keys()
    sound = {key: BODIES[path][key] for key in needed}
    for field, schema in TYPES[name]["properties"].items():
        if (value := wrong(schema)) is None:
            continue
        response = await api.request(method, path, json=sound | {field: value})
        shown = f"{path} {field}={value!r}: {response.text}"
        assert 400 <= response.status_code < 500, shown
        # What is said of a bad keep_alive is Ollama's, and does not name it.
        assert field == "keep_alive" or field.lstrip("_").split("_")[0] in response.text, shown


class Recording(dict[str, Any]):
    """Remembers which of its keys are read."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.read: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (ChatCompletionRequest.read, fields.CHAT.body),
        (CompletionRequest.read, fields.COMPLETION.body),
        (EmbeddingsRequest.read, fields.EMBEDDING.body),
        (RankingRequest.read, fields.RERANK.body),
        (ResponseRequest.read, fields.RESPONSE.body),
        (MessagesRequest.read, anthropic.MessagesBody),
        (CountRequest.read, anthropic.CountBody),
    ],
)
def test_no_field_that_is_said_to_be_honoured_is_left_unread(kind: Any, body: Any) -> None:
    path = next(path for _, path, name in BODY_TYPES if name == body.__name__)
    needed = {*TYPES[body.__name__]["required"], "input"} & BODIES[path].keys()
    data = Recording({key: BODIES[path][key] for key in needed})
    kind(data)
    unread = set(TYPES[body.__name__]["properties"]) - data.read
    assert unread <= {"cache_control", "metadata", "service_tier"}, unread


async def test_the_document_is_served(api: httpx.AsyncClient) -> None:
    response = await api.get("/openapi.json")
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.json() == DOCUMENT


async def test_the_page_needs_nothing_from_elsewhere(api: httpx.AsyncClient) -> None:
    response = await api.get("/docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert re.findall(r"https?://|src=|@import|url\(", response.text) == []
    assert 'fetch("openapi.json")' in response.text
