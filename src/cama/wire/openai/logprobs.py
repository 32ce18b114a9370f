"""Log-probabilities in the form of a chat and in the older one of a completion."""

import codecs
from collections.abc import Sequence

from cama.core.generation import Logprob
from cama.wire.framing import Reply


def chat_logprobs(logprobs: Sequence[Logprob]) -> list[Reply]:
    return [
        {**_token(one), "top_logprobs": [_token(other) for other in one.top]} for one in logprobs
    ]


def _token(one: Logprob) -> Reply:
    text = one.piece.decode(errors="replace")
    return {"token": text, "logprob": one.logprob, "bytes": list(one.piece)}


class CompletionLogprobs:
    """The parallel lists of one choice, which know where in the text each token begins."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._n_characters = 0

    def first(self, piece: bytes) -> Reply:
        """The first token of an echoed prompt, which nothing came before."""
        return self._lists([(piece, None, None)])

    def rest(self, logprobs: Sequence[Logprob]) -> Reply:
        return self._lists(
            [
                (one.piece, one.logprob, {_name(other.piece): other.logprob for other in one.top})
                for one in logprobs
            ]
        )

    def _lists(self, tokens: list[tuple[bytes, float | None, dict[str, float] | None]]) -> Reply:
        offsets = []
        for piece, _, _ in tokens:
            offsets.append(self._n_characters)
            self._n_characters += len(self._decoder.decode(piece))
        return {
            "tokens": [_name(piece) for piece, _, _ in tokens],
            "token_logprobs": [logprob for _, logprob, _ in tokens],
            "top_logprobs": [top for _, _, top in tokens],
            "text_offset": offsets,
        }


def joined(lists: Sequence[Reply]) -> Reply:
    """Several of the parallel lists, one after the other."""
    keys = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
    return {key: [item for part in lists for item in part[key]] for key in keys}


def _name(piece: bytes) -> str:
    """The text of a token; of a part of a character OpenAI shows the bytes."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)
