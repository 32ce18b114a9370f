"""Messages and tools as Ollama's templates see them."""

from collections.abc import Mapping, Sequence
from typing import Any

from cama.templates.gotmpl.values import JSONArray, JSONObject, Struct, TypeNames

Turn = Mapping[str, Any]
"""A message with the names that :func:`cama.templates.prompt.template_message` gives."""


def collated(messages: Sequence[Turn]) -> list[Turn]:
    """``messages`` with neighbours of one role made one, a blank line between their texts.

    The rest of a merged message is that of its first. Results of tools stay apart.
    """
    merged: list[dict[str, Any]] = []
    for message in messages:
        role = message["role"]
        if merged and role == merged[-1]["role"] != "tool":
            merged[-1]["content"] += f"\n\n{message['content']}"
        else:
            merged.append(dict(message))
    return list(merged)


def system_text(messages: Sequence[Turn]) -> str:
    """All that the system says."""
    return "\n\n".join(m["content"] for m in messages if m["role"] == "system")


def message_data(message: Turn) -> Struct:
    calls = [_call(call, i) for i, call in enumerate(message.get("tool_calls") or ())]
    members = {
        "role": message["role"],
        "content": message["content"],
        "thinking": message.get("reasoning_content") or "",
        "tool_calls": calls,
        "tool_name": message.get("name") or "",
        "tool_call_id": message.get("tool_call_id") or "",
    }
    fields = {
        "Role": members["role"],
        "Content": members["content"],
        "Thinking": members["thinking"],
        "Images": [],
        "ToolCalls": calls,
        "ToolName": members["tool_name"],
        "ToolCallID": members["tool_call_id"],
    }
    return Struct("api.Message", fields, _without_empty(members, "role", "content"))


def _call(call: Turn, place: int) -> Struct:
    function = call["function"]
    members = {
        "index": function.get("index", place),
        "name": function["name"],
        "arguments": JSONObject(_as_read(function.get("arguments") or {})),
    }
    fields = {
        "Index": members["index"],
        "Name": members["name"],
        "Arguments": members["arguments"],
    }
    called = Struct("api.ToolCallFunction", fields, members)
    name = str(call.get("id") or "")
    json = {"id": name, "function": called} if name else {"function": called}
    return Struct("api.ToolCall", {"ID": name, "Function": called}, json)


def tools_data(tools: Sequence[Turn]) -> JSONArray:
    return JSONArray(tuple(map(_tool, tools)))


def _tool(tool: Turn) -> Struct:
    function = _object(tool.get("function"))
    members = {
        "name": _text(function.get("name")),
        "description": _text(function.get("description")),
        "parameters": _parameters(_object(function.get("parameters"))),
    }
    fields = {
        "Name": members["name"],
        "Description": members["description"],
        "Parameters": members["parameters"],
    }
    described = Struct("api.ToolFunction", fields, members)
    kind, items = _text(tool.get("type")), _as_read(tool.get("items"))
    json = _without_empty({"type": kind, "items": items, "function": described})
    fields = {"Type": kind, "Items": items, "Function": described}
    return Struct("api.Tool", fields, json, prints_json=True)


def _parameters(schema: Turn) -> Struct:
    properties = _properties(schema.get("properties"), ordered=False)
    members = {
        "type": _text(schema.get("type")),
        "$defs": _as_read(schema.get("$defs")),
        "items": _as_read(schema.get("items")),
        "required": _texts(schema.get("required")),
        "properties": properties,
    }
    fields = {
        "Type": members["type"],
        "Defs": members["$defs"],
        "Items": members["items"],
        "Required": members["required"],
        "Properties": properties,
    }
    json = _without_empty(members, "properties")
    return Struct("api.ToolFunctionParameters", fields, json, prints_json=True)


def _properties(schemas: Any, *, ordered: bool) -> JSONObject:
    made = {name: _property(_object(schema)) for name, schema in _object(schemas).items()}
    return JSONObject(made, ordered=ordered)


def _property(schema: Turn) -> Struct:
    any_of = schema.get("anyOf")
    kind = schema.get("type")
    inner = _properties(schema.get("properties"), ordered=True)
    members = {
        "anyOf": [_property(_object(one)) for one in any_of] if isinstance(any_of, list) else [],
        "type": TypeNames((kind,) if isinstance(kind, str) else tuple(_texts(kind))),
        "items": _as_read(schema.get("items")),
        "description": _text(schema.get("description")),
        "enum": _as_read(schema.get("enum") or []),
        "properties": inner,
        "required": _texts(schema.get("required")),
    }
    fields = {
        "AnyOf": members["anyOf"],
        "Type": members["type"],
        "Items": members["items"],
        "Description": members["description"],
        "Enum": members["enum"],
        "Properties": inner,
        "Required": members["required"],
    }
    return Struct("api.ToolProperty", fields, _without_empty(members))


def _without_empty(members: Mapping[str, Any], *kept: str) -> dict[str, Any]:
    """``members`` that say something, and those named."""
    return {name: value for name, value in members.items() if name in kept or not _is_empty(value)}


def _is_empty(value: Any) -> bool:
    if isinstance(value, JSONObject):
        return not value.fields
    if isinstance(value, TypeNames):
        return not value.names
    return value in (None, "", [])


def _as_read(value: Any) -> Any:
    """``value`` as Go reads JSON: every number is a float64."""
    match value:
        case bool():
            return value
        case int():
            try:
                return float(value)
            except OverflowError:
                return value
        case dict():
            return {key: _as_read(item) for key, item in value.items()}
        case list() | tuple():
            return [_as_read(item) for item in value]
    return value


def _object(value: Any) -> Turn:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
