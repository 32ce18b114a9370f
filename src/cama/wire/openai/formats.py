"""Forms that OpenAI's requests hold an answer to, and how hard it should think."""

import json
from typing import Any

from cama.core.generation import Constraint
from cama.wire.openai.params import Params
from cama.wire.requests import Think

_KINDS = ("text", "json_object", "json_schema")
_EFFORTS: dict[str, Think] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
}


def read_format(params: Params, key: str) -> Constraint | None:
    """``response_format`` of a chat. Every schema is held to, whether it is strict or not."""
    form = params.inner(key)
    return _constraint(form, form.inner("json_schema"))


def read_flat_format(params: Params, key: str) -> Constraint | None:
    """``format`` of a response: the schema's fields stand beside its type."""
    form = params.inner(key)
    return _constraint(form, form)


def _constraint(form: Params, holder: Params) -> Constraint | None:
    match form.choice("type", _KINDS, default="text"):
        case "json_object":
            return _schema(form) if form.has("schema") else Constraint(kind="json")
        case "json_schema":
            holder.needed_text("name")
            if not holder.has("schema"):
                holder.refuse("schema", "is required")
            return _schema(holder)
    return None


def _schema(holder: Params) -> Constraint:
    text = json.dumps(holder.mapping("schema"), ensure_ascii=False)
    return Constraint(kind="json_schema", text=text)


def read_effort(params: Params, key: str) -> Think:
    """None leaves it to the model."""
    if not params.has(key):
        return None
    return _EFFORTS[params.choice(key, tuple(_EFFORTS), default="")]


def echoed_format(params: Params, key: str) -> dict[str, Any]:
    """The format as the reply repeats it."""
    return dict(params.mapping(key)) or {"type": "text"}
