"""From messages to the text that a model continues."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from cama.core.answer import ToolCall
from cama.wire.requests import Message


class Template(Protocol):
    """What turns messages into a prompt. ``extra`` are variables that some templates know.

    ``leaves_open``: a last answer that was begun is left open without being asked.
    """

    @property
    def leaves_open(self) -> bool: ...

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **extra: Any,
    ) -> str: ...


def render_prompt(template: Template, messages: Sequence[Message], **extra: Any) -> str:
    """The prompt for the assistant's next message, or for the rest of a last one it began."""
    turns = [template_message(message) for message in messages]
    if not template.leaves_open and _is_begun(messages):
        begun = template.render(turns, add_generation_prompt=False, **extra)
        content = messages[-1].content
        for text in (content, content.strip()):
            if text in begun:
                return begun[: begun.rindex(text) + len(text)]
    return template.render(turns, **extra)


def _is_begun(messages: Sequence[Message]) -> bool:
    last = messages[-1] if messages else None
    return last is not None and last.role == "assistant" and bool(last.content.strip())


def template_message(message: Message) -> dict[str, Any]:
    """``message`` with the names that Hugging Face's templates use."""
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.thinking:
        turn["reasoning_content"] = message.thinking
        if not (message.content and message.tool_calls):  # gpt-oss takes one or the other
            turn["thinking"] = message.thinking
    if message.tool_calls:
        turn["tool_calls"] = [_template_call(call) for call in message.tool_calls]
    if message.tool_name:
        turn["name"] = message.tool_name
    if message.tool_call_id:
        turn["tool_call_id"] = message.tool_call_id
    return turn


def _template_call(call: ToolCall) -> dict[str, Any]:
    named = {"id": call.id} if call.id else {}
    function = {"name": call.name, "arguments": call.arguments}
    return {**named, "type": "function", "function": function}
