"""Conversations in OpenAI's form, as ours."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from cama.core.answer import ToolCall
from cama.wire.decode import MAX_DEPTH, is_deeper, repaired
from cama.wire.openai.params import Params
from cama.wire.requests import Message

_ROLES = ("system", "developer", "user", "assistant", "tool")


def read_messages(params: Params) -> tuple[Message, ...]:
    """The turns under ``messages``, at least one. Raises InvalidRequest."""
    messages: list[Message] = []
    for turn in params.objects("messages"):
        messages.append(_read_message(turn, messages))
    if not messages:
        params.refuse("messages", "must have at least one message")
    return tuple(messages)


def _read_message(turn: Params, before: Sequence[Message]) -> Message:
    role = turn.choice("role", _ROLES, default="")
    if turn.has("function_call"):
        turn.refuse("function_call", "is not supported by Cama: use 'tool_calls'")
    calls = tuple(_tool_calls(turn)) if role == "assistant" else ()
    text, images = _content(turn, is_needed=not calls)
    call_id = turn.text("tool_call_id")
    return Message(
        role=native_role(role),
        content=text,
        thinking=turn.text("reasoning_content") or turn.text("reasoning"),
        images=images,
        tool_calls=calls,
        tool_name=turn.text("name") or called_name(before, call_id),
        tool_call_id=call_id,
    )


def native_role(role: str) -> str:
    """Templates know the developer's messages as those of the system."""
    return "system" if role == "developer" else role


def called_name(before: Sequence[Message], call_id: str) -> str:
    """The name of the tool in the last call with that id."""
    calls = [call for message in before for call in message.tool_calls]
    return next((call.name for call in reversed(calls) if call_id and call.id == call_id), "")


def _tool_calls(turn: Params) -> Iterator[ToolCall]:
    for i, call in enumerate(turn.objects("tool_calls")):
        call.choice("type", ("function",), default="function")
        function = call.inner("function")
        yield ToolCall(
            name=function.needed_text("name"),
            arguments=read_arguments(function, "arguments"),
            id=call.text("id"),
            index=i,
        )


def read_arguments(params: Params, key: str) -> dict[str, Any]:
    """The object that a JSON text holds; no text is no arguments. Raises InvalidRequest."""
    text = params.text(key)
    if not text.strip():
        return {}
    try:
        arguments = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        params.refuse(key, "is not valid JSON")
    if not isinstance(arguments, dict):
        params.refuse(key, "must be the JSON text of an object")
    if is_deeper(arguments, MAX_DEPTH):
        params.refuse(key, f"nests more than {MAX_DEPTH} levels")
    found: dict[str, Any] = repaired(arguments)
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _content(turn: Params, *, is_needed: bool) -> tuple[str, tuple[str, ...]]:
    """The text, and the images in base64."""
    value = turn.any("content")
    if value is None and not is_needed:
        return "", ()
    if not isinstance(value, str | list):
        turn.refuse("content", "must be a string or an array of parts")
    if isinstance(value, str):
        return value, ()
    texts: list[str] = []
    images: list[str] = []
    for part in turn.objects("content"):
        match part.text("type"):
            case "text":
                texts.append(part.text("text"))
            case "refusal":
                texts.append(part.text("refusal"))
            case "image_url":
                images.append(_image(part))
            case other:
                part.refuse("type", f"{other!r:.60} is not supported: use text")
    return "\n".join(texts), tuple(images)


def _image(part: Params) -> str:
    is_short = isinstance(part.any("image_url"), str)
    holder, key = (part, "image_url") if is_short else (part.inner("image_url"), "url")
    return image_data(holder, key)


def image_data(params: Params, key: str) -> str:
    """The base64 text in a data URL."""
    head, comma, data = params.text(key).partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        params.refuse(key, "must be a data URL in base64: images are not fetched from the network")
    return data
