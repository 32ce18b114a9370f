"""DeepSeek 3.1."""

from collections.abc import Iterator

from cama.templates.renderers.talk import Talk, Turn, as_json, calls_of

_END = "<｜end▁of▁sentence｜>"
_TOOLS = (
    "\n\n## Tools\nYou have access to the following tools:\n{tools}\nIMPORTANT: ALWAYS adhere to "
    "this exact format for tool use:\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>tool_call_name"
    "<｜tool▁sep｜>tool_call_arguments<｜tool▁call▁end｜>{{additional_tool_calls}}"
    "<｜tool▁calls▁end｜>\n\nWhere:\n\n- `tool_call_name` must be an exact match to one of the "
    "available tools\n- `tool_call_arguments` must be valid JSON that strictly follows the tool's "
    "Parameters Schema\n- For multiple tool calls, chain them directly without separators or "
    "spaces\n"
)


def deepseek(talk: Talk) -> str:
    """Thoughts only where they are asked for; those of earlier answers are left out."""
    tools = _TOOLS.format(tools="".join(map(_described, talk.tools))) if talk.tools else ""
    return "".join([talk.bos, _systems(talk), tools, *_turns(talk)])


def _systems(talk: Talk) -> str:
    return "\n\n".join(str(t["content"]) for t in talk.turns if t["role"] == "system")


def _described(tool: Turn) -> str:
    function = tool.get("function", tool)
    return (
        f"\n### {function['name']}\nDescription: {function.get('description', '')}\n\n"
        f"Parameters: {as_json(function.get('parameters') or {})}\n"
    )


def _turns(talk: Talk) -> Iterator[str]:
    is_asked = is_result = False
    for turn in talk.turns:
        content = turn["content"] or ""
        match turn["role"]:
            case "user":
                is_asked, is_result = True, False
                yield f"<｜User｜>{content}"
            case "assistant":
                if is_asked:
                    yield "<｜Assistant｜></think>"
                if calls := "".join(_call(*call) for call in calls_of(turn)):
                    yield f"{content}<｜tool▁calls▁begin｜>{calls}<｜tool▁calls▁end｜>{_END}"
                else:
                    yield (content if is_result else content.split("</think>", 1)[-1]) + _END
                is_asked = is_result = False
            case "tool":
                is_asked, is_result = False, True
                yield f"<｜tool▁output▁begin｜>{content}<｜tool▁output▁end｜>"
    if talk.goes_on and is_asked:
        yield "<｜Assistant｜>" + ("<think>" if talk.thinks else "</think>")


def _call(name: str, arguments: object) -> str:
    return f"<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{as_json(arguments)}<｜tool▁call▁end｜>"
