"""Whether a model fits, where its parts go, and how long its context could be at most."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from cama.core.load import MIN_CONTEXT, LoadOptions
from cama.core.placement import GPU_RESERVE, place
from cama.core.size import gibibytes
from cama.scheduler.host import HostMemory
from cama.scheduler.memory import Need, need
from cama.store.shape import Shape

_STEP: Final = 256
"""Contexts grow in steps of this, as attention reads cells."""

_MAX_CONTEXT: Final = 2**24


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device with memory of its own; ``free`` in bytes."""

    name: str
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What of a model goes to a device: repeating layers, perhaps the output, and their bytes."""

    device: str
    n_layers: int
    n_bytes: int
    free: int
    has_output: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A file by its size and shape. Two of the same ``path`` share their weights.

    ``projector_bytes`` is what the projector beside it takes.
    """

    path: str
    shape: Shape
    load: LoadOptions
    projector_bytes: int = 0

    @property
    def need(self) -> Need:
        return need(self.shape, self.load, self.projector_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``need`` is the model's own, ``draft`` that of the model that guesses for it, if any."""

    need: Need
    draft: Need | None
    host: HostMemory
    shares: tuple[Share, ...]
    n_bytes: int
    max_n_ctx: int
    n_ctx_train: int

    @property
    def on_host(self) -> int:
        """Bytes that the machine's own memory must hold."""
        return self.shares[0].n_bytes

    @property
    def fits(self) -> bool:
        return self.on_host <= self.host.available

    @property
    def reason(self) -> str:
        """Why it fits or not, and what bounds its context, in one line."""
        wanted, there = gibibytes(self.on_host), gibibytes(self.host.available)
        if not self.max_n_ctx:
            return f"{wanted} are needed, {there} are available: no context is short enough"
        if not self.fits:
            return (
                f"{wanted} are needed, {there} are available: "
                f"a context of at most {self.max_n_ctx} tokens would fit"
            )
        bound = "what it was trained on" if self._is_trained_bound else "the memory available"
        return (
            f"{wanted} of {there} available; "
            f"the context may have up to {self.max_n_ctx} tokens, bound by {bound}"
        )

    @property
    def _is_trained_bound(self) -> bool:
        return 0 < self.n_ctx_train <= self.max_n_ctx

    def to_json(self) -> dict[str, Any]:
        """As ``/api/plan`` answers; sizes in bytes."""
        return {
            "fits": self.fits,
            "reason": self.reason,
            "required": self.n_bytes,
            "available": self.host.available,
            "total": self.host.total,
            "context_length": self.need.n_ctx,
            "max_context_length": self.max_n_ctx,
            "cells": self.need.n_cells,
            "items": _items(self.need, "model")
            + (_items(self.draft, "draft") if self.draft else []),
            "devices": [
                {
                    "name": share.device,
                    "layers": share.n_layers,
                    "output": share.has_output,
                    "required": share.n_bytes,
                    "available": share.free,
                }
                for share in self.shares
            ],
        }


def _items(of: Need, name: str) -> list[dict[str, Any]]:
    return [
        {"of": name, "kind": item.kind, "layers": item.n_layers, "bytes": item.n_bytes}
        for item in of.items
    ]


def plan(
    model: Model, host: HostMemory, *, draft: Model | None = None, gpus: Sequence[Device] = ()
) -> Plan:
    """What ``model`` takes on ``host``, with layers on ``gpus`` as far as they have room."""
    own, guessing = model.need, _draft_need(model, draft)
    shares = _shares(model, own, guessing, host, gpus)
    return Plan(
        need=own,
        draft=guessing,
        host=host,
        shares=tuple(shares),
        n_bytes=sum(share.n_bytes for share in shares),
        max_n_ctx=_longest(model, draft, host, gpus),
        n_ctx_train=model.shape.n_ctx_train,
    )


@lru_cache(maxsize=256)
def required(model: Model, draft: Model | None = None) -> int:
    """Bytes that a runner of ``model`` takes where all of it is in the machine's own memory."""
    guessing = _draft_need(model, draft)
    return model.need.n_bytes + (guessing.n_bytes if guessing else 0)


def _draft_need(model: Model, draft: Model | None) -> Need | None:
    """The draft's share of their process: weights of one file exist once, and so does Python."""
    if draft is None:
        return None
    found = draft.need
    dropped = {"process", "weights"} if draft.path == model.path else {"process"}
    kept = tuple(item for item in found.items if item.kind not in dropped)
    return replace(found, items=kept)


def _shares(
    model: Model, own: Need, guessing: Need | None, host: HostMemory, gpus: Sequence[Device]
) -> list[Share]:
    """The machine's share first, then that of each GPU.

    One GPU is preferred over several.
    """
    output, graph = model.shape.output_bytes, _graph_bytes(own)
    chosen = _chosen(own, output, gpus)
    rooms = [gpu.free - GPU_RESERVE - graph for gpu in chosen]
    placed = place(own.by_layer, output, rooms, model.load.n_gpu_layers)
    on_gpus: list[Share] = []
    for number, gpu in enumerate(chosen):
        pairs = zip(own.by_layer, placed.layers, strict=True)
        layers = [size for size, device in pairs if device == number]
        has_output = placed.output == number
        if layers or has_output:
            on_gpus.append(
                Share(
                    device=gpu.name,
                    n_layers=len(layers),
                    n_bytes=sum(layers) + graph + (output if has_output else 0),
                    free=gpu.free,
                    has_output=has_output,
                )
            )
    moved = sum(share.n_bytes - graph for share in on_gpus)
    rest = Share(
        device="CPU",
        n_layers=len(own.by_layer) - sum(share.n_layers for share in on_gpus),
        n_bytes=own.n_bytes - moved + (guessing.n_bytes if guessing else 0),
        free=host.available,
        has_output=not any(share.has_output for share in on_gpus),
    )
    return [rest, *on_gpus]


def _chosen(own: Need, output: int, gpus: Sequence[Device]) -> list[Device]:
    """The GPU that holds everything, if one does, else all of them, most free first."""
    by_room = sorted(gpus, key=lambda gpu: -gpu.free)
    whole = sum(own.by_layer) + output + _graph_bytes(own) + GPU_RESERVE
    return by_room[:1] if by_room and by_room[0].free >= whole else by_room


def _graph_bytes(own: Need) -> int:
    return sum(item.n_bytes for item in own.items if item.kind == "compute")


def _longest(model: Model, draft: Model | None, host: HostMemory, gpus: Sequence[Device]) -> int:
    """The longest context that fits, 0 when even the shortest does not."""

    def fits(n_ctx: int) -> bool:
        longer = replace(model, load=replace(model.load, n_ctx=n_ctx, n_cells=0))
        guesses = draft and replace(draft, load=replace(draft.load, n_ctx=n_ctx, n_cells=0))
        own, guessing = longer.need, _draft_need(longer, guesses)
        return _shares(longer, own, guessing, host, gpus)[0].n_bytes <= host.available

    highest = model.shape.n_ctx_train or _MAX_CONTEXT
    if fits(highest):
        return highest
    low, high = 0, -(-highest // _STEP)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * _STEP) else (low, middle)
    return low * _STEP or (MIN_CONTEXT if fits(MIN_CONTEXT) else 0)
