"""Tools, and the choice among them, in OpenAI's two forms."""

from collections.abc import Iterator, Mapping
from typing import Any

from cama.wire.openai.params import Params, named
from cama.wire.tools import Tool, ToolChoice, check_choice, read_choice, read_tools


def read_tool_fields(params: Params) -> dict[str, Any]:
    """The fields of ``ChatRequest`` that say which tools a chat offers."""
    with named("tools"):
        tools = read_tools(params.list("tools"))
    return _fields(params, tools, params.any("tool_choice"))


def read_flat_tool_fields(params: Params) -> dict[str, Any]:
    """The same for a response, in which the function's fields stand beside its type."""
    tools = tuple(_flat_tools(params))
    choice = params.any("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "function":
        choice = {"type": "function", "function": {"name": choice.get("name")}}
    return _fields(params, tools, choice)


def loose_tools(params: Params, choice: ToolChoice) -> Iterator[str]:
    """The fields ``strict`` that ask for more than they get.

    A call that is required fits its tool's schema; one that the model makes of its own accord is
    what the model makes of it.
    """
    if choice.mode == "required":
        return
    for i, tool in enumerate(params.list("tools")):
        yield from _strict_fields(tool, params.path(f"tools[{i}]"))


def _strict_fields(holder: Any, path: str) -> Iterator[str]:
    if not isinstance(holder, Mapping):
        return
    if holder.get("strict") is True:
        yield f"{path}.strict"
    yield from _strict_fields(holder.get("function"), f"{path}.function")
    inner = holder.get("tools")
    for i, tool in enumerate(inner if isinstance(inner, list) else ()):
        yield from _strict_fields(tool, f"{path}.tools[{i}]")


def _flat_tools(params: Params, namespace: str = "") -> Iterator[Tool]:
    """The functions under ``tools``, those of a namespace by its name, a point, and their own."""
    for tool in params.objects("tools"):
        match tool.text("type"):
            case "function":
                yield _flat_tool(tool, namespace)
            case "namespace" if not namespace:
                tool.text("description")
                yield from _flat_tools(tool, f"{tool.needed_text('name')}.")
            case _:
                tool.refuse("type", "must be 'function': Cama has no tools of its own")


def _flat_tool(tool: Params, namespace: str) -> Tool:
    where = tool.path("")[:-1]
    name = namespace + tool.needed_text("name") if namespace else tool.any("name")
    tool.flag("strict")
    with named(where):
        return Tool.of(name, tool.any("description"), tool.any("parameters"), where)


def _fields(params: Params, tools: tuple[Tool, ...], value: Any) -> dict[str, Any]:
    with named("tool_choice"):
        choice, allowed = _choice(value)
        if allowed is not None:
            tools = _among(params, tools, allowed)
        check_choice(choice, tools)
    return {
        "tools": tools,
        "tool_choice": choice,
        "parallel_tool_calls": params.flag("parallel_tool_calls", default=True),
    }


def _choice(value: Any) -> tuple[ToolChoice, list[Any] | None]:
    """The choice, and the tools to which it is limited if it is."""
    match value:
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(allowed)}}:
            return read_choice(mode), allowed
        case {"type": "allowed_tools", "mode": mode, "tools": list(allowed)}:
            return read_choice(mode), allowed
    return read_choice(value), None


def _among(params: Params, tools: tuple[Tool, ...], allowed: list[Any]) -> tuple[Tool, ...]:
    names = [_name(item) for item in allowed]
    known = {tool.name for tool in tools}
    for name in names:
        if name not in known:
            params.refuse("tool_choice", "allows a tool that is not in 'tools'")
    return tuple(tool for tool in tools if tool.name in names)


def _name(item: Any) -> Any:
    function = item.get("function", item) if isinstance(item, Mapping) else None
    return function.get("name") if isinstance(function, Mapping) else None
