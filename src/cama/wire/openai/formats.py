"""Forms that OpenAI's requests hold an answer to, and how hard it should think.

OpenAI's own are JSON and schemas. A grammar is a ``response_format`` of the type ``grammar``, as
for Fireworks; ``grammar`` is the field of llama.cpp's server, ``structured_outputs`` that of vLLM.
"""

import json

from cama.core.generation import Constraint
from cama.wire.forms import SYNTAXES, grammar_of, read_grammar, schema_form
from cama.wire.openai.params import Params
from cama.wire.requests import Think

_KINDS = ("text", "json_object", "json_schema", "grammar")
_STRUCTURES = ("json", "json_object", "regex", "choice", "grammar")
_EFFORTS: dict[str, Think] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "ultra": "max",
    "max": "max",
}


def read_format(params: Params) -> Constraint | None:
    """The form of a chat or a completion. Every schema is held to, whether it is strict or not."""
    form = params.inner("response_format")
    return _one(params, "response_format", _constraint(form, form.inner("json_schema")))


def read_flat_format(params: Params) -> Constraint | None:
    """The form of a response: in its ``text`` the schema's fields stand beside its type."""
    form = params.inner("text").inner("format")
    return _one(params, "text.format", _constraint(form, form))


def _one(params: Params, name: str, form: Constraint | None) -> Constraint | None:
    """The only form that is given; ``form`` is the one under OpenAI's own ``name``."""
    found = {
        name: form,
        "grammar": params.parsed("grammar", read_grammar),
        "structured_outputs": _structured(params.inner("structured_outputs")),
    }
    given = [name for name, one in found.items() if one is not None]
    if len(given) > 1:
        params.refuse(given[1], f"does not go together with '{given[0]}'")
    return found[given[0]] if given else None


def _constraint(form: Params, holder: Params) -> Constraint | None:
    match form.choice("type", _KINDS, default="text"):
        case "json_object":
            return _schema(form) if form.has("schema") else Constraint(kind="json")
        case "json_schema":
            holder.needed_text("name")
            holder.flag("strict")
            if not holder.has("schema"):
                holder.refuse("schema", "is required")
            return _schema(holder)
        case "grammar":
            text = form.text("definition") or form.needed_text("grammar")
            return grammar_of(form.choice("syntax", SYNTAXES, default="gbnf"), text)
    return None


def _structured(form: Params) -> Constraint | None:
    given = [name for name in form.data if form.has(name)]
    for name in given:
        if name not in _STRUCTURES:
            form.refuse(name, "is not supported by Cama")
    if len(given) > 1:
        form.refuse(given[1], f"does not go together with '{given[0]}'")
    match given:
        case ["json"]:
            return _json(form)
        case ["json_object"] if form.flag("json_object"):
            return Constraint(kind="json")
        case ["regex"]:
            return Constraint(kind="regex", text=form.needed_text("regex"))
        case ["choice"]:
            return _choice(form)
        case ["grammar"]:
            return Constraint(kind="gbnf", text=form.needed_text("grammar"))
    return None


def _choice(form: Params) -> Constraint:
    """One of some texts, which is said as it is."""
    texts = form.strings("choice")
    if not texts or not all(texts):
        form.refuse("choice", "must hold texts that are not empty")
    options = " | ".join(json.dumps(text, ensure_ascii=False) for text in texts)
    return Constraint(kind="lark", text=f"start: {options}")


def _json(form: Params) -> Constraint:
    """A schema, or a text that holds one."""
    if not isinstance(form.any("json"), str):
        return schema_form(form.mapping("json"))
    try:
        return schema_form(json.loads(form.text("json")))
    except (ValueError, RecursionError):
        form.refuse("json", "must be a JSON Schema")


def _schema(holder: Params) -> Constraint:
    return schema_form(holder.mapping("schema"))


def read_effort(params: Params, key: str) -> Think:
    """None leaves it to the model."""
    if not params.has(key):
        return None
    return _EFFORTS[params.choice(key, tuple(_EFFORTS), default="")]
