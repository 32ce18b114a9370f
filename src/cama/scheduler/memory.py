"""What running a model takes, from the header of its file alone: both engines allocate so much."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from cama.core.load import LoadOptions, spare_states
from cama.gguf import GGMLType
from cama.store.shape import Layer, Shape

Kind = Literal["weights", "projector", "full", "window", "mla", "states", "compute", "process"]

PROCESS_BYTES: Final = 64 << 20
"""A runner without a model: the interpreter, libggml and libllama (55 MiB on Linux)."""

TOKEN_BYTES: Final = 512
"""What libllama's tables keep of one token of a vocabulary, its merges included."""

_FLOAT32: Final = 4
_FLOAT16: Final = 2
_LLAMA_SEQUENCES: Final = 128
"""libllama keeps a row of logits for each of its sequences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Bytes for one purpose. ``full``, ``window`` and ``mla`` are kinds of KV caches."""

    kind: Kind
    n_layers: int
    n_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one model takes. ``by_layer`` are weights, cells and states of each layer, in order."""

    n_ctx: int
    n_cells: int
    items: tuple[Item, ...]
    by_layer: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        return sum(item.n_bytes for item in self.items)


def need(shape: Shape, load: LoadOptions, projector_bytes: int = 0) -> Need:
    """What a model of ``shape`` takes with these options, on the engine that takes more.

    ``projector_bytes`` is what its projector takes, whose weights are not mapped but read.
    """
    n_cells = load.cells_for(shape.n_ctx_train)
    n_slots = max(1, load.n_parallel) + _n_spare(shape, load)
    kind = _cache_type(shape, load)
    cells = [_cell_bytes(layer, kind) * n_cells for layer in shape.layers]
    states = [layer.state * _FLOAT32 * n_slots for layer in shape.layers]
    items = [
        Item(kind="weights", n_layers=len(shape.layers), n_bytes=shape.weights_bytes),
        Item(kind="projector", n_layers=0, n_bytes=projector_bytes),
        *_caches(shape.layers, cells),
        _item("states", states),
        Item(kind="compute", n_layers=0, n_bytes=_compute_bytes(shape, load, n_cells)),
        Item(kind="process", n_layers=0, n_bytes=PROCESS_BYTES + shape.n_vocab * TOKEN_BYTES),
    ]
    by_layer = [
        layer.weights_bytes + cell + state
        for layer, cell, state in zip(shape.layers, cells, states, strict=True)
    ]
    return Need(
        n_ctx=load.context_for(shape.n_ctx_train),
        n_cells=n_cells,
        items=tuple(item for item in items if item.n_bytes),
        by_layer=tuple(by_layer),
    )


def _n_spare(shape: Shape, load: LoadOptions) -> int:
    """States beside those of running requests; libllama has one, for copies."""
    if load.engine == "llama":
        return 1
    return spare_states(sum(layer.state for layer in shape.layers) * _FLOAT32)


def _cache_type(shape: Shape, load: LoadOptions) -> GGMLType:
    """The engines keep float16 where a head is not made of whole blocks of the type wanted."""
    kind = GGMLType[load.cache_type.upper()]
    heads = (n for layer in shape.layers if layer.key for n in layer.heads)
    return GGMLType.F16 if any(n % kind.block_size for n in heads) else kind


def _cell_bytes(layer: Layer, kind: GGMLType) -> int:
    """Bytes that a layer keeps of one token."""
    return sum(kind.n_bytes((width,)) for width in (layer.key, layer.value) if width)


def _caches(layers: Sequence[Layer], cells: Sequence[int]) -> list[Item]:
    kinds: dict[Kind, list[int]] = {"full": [], "window": [], "mla": []}
    for layer, n_bytes in zip(layers, cells, strict=True):
        kind: Kind = "mla" if layer.is_compressed else "window" if layer.window else "full"
        kinds[kind].append(n_bytes)
    return [_item(kind, sizes) for kind, sizes in kinds.items()]


def _item(kind: Kind, sizes: Iterable[int]) -> Item:
    found = [size for size in sizes if size]
    return Item(kind=kind, n_layers=len(found), n_bytes=sum(found))


def _compute_bytes(shape: Shape, load: LoadOptions, n_cells: int) -> int:
    """Bounds of what the engines reserve for their largest pass.

    At the widest step three results are alive, beside the stream, its norm and copies. Each kind of
    attention has a mask of float16. libllama reserves logits for every token of a pass.
    """
    n_batch = min(load.n_batch, n_cells)
    activations = n_batch * _FLOAT32 * (3 * shape.n_wide + 4 * shape.n_embd)
    masks = shape.n_windows * n_batch * n_cells * _FLOAT16
    if load.engine == "native":
        logits = min(n_batch, max(1, load.n_parallel)) * shape.n_vocab * _FLOAT32
        return max(activations, logits) + masks
    logits = n_batch * shape.n_vocab * _FLOAT32
    rows = _LLAMA_SEQUENCES * shape.n_vocab * _FLOAT32
    return max(activations, logits) + masks + rows
