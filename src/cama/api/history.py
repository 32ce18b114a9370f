"""What of a conversation a model is shown: its own texts in front, old thoughts left out."""

from collections.abc import Sequence
from dataclasses import replace

from cama.core.errors import InvalidModelName
from cama.store.models import StoredModel
from cama.store.names import ModelName
from cama.templates.answers.tagged import TaggedAnswer, Tags
from cama.wire.decode import Fields
from cama.wire.requests import ChatRequest, GenerateRequest, Message

_THOUGHTS = Tags("<think>", "</think>")


def conversation(body: ChatRequest, model: StoredModel) -> list[Message]:
    """The model's system text unless the request brings one, its messages, the request's."""
    needs_system = bool(model.system) and body.messages[0].role != "system"
    first = [Message(role="system", content=model.system or "")] if needs_system else []
    messages = [*first, *stored_messages(model), *body.messages]
    return without_old_thoughts(messages) if _thinks_aloud(model) else messages


def single_turn(body: GenerateRequest, model: StoredModel) -> list[Message]:
    """System, the model's own messages unless an earlier reply is continued, and the prompt."""
    system = body.system or model.system
    first = [Message(role="system", content=system)] if system else []
    return [
        *first,
        *([] if body.context else stored_messages(model)),
        Message(role="user", content=body.prompt, images=body.images),
    ]


def stored_messages(model: StoredModel) -> list[Message]:
    """The messages of a model's Modelfile."""
    return [Message.read(Fields(message, "Message")) for message in model.messages]


def without_old_thoughts(messages: Sequence[Message]) -> list[Message]:
    """``messages`` whose answers before the last question begin without their thoughts.

    Clients send back what they were given by servers that do not tell thoughts from text.
    """
    asked = [i for i, message in enumerate(messages) if message.role == "user"]
    last = asked[-1] if asked else 0
    return [
        replace(message, content=_said(message.content))
        if message.role == "assistant" and i < last
        else message
        for i, message in enumerate(messages)
    ]


def _said(text: str) -> str:
    parser = TaggedAnswer(_THOUGHTS, (), {})
    return parser.feed(text).text + parser.end().text


def _thinks_aloud(model: StoredModel) -> bool:
    """Of these models Ollama cuts old thoughts; the templates of others do it themselves."""
    try:
        name = ModelName.parse(model.name).model
    except InvalidModelName:  # the path of a file
        name = ""
    return model.family == "qwen3" or name == "deepseek-r1"
