"""Cogito 2.1, which is made of DeepSeek 3."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cama.templates.renderers.talk import Talk, as_json, calls_of, groups

_SYSTEM = (
    "You are Cogito, an AI assistant created by Deep Cogito, which is an AI research lab based in "
    "San Francisco."
)
_DEEP = "Enable deep thinking subroutine."


def cogito(talk: Talk) -> str:
    """What the system says comes behind what it always says."""
    text = f"{_DEEP}\n\n{_SYSTEM}" if talk.thinks else _SYSTEM
    if talk.system:
        text += f"\n\n{talk.system}" + ("\n\n" if talk.thinks else "")
    if talk.tools:
        shown = (json.dumps(tool, ensure_ascii=False, indent=4) for tool in talk.tools)
        text += "\nYou have the following functions available:\n"
        text += "".join(f"```json\n{one}\n```\n" for one in shown)
    return "".join([talk.bos, text, *_turns(talk)])


def _turns(talk: Talk) -> Iterator[str]:
    is_asked = False  # a question ends with the beginning of its answer
    for _, turn, begins, ends in groups(talk.said):
        content = turn["content"] or ""
        match turn["role"]:
            case "user":
                yield f"<｜User｜>{content}<｜Assistant｜>"
            case "assistant":
                calls = "\n".join(_call(*call) for call in calls_of(turn))
                marked = f"<｜tool▁calls▁begin｜>{calls}<｜tool▁calls▁end｜>" if calls else ""
                yield f"{content}{marked}<｜end▁of▁sentence｜>"
            case "tool":
                yield "<｜tool▁outputs▁begin｜>" if begins else ""
                yield f"<｜tool▁output▁begin｜>{content}<｜tool▁output▁end｜>"
                yield "<｜tool▁outputs▁end｜>" if ends else "\n"
        is_asked = turn["role"] == "user"
    if talk.goes_on:
        yield ("" if is_asked else "<｜Assistant｜>") + ("<think>\n" if talk.thinks else "")


def _call(name: str, arguments: Mapping[str, Any]) -> str:
    return (
        f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{as_json(arguments)}\n```"
        "<｜tool▁call▁end｜>"
    )
