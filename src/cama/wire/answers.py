"""An answer on its way to a client, before a dialect gives it its form."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cama.core.answer import Piece
from cama.core.generation import Finish, Logprob
from cama.wire.framing import Framing, Reply

LoadReason = Literal["load", "unload"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The accounts of one choice."""

    finish: Finish
    total_seconds: float
    load_seconds: float
    truncated_messages: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """Something of one choice. ``logprobs`` are of its tokens, in order."""

    piece: Piece
    logprobs: tuple[Logprob, ...] = ()
    choice: int = 0

    @property
    def is_silent(self) -> bool:
        """Whether there is neither text nor thoughts nor log-probabilities in it."""
        return not (self.piece.text or self.piece.thinking or self.logprobs)


@dataclass(frozen=True, slots=True)
class Echo:
    """The prompt of one choice, before all of its parts; the first of its tokens has no logprob."""

    text: str
    logprobs: tuple[Logprob, ...] = ()
    choice: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """The end of one choice. ``context`` are the ids with which a later request can go on.

    ``loops``: it was broken off because it said the same again and again.
    """

    metrics: Metrics
    context: list[int] | None = None
    choice: int = 0
    loops: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """There was nothing to generate, and the model is loaded or unloaded."""

    reason: LoadReason


@dataclass(frozen=True, slots=True)
class Rendered:
    """There was nothing to generate but the prompt itself."""

    prompt: str
    n_images: int = 0


Event = Part | Echo | End | Loaded | Rendered


class Dialect(Protocol):
    """How one answer is written. It may count and remember, for each answer has its own."""

    @property
    def framing(self) -> Framing: ...

    def write(self, event: Event) -> Iterable[Reply]:
        """The replies of a streamed answer that tell of ``event``, maybe none."""

    def whole(self, events: Sequence[Event]) -> Reply:
        """The one reply of an answer that is not streamed."""
