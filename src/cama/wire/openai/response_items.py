"""The items of a response's input and output, as a conversation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cama.core.answer import ToolCall
from cama.wire.openai.messages import called_name, image_data, native_role, read_arguments
from cama.wire.openai.params import Params
from cama.wire.requests import Message

Item = Mapping[str, Any]

_ROLES = ("user", "assistant", "system", "developer")
_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}


def input_items(params: Params, key: str) -> tuple[Item, ...]:
    """A text is a message of the user. Raises InvalidRequest."""
    value = params.any(key)
    if isinstance(value, str):
        return ({"type": "message", "role": "user", "content": value},)
    if value is None:
        return ()
    if not isinstance(value, list):
        params.refuse(key, "must be a string or an array of items")
    return tuple(item.all() for item in params.objects(key))


def read_items(**parts: Sequence[Item]) -> tuple[Message, ...]:
    """The turns that the items of all parts tell of; each part has the name of its field.

    Raises InvalidRequest.
    """
    conversation = _Conversation()
    for key, items in parts.items():
        for i, item in enumerate(items):
            conversation.add(Params(item, f"{key}[{i}]"))
    return tuple(conversation.messages)


class _Conversation:
    """Items put together: what the assistant thinks, says and calls in one turn is one message."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._thinking = ""

    def add(self, item: Params) -> None:
        match item.text("type", "message" if item.has("role") else ""):
            case "message":
                self._add_message(item)
            case "function_call":
                self._add_call(item)
            case "function_call_output":
                self._add_output(item)
            case "reasoning":
                self._thinking += _thoughts(item)
            case "web_search_call":
                pass  # what was found is in the message behind it
            case "":
                item.refuse("type", "is required")
            case other:
                item.refuse("type", f"{other!r:.60} is not supported by Cama")

    def _add_message(self, item: Params) -> None:
        role = native_role(item.choice("role", _ROLES, default=""))
        text, images = _content(item, "content")
        if role == "assistant":
            self._assistant(text)
        else:
            self.messages.append(Message(role=role, content=text, images=images))

    def _add_call(self, item: Params) -> None:
        last = self._assistant("")
        call = ToolCall(
            name=item.needed_text("name"),
            arguments=read_arguments(item, "arguments"),
            id=item.needed_text("call_id"),
            index=len(last.tool_calls),
        )
        self.messages[-1] = replace(last, tool_calls=(*last.tool_calls, call))

    def _add_output(self, item: Params) -> None:
        call_id = item.needed_text("call_id")
        text, images = _content(item, "output")
        name = called_name(self.messages, call_id)
        message = Message(
            role="tool", content=text, images=images, tool_name=name, tool_call_id=call_id
        )
        self.messages.append(message)

    def _assistant(self, text: str) -> Message:
        """The assistant's turn that goes on, or begins, with ``text``."""
        last = self.messages[-1] if self.messages else None
        if last is None or last.role != "assistant" or (text and not last.tool_calls):
            self.messages.append(Message(role="assistant", content="", thinking=self._thinking))
        last = self.messages[-1]
        self.messages[-1] = replace(last, content=last.content + text)
        self._thinking = ""
        return self.messages[-1]


def _thoughts(item: Params) -> str:
    """What the client was given to bring back, in plain text, or else what it was shown."""
    if item.has("encrypted_content"):
        return item.text("encrypted_content")
    shown = [*item.objects("content"), *item.objects("summary")]
    return "\n".join(part.text("text") for part in shown)


def _content(item: Params, key: str) -> tuple[str, tuple[str, ...]]:
    """The text, and the images in base64."""
    value = item.any(key)
    if isinstance(value, str):
        return value, ()
    if not isinstance(value, list):
        item.refuse(key, "must be a string or an array of parts")
    texts: list[str] = []
    images: list[str] = []
    for part in item.objects(key):
        kind = part.text("type")
        if kind in _TEXTS:
            texts.append(part.text(_TEXTS[kind]))
        elif kind == "input_image":
            images.append(image_data(part, "image_url"))
        else:
            part.refuse("type", f"{kind!r:.60} is not supported: use input_text")
    return "\n".join(texts), tuple(images)
