"""Control tokens that a request wants to see as text."""

from collections.abc import Mapping, Sequence

from cama.engine.base import Tokenizer
from cama.engine.logprobs import Piece

Visible = Mapping[int, bytes]
"""Control tokens, each with its name."""


def visible_pieces(tokenizer: Tokenizer, names: Sequence[str]) -> Visible:
    """The control tokens among ``names``; others are text already, or not one token."""
    found: dict[int, bytes] = {}
    for name in names:
        tokens = tokenizer.encode(name, add_special=False, parse_special=True)
        if len(tokens) == 1 and not tokenizer.piece(tokens[0]):
            found[tokens[0]] = name.encode()
    return found


def with_visible(piece: Piece, visible: Visible) -> Piece:
    """``piece``, but for the tokens that are ``visible``."""

    def seen(token: int) -> bytes:
        return visible.get(token) or piece(token)

    return seen
