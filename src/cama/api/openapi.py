"""The OpenAPI document: every route, with the schemas of the types that it reads and writes."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from cama import __version__
from cama.api.described import ROUTES, Described
from cama.api.problems import is_foreign, shape_of
from cama.wire import shapes
from cama.wire.anthropic.shapes import AnthropicFailure
from cama.wire.notes import NOTES
from cama.wire.openai.reply_shapes import OpenAIFailure
from cama.wire.problems import anthropic_problem
from cama.wire.schema import Schema, Schemas

_ABOUT = """The API of Ollama, and those of OpenAI and of Anthropic, over models on this machine.

A body is JSON, whatever its `Content-Type` says. A field that is `null` counts as absent. Below
`/api` keys may be of any case, and unknown ones are ignored, as in Ollama; below `/v1` an unknown
field is named in the header `x-cama-ignored`, and one that would change the answer is refused.
Every answer has an `x-request-id`.

400 is said of what the request has wrong, 401 of a missing API key, 404 of a model that is not
there, 408 of a body that comes too slowly, 413 of one that is too large, 500 of what went wrong
here, and 503, with `Retry-After`, of a server that has too much to do."""
_KEYS: list[dict[str, list[str]]] = [{}, {"bearer": []}, {"key": []}]
_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")


def document(operations: Iterable[tuple[str, str]]) -> Schema:
    """Of ``operations``, each a method and a path as Starlette writes it.

    Raises KeyError for one that is not described.
    """
    schemas = Schemas(NOTES)
    paths: dict[str, Schema] = {}
    for method, path in operations:
        found = _operation(method, path, schemas)
        paths.setdefault(_PARAMETER.sub(r"{\1}", path), {})[method.lower()] = found
    return {
        "openapi": "3.1.0",
        "info": {"title": "Cama", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in ("Ollama", "OpenAI", "Anthropic", "Server")],
        "security": _KEYS,
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _operation(method: str, path: str, schemas: Schemas) -> Schema:
    is_head = method == "HEAD"
    about = ROUTES.get((method, path)) or ROUTES["GET" if is_head else method, path]
    parameters = [_parameter(name, about) for name in _PARAMETER.findall(path)]
    return {
        "tags": [_tag(path)],
        "summary": about.summary,
        "operationId": _name(method, path),
        **({"description": about.text} if about.text else {}),
        **({"parameters": parameters} if parameters else {}),
        **({"requestBody": _body(about, schemas)} if about.body else {}),
        "responses": {
            str(about.status): {
                "description": "The answer.",
                **({} if is_head else dict(_content(about, schemas))),
            },
            "default": {
                "description": "What is wrong.",
                **({} if is_head else {"content": _failure(path, schemas)}),
            },
        },
    }


def _tag(path: str) -> str:
    if not path.startswith("/api/") and not is_foreign(path):
        return "Server"
    is_anthropic = shape_of(path) is anthropic_problem
    return "Anthropic" if is_anthropic else "OpenAI" if is_foreign(path) else "Ollama"


def _name(method: str, path: str) -> str:
    words = re.findall(r"\w+", _PARAMETER.sub(r"by \1", path))
    return "_".join([method.lower(), *words]) if words else f"{method.lower()}_root"


def _parameter(name: str, about: Described) -> Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": about.parameters[name],
        "schema": {"type": "string", "minLength": 1},
    }


def _body(about: Described, schemas: Schemas) -> Schema:
    return {
        "required": True,
        "content": {about.body_type: {"schema": schemas.of(about.body)}},
    }


def _content(about: Described, schemas: Schemas) -> Iterator[tuple[str, Schema]]:
    """A stream's schema is that of each of its pieces."""
    kinds = {about.reply_type: about.reply, about.stream_type: about.piece}
    found = {name: {"schema": schemas.of(kind)} for name, kind in kinds.items() if kind}
    if found:
        yield "content", found


def _failure(path: str, schemas: Schemas) -> Schema:
    kind: Any = shapes.Failure
    if is_foreign(path):
        is_anthropic = shape_of(path) is anthropic_problem
        kind = AnthropicFailure if is_anthropic else OpenAIFailure
    return {"application/json": {"schema": schemas.of(kind)}}
