"""Olmo 3: ChatML with functions between marks, which are called as in Python."""

from cama.templates.renderers.qwen import turn
from cama.templates.renderers.talk import Talk, Turn, as_json, calls_of

_WITH_TOOLS = (
    "You are provided with function signatures within <functions></functions> XML tags. You may "
    "call one or more functions to assist with the user query. Output any function calls within "
    "<function_calls></function_calls> XML tags. Do not make assumptions about what values to plug "
    "into functions."
)
_WITHOUT_TOOLS = "You do not currently have access to any functions. <functions></functions>"


def olmo3(talk: Talk, *, system: str) -> str:
    """``system`` stands for what nobody said."""
    functions = f"<functions>{as_json(talk.tools)}</functions>" if talk.tools else ""
    if talk.has_system:
        first = talk.system + functions
    else:
        first = f"{system} {_WITH_TOOLS + functions if talk.tools else _WITHOUT_TOOLS}"
    parts = [turn("system", first)]
    for one in talk.said:
        role = "environment" if one["role"] == "tool" else one["role"]
        parts.append(turn(role, (one["content"] or "") + _calls(one)))
    return "".join([*parts, "<|im_start|>assistant\n" if talk.goes_on else ""])


def olmo3_think(talk: Talk, *, system: str) -> str:
    """Without tools, of which these models know nothing."""
    first = f"{talk.system} {_WITHOUT_TOOLS}" if talk.has_system else system
    said = (one for one in talk.said if one["role"] != "tool")
    turns = (turn(one["role"], one["content"] or "") for one in said)
    begun = "<|im_start|>assistant\n<think>" if talk.goes_on else ""
    return "".join([turn("system", first), *turns, begun])


def _calls(one: Turn) -> str:
    """A line for each, with arguments in the order of their names and values in JSON."""
    lines = (
        f"{name}({', '.join(f'{key}={as_json(arguments[key])}' for key in sorted(arguments))})"
        for name, arguments in calls_of(one)
    )
    text = "\n".join(lines)
    return f"<function_calls>{text}</function_calls>" if text else ""
