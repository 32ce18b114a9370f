"""LFM2: ChatML with calls that are written as in Python."""

from cama.core.answer import ToolCall
from cama.templates.answers.pythonic_calls import PythonicCalls
from cama.templates.renderers.qwen import turn
from cama.templates.renderers.talk import Talk, Turn, as_json, calls_of

_LFM = PythonicCalls(opens=("<|tool_call_start|>",), closes=("<|tool_call_end|>",))


def lfm2(talk: Talk) -> str:
    """Tools between marks, results between marks."""
    results = ("<|tool_response_start|>", "<|tool_response_end|>")
    return _lfm(talk, ("<|tool_list_start|>[", "]<|tool_list_end|>"), results)


def lfm2_thinking(talk: Talk) -> str:
    """No marks around tools and results; of earlier answers the thoughts are left out."""
    return _lfm(talk, ("[", "]"), ("", ""), keeps_thoughts=False)


def _lfm(
    talk: Talk, around: tuple[str, str], results: tuple[str, str], *, keeps_thoughts: bool = True
) -> str:
    system = talk.system
    if talk.tools:
        listed = ", ".join(map(as_json, talk.tools))
        system += f"{chr(10) if system else ''}List of tools: {around[0]}{listed}{around[1]}"
    parts = [talk.bos, turn("system", system) if system else ""]
    answers = [i for i, one in enumerate(talk.said) if one["role"] == "assistant"]
    for i, one in enumerate(talk.said):
        content = one["content"] or ""
        if one["role"] == "tool":
            content = f"{results[0]}{content}{results[1]}"
        elif one["role"] == "assistant":
            if not keeps_thoughts and i != answers[-1] and "</think>" in content:
                content = content.split("</think>")[-1].strip()
            content += _written(one)
        parts.append(turn(one["role"], content))
    return "".join([*parts, "<|im_start|>assistant\n" if talk.goes_on else ""])


def _written(one: Turn) -> str:
    calls = [ToolCall(name, dict(arguments)) for name, arguments in calls_of(one)]
    return _LFM.write(calls) if calls else ""
