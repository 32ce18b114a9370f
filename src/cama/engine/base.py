"""The engine protocol: all that the generation loop and the engines share.

An engine writes tokens into a KV cache and gives logits back. It knows nothing of requests, text,
stop strings or sampling. Everything above it exists once and serves every engine.

All methods are called from one thread, the engine thread, for the engine's life; the exception is
:meth:`Interruptible.interrupt`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NewType, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cama.core.generation import Adapters

SeqId = NewType("SeqId", int)

Logits = NDArray[np.float32]
"""Float32 [rows, n_vocab], or one row [n_vocab]."""

Vectors = NDArray[np.float32]
"""Float32 [texts, width]."""

EngineName = Literal["native", "llama", "fake"]

Pooling = Literal["mean", "cls", "last", "rank"]
"""How the vectors of a text's tokens become one; ``rank`` turns them into a score instead."""


Pixels = NDArray[np.uint8]
"""A decoded picture, uint8 [height, width, 3]: red, green, blue."""


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A picture, or a part of one, as a run of tokens that is evaluated as a whole.

    ``tokens`` are below zero, one for each cell that it takes, and the same for the same content
    only: so prompts share it as they share text. It moves what follows by ``n_positions``;
    ``digest`` is that of its picture, and ``content`` its engine's.
    """

    tokens: Sequence[int]
    n_positions: int
    digest: bytes
    content: Any


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive tokens of one sequence; a decode step is a span of one token.

    ``start`` is the position of the first; it must be the sequence's length in the cache. Logits
    are wanted for the last ``n_outputs`` tokens (0 to ``len(tokens)``). ``adapters`` change the
    weights for these tokens; they are held, and the same for all tokens of the sequence. The span
    of an ``image`` has its tokens, be they more than ``n_batch``, and is alone in its plan.
    """

    seq: SeqId
    start: int
    tokens: Sequence[int]
    n_outputs: int = 0
    adapters: Adapters = ()
    image: Image | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One forward pass: spans of different sequences, at most ``n_batch`` tokens in all."""

    spans: tuple[Span, ...]

    @property
    def n_tokens(self) -> int:
        return sum(len(span.tokens) for span in self.spans)

    @property
    def n_outputs(self) -> int:
        return sum(span.n_outputs for span in self.spans)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What an engine is and what it can hold.

    ``n_ctx`` limits one sequence (tokens); ``n_cells`` is the pool that all sequences share, in
    which a shared prefix counts once; sequence ids are 0 ... ``n_seq_max`` - 1.
    ``reason`` says in words why this engine runs this model. One that does not generate has no
    cells and can only embed. ``can_cut``: the last tokens of a sequence can be taken back, and
    mostly it can be resumed anywhere; an engine that :class:`Resumes` says where. It remembers
    ``n_checkpoints`` places that it is asked to; with 0 it needs none.
    """

    engine: EngineName
    reason: str
    architecture: str
    n_ctx_train: int
    n_ctx: int
    n_cells: int
    n_batch: int
    n_seq_max: int
    n_vocab: int
    n_embd: int
    n_threads: int
    devices: tuple[str, ...] = ("CPU",)
    can_cut: bool = True
    n_checkpoints: int = 0
    generates: bool = True


class Tokenizer(Protocol):
    """Text to token ids and back. Any thread may call it."""

    @property
    def bos(self) -> int | None: ...

    @property
    def end_of_generation(self) -> frozenset[int]: ...

    def encode(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]: ...

    def encode_pair(self, query: str, document: str) -> list[int]:
        """A query and a document as rerankers read them, with the tokens around and between."""

    def piece(self, token: int) -> bytes:
        """The bytes that ``token`` adds to a text: perhaps part of a character, perhaps none."""

    def decode(self, tokens: Sequence[int]) -> str: ...


