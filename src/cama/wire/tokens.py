"""Cama's own requests about tokens, and the reply to one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from cama.core.errors import InvalidRequest
from cama.wire import shapes
from cama.wire.decode import Fields
from cama.wire.requests import ModelRequest, model_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeRequest(ModelRequest):
    """``text`` may also be called ``content`` or ``prompt``, as other servers have it.

    ``add_special`` puts the model's BOS and EOS where it wants them, ``parse_special`` reads the
    names of control tokens as such; ``with_pieces`` asks for what each token stands for.
    """

    struct: ClassVar[str] = "TokenizeRequest"

    also: ClassVar[Any] = shapes.OtherTexts

    text: str
    add_special: bool
    parse_special: bool
    with_pieces: bool

    @classmethod
    def read(cls, body: Fields) -> Self:
        given = [name for name in ("text", "content", "prompt") if body.any(name) is not None]
        if len(given) != 1:
            raise InvalidRequest("tokenize needs one of text, content and prompt", field="text")
        return cls(
            **model_fields(body),
            text=body.text(given[0]),
            add_special=body.flag("add_special"),
            parse_special=body.flag("parse_special", default=True),
            with_pieces=body.flag("with_pieces"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DetokenizeRequest(ModelRequest):
    struct: ClassVar[str] = "DetokenizeRequest"

    tokens: tuple[int, ...]

    @classmethod
    def read(cls, body: Fields) -> Self:
        return cls(**model_fields(body), tokens=body.integers("tokens"))


def tokens_reply(
    model: str, tokens: Sequence[int], pieces: Sequence[bytes] | None
) -> dict[str, Any]:
    """A piece is text, or an array of bytes where it is only part of a character."""
    reply: dict[str, Any] = {"model": model, "tokens": list(tokens), "count": len(tokens)}
    return reply if pieces is None else reply | {"pieces": [_piece(piece) for piece in pieces]}


def _piece(piece: bytes) -> str | list[int]:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)
