"""How a model is loaded: the options that, when they change, need another runner."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

EngineChoice = Literal["auto", "native", "llama"]
CacheType = Literal["f16", "f32", "q8_0", "q4_0"]
CACHE_TYPES: tuple[CacheType, ...] = get_args(CacheType)
CACHE_BLOCK = 32
"""A head of so many elements, or a multiple, can be kept quantized."""

DEFAULT_CONTEXT = 4096
"""Tokens of context when nobody says otherwise and no accelerator offers more."""

MIN_CONTEXT = 4

MIN_SEEING_CONTEXT = 2048
"""Of models with a projector, as Ollama has it: an image alone may take more than the usual."""

WINDOW_SLACK = 64
"""Tokens in front of a sliding window that are held too, so that a few can be taken back."""

_SPARE_BYTES = 1 << 30
_SPARE_STATES = 8, 256
"""What spare running states may take, and how many they are at least and at most."""


def spare_states(n_bytes: int) -> int:
    """How many running states of ``n_bytes`` are kept besides those of the sequences that run.

    Half of them are for idle sequences, half for checkpoints.
    """
    least, most = _SPARE_STATES
    return min(max(_SPARE_BYTES // n_bytes, least), most) if n_bytes else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A small model of the same vocabulary that guesses tokens for a larger one.

    ``digest`` tells its content, in hexadecimal. ``parts`` are as in :class:`LoadOptions`.
    """

    path: Path
    digest: str
    parts: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that a model's layers may take of a device, by its name as ggml has it."""

    device: str
    n_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """Options of a runner. 0 in ``n_ctx`` and ``n_threads`` means automatic.

    ``n_ctx`` is the limit of one request, in tokens; ``n_cells`` the size of the pool of KV cells
    that all requests share (0: two full contexts); ``n_parallel`` is how many may run at once.
    ``adapts_experts``: requests will have adapters that change the weights of experts. ``parts``
    are all files of a model that is split over several, in order; none of a whole one. ``rooms``
    bound what goes to devices; without them a GPU takes as much as it has room for. ``projector``
    is the file that lets the model see images.
    """

    n_ctx: int = 0
    n_batch: int = 512
    n_parallel: int = 8
    n_cells: int = 0
    n_threads: int = 0
    n_gpu_layers: int = -1
    cache_type: CacheType = "f16"
    use_mmap: bool = True
    engine: EngineChoice = "auto"
    draft: Draft | None = None
    adapts_experts: bool = False
    parts: tuple[Path, ...] = ()
    rooms: tuple[Room, ...] = ()
    projector: Path | None = None

    @property
    def n_window_checkpoints(self) -> int:
        """Windows in the middle of texts that are held, where not all of them can be."""
        return max(4, self.n_parallel // 2)

    def window_cells(self, reach: int) -> int:
        """Cells that layers with a window of ``reach`` tokens hold at most."""
        running = max(1, self.n_parallel) * (reach + self.n_batch + WINDOW_SLACK)
        return running + self.n_window_checkpoints * reach

    @property
    def has_quantized_cache(self) -> bool:
        return self.cache_type in ("q8_0", "q4_0")

    def for_texts(self) -> "LoadOptions":
        """How texts are embedded: what is kept of them for a moment is not quantized."""
        return replace(self, cache_type="f16") if self.has_quantized_cache else self

    def for_draft(self) -> "LoadOptions":
        """How the draft model is loaded: for the same texts."""
        parts = self.draft.parts if self.draft else ()
        return replace(self, draft=None, adapts_experts=False, parts=parts, projector=None)

    def context_for(self, n_ctx_train: int) -> int:
        """Context length of one request for a model trained on ``n_ctx_train`` tokens."""
        least = MIN_SEEING_CONTEXT if self.projector else MIN_CONTEXT
        wanted = max(self.n_ctx or DEFAULT_CONTEXT, least)
        return min(wanted, n_ctx_train) if n_ctx_train > 0 else wanted

    def cells_for(self, n_ctx_train: int) -> int:
        """Cells of the shared pool, a multiple of 256 (the granularity of attention)."""
        n_ctx = self.context_for(n_ctx_train)
        return -(-(self.n_cells or n_ctx * 2) // 256) * 256


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixFolder:
    """Where prompt prefixes are kept on disk, and which: those that took long to compute.

    A second is what a user notices; a file for less would be written more often than read.
    """

    path: Path
    max_bytes: int
    min_seconds: float = 1.0
