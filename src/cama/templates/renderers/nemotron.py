"""Nemotron 3: Qwen's turns, with thoughts in the text and tools as elements."""

from collections.abc import Iterator, Mapping
from typing import Any

from cama.templates.renderers.qwen import element_call, functions_section, rest_of, turn
from cama.templates.renderers.talk import Talk, Turn, as_json, calls_of, groups

_EMPTY = "<think></think>"


def nemotron3(talk: Talk) -> str:
    """``/think`` and ``/no_think`` in what is asked turn thoughts on and off."""
    return _prompt(talk, _switched(talk), has_switches=True)


def nemotron35(talk: Talk) -> str:
    return _prompt(talk, talk.thinks is not False, has_switches=False)


def _switched(talk: Talk) -> bool:
    thinks = talk.thinks is not False
    for one in talk.turns:
        if one["role"] in ("user", "system"):
            text = one["content"] or ""
            if "/think" in text.replace("</think>", ""):
                thinks = True
            elif "/no_think" in text:
                thinks = False
    return thinks


def _without_switches(text: str) -> str:
    kept = text.replace("</think>", "<_end_think>").replace("/think", "").replace("/no_think", "")
    return kept.replace("<_end_think>", "</think>")


def _prompt(talk: Talk, thinks: bool, *, has_switches: bool) -> str:
    system = _without_switches(talk.system) if has_switches else talk.system
    if talk.tools:
        listed = "".join(map(_tool, talk.tools))
        system += ("\n\n" if talk.system else "") + functions_section(listed)
    parts = [turn("system", system), *_turns(talk, has_switches=has_switches)]
    if talk.goes_on:
        parts.append("<|im_start|>assistant\n" + ("<think>\n" if thinks else _EMPTY))
    return "".join(parts)


def _tool(tool: Turn) -> str:
    function = tool.get("function", tool)
    schema = function.get("parameters") or {}
    parts = [f"\n<function>\n<name>{function['name']}</name>", _description(function)]
    parts.append("\n<parameters>")
    for name, part in (schema.get("properties") or {}).items():
        kind = f"\n<type>{part['type']}</type>" if "type" in part else ""
        options = f"\n<enum>{as_json(part['enum'])}</enum>" if "enum" in part else ""
        rest = rest_of(part, "name", "type", "description", "enum")
        parts.append(f"\n<parameter>\n<name>{name}</name>{kind}{_description(part)}{options}{rest}")
        parts.append("\n</parameter>")
    parts.append(rest_of(schema, "type", "properties", "required"))
    if "required" in schema:
        parts.append(f"\n<required>{as_json(schema['required'])}</required>")
    rest = rest_of(function, "type", "name", "description", "parameters")
    return "".join([*parts, "\n</parameters>", rest, "\n</function>"])


def _description(part: Mapping[str, Any]) -> str:
    if "description" not in part:
        return ""
    return f"\n<description>{str(part['description']).strip()}</description>"


def _turns(talk: Talk, *, has_switches: bool) -> Iterator[str]:
    said = talk.said
    last = max((i for i, one in enumerate(said) if one["role"] == "user"), default=-1)
    for i, one, begins, ends in groups(said):
        content = one["content"] or ""
        match one["role"]:
            case "tool":
                yield "<|im_start|>user\n" if begins and i else ""
                yield f"<tool_response>\n{content}\n</tool_response>\n"
                yield "<|im_end|>\n" if ends else ""
            case "assistant":
                yield turn("assistant", _answer(one, is_old=i < last, has_switches=has_switches))
            case "user" | "system" as role:
                if has_switches:
                    content = _without_switches(content).strip()
                elif role == "user" and i == last and talk.level == "medium":
                    content += "\n\n{reasoning effort: efficient}"
                yield turn(role, content)
            case role:
                yield turn(role, content)


def _answer(one: Turn, *, is_old: bool, has_switches: bool) -> str:
    """Its thoughts and text; of old ones the thoughts are left out."""
    text = _with_thoughts(one, lined=has_switches)
    calls = "".join(f"{element_call(*call)}\n" for call in calls_of(one))
    if is_old and calls and "</think>" in text:
        said = text.split("</think>")[-1]
        text = _EMPTY + (said.strip() if has_switches else said)
    elif is_old and calls:
        text = _EMPTY + text.split("<think>")[0].strip()
    elif is_old and "<think>" in text and "</think>" in text:
        text = _EMPTY + text.split("</think>")[-1]
    if calls:
        return f"{text if is_old else text.strip()}\n{calls}"
    return text.strip()


def _with_thoughts(one: Turn, *, lined: bool) -> str:
    """``lined``: thoughts end with a line of their own."""
    content, thoughts = one["content"] or "", one.get("reasoning_content") or ""
    if thoughts.strip():
        line = "\n" if lined else ""
        return f"<think>\n{thoughts}{line}</think>{line}{content}"
    has_marks = "<think>" in content or "</think>" in content
    return content if has_marks else _EMPTY + content
