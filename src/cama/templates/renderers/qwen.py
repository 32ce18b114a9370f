"""Qwen's families: Qwen 3, Qwen3-Coder, 3.5 and what is made of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from cama.templates.renderers.talk import (
    Talk,
    Turn,
    as_json,
    calls_of,
    groups,
    plain,
    thoughts_of,
)

_HERMES = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are "
    "provided with function signatures within <tools></tools> XML tags:\n<tools>{tools}\n</tools>"
    "\n\nFor each function call, return a json object with function name and arguments within "
    '<tool_call></tool_call> XML tags:\n<tool_call>\n{{"name": <function-name>, "arguments": '
    "<args-json-object>}}\n</tool_call>"
)
_EXAMPLE = (
    "<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n"
    "</parameter>\n<parameter=example_parameter_2>\n{value}\n</parameter>\n</function>\n"
    "</tool_call>\n\n<IMPORTANT>\nReminder:\n- Function calls MUST follow the specified format: "
    "{format}\n- Required parameters MUST be specified\n- You may provide optional reasoning for "
    "your function call in natural language BEFORE the function call, but NOT after\n- If there is "
    "no function call available, answer the question like normal with your current knowledge and "
    "do not tell the user about function calls\n</IMPORTANT>"
)
_BLOCK = (
    "the tool calling block MUST begin with an opening <tool_call> tag and end with a closing "
    "</tool_call> tag."
)
_NESTED = (
    "an inner <function=...></function> block must be nested within <tool_call></tool_call> XML "
    "tags"
)
_LINES = "This is the value for the second parameter\nthat can span\nmultiple lines"
_CODER = (
    "\n\n# Tools\n\nYou have access to the following {noun}:\n\n<tools>{tools}\n</tools>\n\nIf you "
    "choose to call a {verb} ONLY reply in the following format with NO suffix:\n\n"
)
_CODER_SYSTEM = (
    "You are Qwen, a helpful AI assistant that can interact with a computer to solve tasks."
)

_THOUGHTLESS = "<think>\n\n</think>\n\n"

Block = Callable[[str, Mapping[str, Any]], str]
"""What one call looks like, from its name and arguments."""


def turn(role: str, text: str) -> str:
    return f"<|im_start|>{role}\n{text}<|im_end|>\n"


def hermes(talk: Talk, *, opens: str = "") -> str:
    """Calls in JSON. ``opens`` begins the thoughts of the next answer."""
    system = talk.system
    if talk.tools:
        listed = _HERMES.format(tools="".join(f"\n{as_json(tool)}" for tool in talk.tools))
        system = f"{system}\n\n{listed}" if talk.has_system else listed
    parts = [turn("system", system)] if talk.has_system or talk.tools else []
    parts += _turns(talk, _hermes_call)
    return "".join([*parts, _opened(talk, opens)])


def _opened(talk: Talk, opens: str) -> str:
    """The beginning of the next answer."""
    if not talk.goes_on:
        return ""
    return f"<|im_start|>assistant\n{_THOUGHTLESS if talk.thinks is False else opens}"


def _hermes_call(name: str, arguments: Mapping[str, Any]) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {as_json(arguments)}}}\n</tool_call>'


def _turns(
    talk: Talk, block: Block, *, gap: str = "\n", empty: bool = False, old: bool = False
) -> Iterator[str]:
    """All turns but the system's first; thoughts are shown behind the last question only, unless
    ``old`` ones are wanted, and where there are none, ``empty`` ones if those are.

    ``gap`` stands between the text of an answer and its calls.
    """
    last = -1 if old else _last_query(talk)
    for i, one, begins, ends in groups(talk.turns):
        match one["role"]:
            case "system" if i == 0:
                continue
            case "tool":
                yield "<|im_start|>user" if begins else ""
                yield f"\n<tool_response>\n{one['content']}\n</tool_response>"
                yield "<|im_end|>\n" if ends else ""
            case "assistant":
                thoughts, content = thoughts_of(one)
                head = ""
                if i > last and (thoughts or empty or i == len(talk.turns) - 1):
                    shown = thoughts.strip("\n")
                    head, content = f"<think>\n{shown}\n</think>\n\n", content.lstrip("\n")
                calls = "\n".join(block(*call) for call in calls_of(one))
                yield turn("assistant", f"{head}{content}{gap if content and calls else ''}{calls}")
            case "user" | "system":
                yield turn(one["role"], one["content"])


def _last_query(talk: Talk) -> int:
    """The last message of the user that is no result of a tool in disguise."""
    asked = [
        i
        for i, one in enumerate(talk.turns)
        if one["role"] == "user" and not _is_response(str(one["content"]))
    ]
    return asked[-1] if asked else len(talk.turns) - 1


def _is_response(text: str) -> bool:
    return text.startswith("<tool_response>") and text.endswith("</tool_response>")


def coder(talk: Talk) -> str:
    """Qwen3-Coder: calls as elements, tools as elements too."""
    parts: list[str] = []
    if talk.has_system or talk.tools:
        system = talk.system if talk.has_system else _CODER_SYSTEM
        parts.append(turn("system", system + _element_tools(talk)))
    for i, one, begins, ends in groups(talk.said):
        match one["role"]:
            case "tool":
                opened = "<|im_start|>user\n" if begins and i else ""
                parts.append(f"{opened}<tool_response>\n{one['content']}\n</tool_response>\n")
                parts.append("<|im_end|>\n" if ends else "")
            case "assistant" if one.get("tool_calls"):
                text = (one["content"] or "").strip()
                calls = "".join("\n" + element_call(*call) for call in calls_of(one))
                said = f"\n{text}\n" if text else ""
                parts.append(f"<|im_start|>assistant{said}{calls}<|im_end|>\n")
            case role:
                parts.append(turn(role, one["content"]))
    return "".join([*parts, "<|im_start|>assistant\n" if talk.goes_on else ""])


def _element_tools(talk: Talk) -> str:
    if not talk.tools:
        return ""
    head = _CODER.format(noun="tools", verb="tool", tools="".join(map(_element_tool, talk.tools)))
    return head + _EXAMPLE.format(value="value_2", format=_BLOCK)


def _element_tool(tool: Turn) -> str:
    function = tool.get("function", tool)
    parameters = function.get("parameters") or {}
    parts = [f"\n<function>\n<name>{function['name']}</name>"]
    if "description" in function:
        parts.append(f"\n<description>{str(function['description']).strip()}</description>")
    parts.append("\n<parameters>")
    for name, schema in (parameters.get("properties") or {}).items():
        parts.append(f"\n<parameter>\n<name>{name}</name>")
        if "type" in schema:
            parts.append(f"\n<type>{schema['type']}</type>")
        if "description" in schema:
            parts.append(f"\n<description>{str(schema['description']).strip()}</description>")
        parts.append(rest_of(schema, "name", "type", "description") + "\n</parameter>")
    parts.append(rest_of(parameters, "type", "properties") + "\n</parameters>")
    parts.append(rest_of(function, "type", "name", "description", "parameters") + "\n</function>")
    return "".join(parts)


def rest_of(schema: Mapping[str, Any], *known: str) -> str:
    """The keys of a schema that have no element of their own."""
    others = ((key, value) for key, value in schema.items() if key not in known)
    return "".join(f"\n<{key}>{_shown(value)}</{key}>" for key, value in others)


def _shown(value: Any) -> str:
    """Lists and objects as JSON, numbers and truths as Python writes them."""
    return as_json(value) if isinstance(value, list | dict) else str(value)


def element_call(name: str, arguments: Mapping[str, Any]) -> str:
    """A call as an element with one for each argument."""
    shown = (
        f"<parameter={key}>\n{_shown(value)}\n</parameter>\n" for key, value in arguments.items()
    )
    return f"<tool_call>\n<function={name}>\n{''.join(shown)}</function>\n</tool_call>"


def qwen35(talk: Talk, *, keeps_thoughts: bool = False) -> str:
    """Tools as JSON, calls as elements, thoughts unless they are turned off.

    Ornith ``keeps_thoughts`` of all turns.
    """
    return _with_effort(talk, "", keeps_thoughts=keeps_thoughts)


def qwen38(talk: Talk) -> str:
    """As 3.5, with all that the system says at the beginning, and with how hard to think."""
    said = [str(one["content"]).strip() for one in talk.turns if one["role"] == "system"]
    rest = [one for one in talk.turns if one["role"] != "system"]
    text = "\n\n".join(filter(None, said))
    first = [{"role": "system", "content": text}] if text else []
    level = talk.level or ("medium" if talk.thinks else "high")
    effort = "" if talk.thinks is False else _EFFORTS.get(level, _XHIGH)
    return _with_effort(replace(talk, turns=[*first, *rest]), effort, keeps_thoughts=True)


_XHIGH = (
    "Reasoning effort is set to xhigh. Please think carefully through the task, validate key "
    "assumptions, consider plausible alternatives, and prioritize correctness, consistency, and "
    "clarity in the final answer."
)
_EFFORTS = {
    "medium": "",
    "low": "Reasoning effort is set to low. Keep your thinking brief and focused, moving directly "
    "to the conclusion without unnecessary elaboration.",
}


def _with_effort(talk: Talk, effort: str, *, keeps_thoughts: bool) -> str:
    talk = replace(talk, turns=[_stripped(one) for one in talk.turns])
    system = [effort] if effort else []
    if talk.tools:
        listed = "".join(f"\n{as_json(tool)}" for tool in talk.tools)
        system.append(functions_section(listed))
    if talk.system:
        system.append(talk.system)
    parts = [turn("system", "\n\n".join(system))] if system or talk.has_system else []
    parts += _turns(
        talk,
        _json_elements,
        gap="\n\n",
        empty=keeps_thoughts or talk.thinks is not False,
        old=keeps_thoughts,
    )
    return "".join([*parts, _opened(talk, "<think>\n")])


def _stripped(one: Turn) -> Turn:
    thoughts = one.get("reasoning_content")
    shown = {} if thoughts is None else {"reasoning_content": thoughts.strip()}
    return {**one, "content": (one["content"] or "").strip(), **shown}


def functions_section(listed: str) -> str:
    """The functions on offer, as they are ``listed``, and how they are called."""
    head = _CODER.format(noun="functions", verb="function", tools=listed).lstrip("\n")
    return head + _EXAMPLE.format(value=_LINES, format=_NESTED)


def _json_elements(name: str, arguments: Mapping[str, Any]) -> str:
    return element_call(name, {key: plain(value) for key, value in arguments.items()})
