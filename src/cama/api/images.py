"""Images of a request: whether its model sees, and where in a text they stand."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cama.api.names import full_name
from cama.core.errors import CamaError, InvalidRequest, Unsupported
from cama.store.facts import Facts, read_facts
from cama.store.models import StoredModel
from cama.wire.requests import Message

_PLACE = "[img]"

_MOST = 64
"""Images of one request; each takes hundreds of tokens."""

TOKENS_PER_IMAGE = 768
"""What an image counts when messages are left out to fit the context, as Ollama estimates it."""


def sees(model: StoredModel, facts: Facts) -> bool:
    """Whether a model takes images: it has a projector, inside of its file or beside it."""
    return bool(model.projectors) or facts.sees or "vision" in model.capabilities


def hears(model: StoredModel, facts: Facts) -> bool:
    """Whether a model takes sound; a projector that cannot be read says nothing of it."""
    return facts.hears or any(map(_hears, model.projectors))


def _hears(projector: Path) -> bool:
    try:
        return read_facts(projector).hears
    except CamaError:
        return False


def check_images(model: StoredModel, facts: Facts, messages: Sequence[Message]) -> None:
    """Raise Unsupported when there are images and the model does not see, InvalidRequest when
    there are too many."""
    n_images = sum(len(message.images) for message in messages)
    if n_images > _MOST:
        raise InvalidRequest(f"{n_images} images; a request may have {_MOST}", field="images")
    if n_images and not sees(model, facts):
        raise Unsupported(f"{full_name(model.name)} does not support vision")
    if n_images > 1 and model.family == "mllama":
        raise InvalidRequest(
            "this model only supports one image while more than one image requested",
            field="images",
        )


def check_projector(model: StoredModel) -> None:
    """Raise Unsupported when no engine can look for ``model``: a prompt with images can be made,
    but not evaluated."""
    if not model.projectors:
        raise Unsupported(
            f"the part of {full_name(model.name)} that sees is inside of its file, which no engine "
            "here runs: add a projector (mmproj) in a file of its own",
            field="images",
        )


def marked(messages: Sequence[Message]) -> list[Message]:
    """``messages`` with a mark for each image, ``[img-N]``, counted through all of them.

    It takes the place of the next ``[img]`` in the message's text, or stands in front of the text.
    """
    n, made = 0, []
    for message in messages:
        content, front = message.content, ""
        for number in range(n, n + len(message.images)):
            mark = f"[img-{number}]"
            if _PLACE in content:
                content = content.replace(_PLACE, mark, 1)
            else:
                front += mark
        n += len(message.images)
        made.append(replace(message, content=front + content) if message.images else message)
    return made
