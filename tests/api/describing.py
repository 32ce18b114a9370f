"""Every answer that a test gets must be as the API's document says, with no other fields."""

import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
import jsonschema_rs

from cama.api.app import ROUTES
from cama.api.openapi import document

OPERATIONS = [(method, path) for path, methods, _ in ROUTES for method in methods]
DOCUMENT = document(OPERATIONS)
TYPES: dict[str, Any] = DOCUMENT["components"]["schemas"]


def body_types() -> Iterator[tuple[str, str, str]]:
    """Method, path and type of the body of each route that has one."""
    for path, methods in DOCUMENT["paths"].items():
        for method, about in methods.items():
            schema = about.get("requestBody", {}).get("content", {}).get("application/json", {})
            if "$ref" in schema.get("schema", {}):
                yield method.upper(), path, schema["schema"]["$ref"].rpartition("/")[2]


BODY_TYPES = list(body_types())


@cache
def strict() -> dict[str, Any]:
    """The document, with replies that may have no other fields than those in it."""
    made = copy.deepcopy(DOCUMENT)
    for name in set(TYPES) - _referred({name for _, _, name in BODY_TYPES}):
        made["components"]["schemas"][name]["additionalProperties"] = False
    return made


def _referred(names: set[str]) -> set[str]:
    """``names``, and those of all types that these are made of."""
    found = names | {other for name in names for other in _references(TYPES[name])}
    return found if found == names else _referred(found)


def _references(schema: Any) -> Iterator[str]:
    inner = schema.values() if isinstance(schema, dict) else schema
    if isinstance(schema, dict) and "$ref" in schema:
        yield schema["$ref"].rpartition("/")[2]
    for one in inner:
        if isinstance(one, dict | list):
            yield from _references(one)


async def check_described(response: httpx.Response) -> None:
    """A hook of an HTTP client. Answers without a body, and of no route, are not looked at."""
    await response.aread()
    if response.content:
        request, kind = response.request, response.headers["content-type"]
        check(request.method, request.url.path, response.status_code, kind, response.text)


def check(method: str, path: str, status: int, content_type: str, text: str) -> None:
    operation = _operation(method, path)
    if operation is None or method == "HEAD":
        return
    responses = operation["responses"]
    described = responses.get(str(status), responses["default"])
    kind = content_type.partition(";")[0]
    validator = _validator(json.dumps(described["content"][kind]["schema"]))
    for value in _values(kind, text):
        validator.validate(value)


@cache
def _operation(method: str, path: str) -> dict[str, Any] | None:
    for template, methods in DOCUMENT["paths"].items():
        pattern = re.sub(r"\\{\w+\\}", ".+", re.escape(template))
        if re.fullmatch(pattern, path) and method.lower() in methods:
            found: dict[str, Any] = methods[method.lower()]
            return found
    return None


@cache
def _validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    """Of the fast kind, for there are thousands of answers."""
    whole = {**json.loads(schema), "components": strict()["components"]}
    return jsonschema_rs.Draft202012Validator(whole)


def _values(kind: str, text: str) -> Iterator[Any]:
    match kind:
        case "application/json":
            yield json.loads(text)
        case "application/x-ndjson":
            yield from map(json.loads, text.splitlines())
        case "text/event-stream":
            data = re.findall(r"^data: (.*)$", text, re.MULTILINE)
            yield from (json.loads(line) for line in data if line != "[DONE]")
        case _:
            yield text
