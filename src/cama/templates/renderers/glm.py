"""GLM 4.7 and its reader of documents."""

from collections.abc import Iterator
from dataclasses import dataclass

from cama.templates.renderers.talk import (
    Talk,
    Turn,
    as_json,
    calls_of,
    groups,
    plain,
    thoughts_of,
)

_TOOLS = (
    "<|system|>\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n{tools}"
    "</tools>\n\nFor each function call, output the function name and arguments within the "
    "following XML format:\n<tool_call>{{function-name}}<arg_key>{{arg-key-1}}</arg_key>"
    "<arg_value>{{arg-value-1}}</arg_value><arg_key>{{arg-key-2}}</arg_key>"
    "<arg_value>{{arg-value-2}}</arg_value>...</tool_call>"
)


@dataclass(frozen=True, slots=True)
class _Style:
    """``line`` begins and ends what is said. ``thoughtless`` begins an answer without thoughts,
    ``thinking`` one with them. ``hint`` ends a question that wants none.
    """

    line: str
    thoughtless: str
    thinking: str = ""
    hint: str = ""


_CHAT = _Style("", "</think>", "<think>")
_READER = _Style("\n", "<think></think>", hint="/nothink")


def glm47(talk: Talk) -> str:
    """Thoughts of all earlier answers are kept, as Ollama has it."""
    return _prompt(talk, _CHAT)


def glm_ocr(talk: Talk) -> str:
    return _prompt(talk, _READER)


def _prompt(talk: Talk, style: _Style) -> str:
    parts = ["[gMASK]<sop>"]
    if talk.tools:
        parts.append(_TOOLS.format(tools="".join(f"{as_json(tool)}\n" for tool in talk.tools)))
    parts += _turns(talk, style)
    if talk.goes_on:
        begun = f"{style.thoughtless}{style.line}" if talk.thinks is False else style.thinking
        parts.append(f"<|assistant|>{style.line}{begun}")
    return "".join(parts)


def _turns(talk: Talk, style: _Style) -> Iterator[str]:
    line = style.line
    for _, turn, begins, _ in groups(talk.turns):
        content = turn["content"] or ""
        match turn["role"]:
            case "system":
                yield f"<|system|>{line}{content}{line}"
            case "user":
                is_hinted = talk.thinks is not False or content.endswith("/nothink")
                yield f"<|user|>{line}{content}{'' if is_hinted else style.hint}"
            case "assistant":
                yield f"<|assistant|>{line}{_answer(turn, style)}{line}"
            case "tool":
                mark = "<|observation|>" if begins else ""
                yield f"{mark}{line}<tool_response>{line}{content}{line}</tool_response>{line}"


def _answer(turn: Turn, style: _Style) -> str:
    line = style.line
    thoughts, text = thoughts_of(turn)
    if line:
        thoughts, text = thoughts.strip(), text.strip()
    shown = f"<think>{thoughts}</think>" if thoughts else style.thoughtless
    calls = (
        f"{line}<tool_call>{name}"
        + "".join(
            f"<arg_key>{key}</arg_key><arg_value>{plain(value)}</arg_value>"
            for key, value in arguments.items()
        )
        + "</tool_call>"
        for name, arguments in calls_of(turn)
    )
    return "".join([shown, f"{line}{text}" if text else "", *calls])
