"""Texts to turn into vectors, and pairs to score: plain data that crosses process boundaries."""

from array import array
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cama.core.priority import Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """Texts of which each becomes one vector; one may be given as the ids of its tokens.

    ``truncate``: an over-long text loses its end (and the cut is counted) instead of being refused.
    ``dimensions`` above 0 keeps so many of the first numbers where there are more. ``normalise``
    gives every vector the length 1.
    """

    texts: tuple[str | tuple[int, ...], ...]
    truncate: bool = True
    dimensions: int = 0
    normalise: bool = True
    priority: Priority = "interactive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """``vectors`` in the order of the texts; tokens of all texts, after and by truncation."""

    vectors: Sequence["array[float]"]
    prompt_tokens: int
    truncated_tokens: int = 0

    def to_json(self) -> dict[str, Any]:
        """The numbers as little-endian float32 in base64: a tenth of the work of decimals."""
        return {
            "vectors": [b64encode(vector).decode("ascii") for vector in self.vectors],
            "prompt_tokens": self.prompt_tokens,
            "truncated_tokens": self.truncated_tokens,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Embedded":
        vectors = [array("f", b64decode(vector)) for vector in data["vectors"]]
        return cls(**{**data, "vectors": vectors})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Documents to score by how well each answers ``query``."""

    query: str
    documents: tuple[str, ...]
    priority: Priority = "interactive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """``scores`` in the order of the documents, higher for a better one, on the model's scale."""

    scores: tuple[float, ...]
    prompt_tokens: int
