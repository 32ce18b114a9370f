"""Conversations of content blocks, as ours."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from cama.core.answer import ToolCall
from cama.core.errors import Unsupported
from cama.wire.anthropic.fields import check_caching
from cama.wire.openai.params import Params
from cama.wire.requests import Message

_ROLES = ("user", "assistant")


def read_system(params: Params) -> tuple[Message, ...]:
    """The system's message, if there is one, from a string or from blocks of text."""
    texts = [params.text("system")] if isinstance(params.any("system"), str) else []
    if not texts:
        texts = [_text(block) for block in params.objects("system")]
    text = "\n".join(texts)
    return (Message(role="system", content=text),) if text else ()


def read_messages(params: Params) -> tuple[Message, ...]:
    """The turns under ``messages``, at least one. Raises InvalidRequest and Unsupported.

    Turns of the same role that follow each other become one, as Anthropic has it. The result of a
    tool is a message of its own; one that tells of an error begins with ``Error: ``.
    """
    reading = _Reading()
    for turn in params.objects("messages"):
        role = turn.choice("role", _ROLES, default="")
        reading.add(list(reading.user(turn) if role == "user" else _assistant(turn, reading)))
    if not reading.messages:
        params.refuse("messages", "must have at least one message")
    return tuple(reading.messages)


@dataclass(slots=True)
class _Reading:
    """What has been read, and the names of the tools that were called, by the ids of the calls."""

    messages: list[Message] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def add(self, turn: list[Message]) -> None:
        """Add the messages of a turn."""
        for message in turn:
            if self.messages and _are_one(self.messages[-1], message):
                message = _joined(self.messages.pop(), message)
            self.messages.append(message)

    def user(self, turn: Params) -> Iterator[Message]:
        for block in _blocks(turn):
            match block.text("type"):
                case "text":
                    yield Message(role="user", content=_text(block))
                case "image":
                    yield Message(role="user", content="", images=(_image(block),))
                case "tool_result":
                    yield self._result(block)
                case other:
                    _refuse(block, other)

    def _result(self, block: Params) -> Message:
        check_caching(block)
        name = block.needed_text("tool_use_id")
        if name not in self.names:
            block.refuse("tool_use_id", "is not the id of a tool_use before it")
        texts: list[str] = []
        images: list[str] = []
        for part in _blocks(block) if block.has("content") else ():
            match part.text("type"):
                case "text":
                    texts.append(_text(part))
                case "image":
                    images.append(_image(part))
                case other:
                    _refuse(part, other)
        prefix = "Error: " if block.flag("is_error") else ""
        return Message(
            role="tool",
            content=prefix + "\n".join(texts),
            images=tuple(images),
            tool_name=self.names[name],
            tool_call_id=name,
        )


def _assistant(turn: Params, reading: _Reading) -> Iterator[Message]:
    calls: list[ToolCall] = []
    texts: list[str] = []
    thoughts: list[str] = []
    for block in _blocks(turn):
        match block.text("type"):
            case "text":
                texts.append(_text(block))
            case "thinking":
                block.text("signature")
                thoughts.append(block.text("thinking"))
            case "redacted_thinking":
                continue  # nobody but Anthropic can read it
            case "tool_use":
                calls.append(_call(block, len(calls)))
                reading.names[calls[-1].id] = calls[-1].name
            case other:
                _refuse(block, other)
    yield Message(
        role="assistant",
        content="".join(texts),
        thinking="".join(thoughts),
        tool_calls=tuple(calls),
    )


def _blocks(params: Params) -> Iterable[Params]:
    """The blocks of a ``content``; a string is a block of text."""
    value = params.any("content")
    if isinstance(value, str):
        return [Params({"type": "text", "text": value}, params.path("content"))]
    if not isinstance(value, list):
        params.refuse("content", "must be a string or an array of blocks")
    return params.objects("content")


def _text(block: Params) -> str:
    if block.text("type") != "text":
        block.refuse("type", "must be 'text'")
    check_caching(block)
    if not isinstance(block.any("text"), str):
        block.refuse("text", "is required")
    return block.text("text")


def _image(block: Params) -> str:
    """The image in base64."""
    check_caching(block)
    source = block.inner("source")
    source.choice("type", ("base64",), default="")
    source.text("media_type")
    return source.needed_text("data")


def _call(block: Params, index: int) -> ToolCall:
    check_caching(block)
    block.mapping("caller")
    return ToolCall(
        name=block.needed_text("name"),
        arguments=dict(block.mapping("input")),
        id=block.needed_text("id"),
        index=index,
    )


def _refuse(block: Params, kind: str) -> None:
    path = block.path("type")
    raise Unsupported(f"'{path}' {kind!r:.60} is not supported by Cama", field=path)


def _are_one(first: Message, second: Message) -> bool:
    return first.role == second.role != "tool" and not first.tool_calls


def _joined(first: Message, second: Message) -> Message:
    between = "\n" if first.role == "user" and first.content and second.content else ""
    return replace(
        first,
        content=first.content + between + second.content,
        thinking=first.thinking + second.thinking,
        images=first.images + second.images,
        tool_calls=first.tool_calls + second.tool_calls,
    )
