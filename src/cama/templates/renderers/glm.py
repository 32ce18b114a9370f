"""GLM 4.6, 4.7 and its reader of documents."""

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
    "following XML format:\n<tool_call>{{function-name}}{line}<arg_key>{{arg-key-1}}</arg_key>"
    "{line}<arg_value>{{arg-value-1}}</arg_value>{line}<arg_key>{{arg-key-2}}</arg_key>{line}"
    "<arg_value>{{arg-value-2}}</arg_value>{line}...{line}</tool_call>"
)


@dataclass(frozen=True, slots=True)
class _Style:
    """``line`` is what ends lines inside of turns. ``thoughtless`` begins an answer without
    thoughts, ``thinking`` one with them.
    """

    line: str
    thoughtless: str
    thinking: str = ""
    hint: str = ""


_LINED = _Style("\n", "<think></think>", hint="/nothink")
_TIGHT = _Style("", "</think>", "<think>")


def glm46(talk: Talk) -> str:
    return _prompt(talk, _LINED)


def glm47(talk: Talk) -> str:
    return _prompt(talk, _TIGHT)


def _prompt(talk: Talk, style: _Style) -> str:
    parts = ["[gMASK]<sop>"]
    if talk.tools:
        # a line for each, with an empty one between them where templates leave one
        shown = "".join(f"{as_json(tool)}\n" for tool in talk.tools)
        parts.append(_TOOLS.format(tools=shown, line=style.line))
    parts += _turns(talk, style)
    if talk.goes_on:
        begun = f"{style.line}{style.thoughtless}" if talk.thinks is False else style.thinking
        parts.append(f"<|assistant|>{begun}")
    return "".join(parts)


def _turns(talk: Talk, style: _Style) -> Iterator[str]:
    line = style.line
    for i, turn, begins, _ in groups(talk.turns):
        content = turn["content"] or ""
        match turn["role"]:
            case "system":
                yield f"<|system|>\n{content}"
            case "user":
                is_hinted = talk.thinks is not False or content.endswith("/nothink")
                yield f"<|user|>{line}{content}{'' if is_hinted else style.hint}"
            case "assistant":
                yield "<|assistant|>" + _answer(turn, style, is_new=i > talk.last_question)
            case "tool":
                mark = "<|observation|>" if begins else ""
                yield f"{mark}{line}<tool_response>{line}{content}{line}</tool_response>"


def _answer(turn: Turn, style: _Style, *, is_new: bool) -> str:
    line = style.line
    thoughts, content = thoughts_of(turn)
    shown = f"<think>{thoughts.strip()}</think>" if is_new and thoughts else style.thoughtless
    text = content.strip()
    calls = (
        f"{line}<tool_call>{name}{line}"
        + "".join(
            f"<arg_key>{key}</arg_key>{line}<arg_value>{plain(value)}</arg_value>{line}"
            for key, value in arguments.items()
        )
        + "</tool_call>"
        for name, arguments in calls_of(turn)
    )
    return "".join([line, shown, f"{line}{text}" if text else "", *calls])