class Engine(Protocol):
    """A model with its KV cache."""

    @property
    def info(self) -> EngineInfo: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def free_cells(self) -> int:
        """Cells that no sequence uses."""

    def forward(self, plan: Plan) -> Logits:
        """Write every span to the cache and compute the logits that the spans asked for.

        Returns float32 [plan.n_outputs, n_vocab], rows in plan order: a view into the engine's
        memory, valid until the next call. Raises CacheFull when cells run out and Interrupted when
        aborted; then no token of the plan is in the cache.
        """

    def share(self, source: SeqId, target: SeqId, length: int) -> None:
        """Let the empty ``target`` see the first ``length`` cells of ``source``, uncopied.

        Raises EngineError where the cache cannot be resumed there.
        """

    def truncate(self, seq: SeqId, length: int) -> int:
        """Forget positions >= ``length``.

        Returns the length kept, shorter where the cache cannot cut there.
        """

    def shift(self, seq: SeqId, start: int, end: int) -> None:
        """Drop positions [start, end) and move the later ones down.

        Raises EngineError when the moved cells are shared with another sequence.
        """

    def save(self, seq: SeqId, length: int) -> bytes:
        """The state of the first ``length`` positions, for :meth:`restore` of the same model."""

    def restore(self, seq: SeqId, state: bytes) -> int:
        """Fill the empty ``seq`` from :meth:`save`; returns its length.

        Raises EngineError on data that this engine and model did not save.
        """

    def close(self) -> None:
        """Free everything. The engine is unusable afterwards; a second call does nothing."""


@runtime_checkable
class Interruptible(Protocol):
    """An engine whose running forward pass can be aborted from another thread."""

    def interrupt(self) -> None:
        """Abort the forward pass that runs now, if one does: it raises Interrupted."""


@runtime_checkable
class Resumes(Protocol):
    """An engine that cannot resume every sequence everywhere, and says where it can."""

    def resumable(self, seq: SeqId, length: int) -> int:
        """The most of the first ``length`` tokens that share, truncate and save can keep."""

    def checkpoint(self, seq: SeqId, length: int) -> None:
        """Let ``seq`` be resumed behind ``length`` tokens later, for as long as there is room.

        So can sequences that share its cell, also when ``seq`` is gone. Where the engine cannot
        cut, it must be the end of ``seq``; where it can no more, nothing happens.
        """

    def rest(self, seq: SeqId) -> None:
        """``seq`` goes on no more, unless :meth:`resumable` says that it can at its end."""


@runtime_checkable
class Adapts(Protocol):
    """An engine that adds LoRA adapters to its weights, to each sequence its own."""

    @property
    def mixes_adapters(self) -> bool:
        """Whether the spans of one plan may have different adapters."""

    def hold_adapters(self, adapters: Adapters) -> None:
        """Load what is not loaded yet; spans may have ``adapters`` until they are released.

        Each call wants its :meth:`release_adapters`. Raises ModelNotFound, InvalidModelFile and
        UnsupportedModel for a file that does not fit the model, LoadFailed; then nothing is held.
        """

    def release_adapters(self, adapters: Adapters) -> None:
        """They may be unloaded when nobody else holds them, and no plan that has them runs."""


class Placed(NamedTuple):
    """An image whose first token is the one with index ``start`` in a prompt."""

    start: int
    image: Image

    @property
    def end(self) -> int:
        return self.start + len(self.image.tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """The tokens of a prompt, those of its images among them."""

    tokens: Sequence[int]
    images: Sequence[Placed] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What an engine is to look at; ``digest`` tells its content."""

    pixels: Pixels
    digest: bytes


@runtime_checkable
class Sees(Protocol):
    """An engine that may have a projector, which turns pictures into tokens of a prompt."""

    @property
    def has_sight(self) -> bool:
        """Whether it has one."""

    def look(self, parts: Sequence[str | Picture], *, add_special: bool) -> Prompt:
        """The prompt that is made of texts and pictures.

        Any thread may call it. Raises InvalidRequest for a picture that the model cannot look at,
        and Unsupported where a pass is too short for it.
        """


@runtime_checkable
class Embeds(Protocol):
    """An engine that can turn a text into one vector, apart from all that is in its cache."""

    @property
    def pooling(self) -> Pooling: ...

    def embed(self, texts: Sequence[Sequence[int]]) -> Vectors:
        """One row per text of 1 to ``n_ctx`` tokens; the caller's to keep, not normalised.

        With pooling ``rank`` a row is the scores of a pair, the one that matters first. Raises
        Interrupted when aborted. It returns when all are computed: who has other work waiting hands
        over few at a time.
        """
