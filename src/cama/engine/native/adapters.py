"""Adapters of many requests in one pass: their matrices in stacks, one of which each row picks."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np

from cama.core.errors import EngineError, InvalidModelFile
from cama.core.generation import Adapters
from cama.engine.adapters import Pool
from cama.engine.base import Plan
from cama.engine.lora import Base, LoraFile, Matrix
from cama.engine.native.nn import Decoder, Embedding, Linear, Module
from cama.engine.native.nn.module import Leaf
from cama.ggml import _abi, ops
from cama.ggml.backend import Buffer
from cama.ggml.graph import Context
from cama.ggml.tensor import Tensor, row_bytes
from cama.gguf import GGMLType, GGUFFile

_FIRST_SLOTS = 4
_RANK_STEP = 8
"""Ranks are padded to multiples of this, so that an adapter seldom needs a new stack."""
_ALIGNMENT = 64


class Room(NamedTuple):
    """What a stack has for the changes of one weight [n_in, n_out]: a rank, and how exact it is."""

    n_in: int
    n_out: int
    rank: int
    is_exact: bool

    @property
    def type(self) -> int:
        return _abi.GGML_TYPE_F32 if self.is_exact else _abi.GGML_TYPE_F16

    @property
    def n_bytes(self) -> int:
        return self.rank * (self.n_in + self.n_out) * (4 if self.is_exact else 2)

    def with_(self, other: "Room | None") -> "Room":
        """Room for either."""
        if other is None:
            return self
        rank, is_exact = max(self.rank, other.rank), self.is_exact or other.is_exact
        return Room(self.n_in, self.n_out, rank, is_exact)

    def plus(self, rank: int, *, is_exact: bool) -> "Room":
        """Room for another change beside this one."""
        return Room(self.n_in, self.n_out, self.rank + rank, self.is_exact or is_exact)

    @property
    def padded(self) -> "Room":
        return self._replace(rank=-(-self.rank // _RANK_STEP) * _RANK_STEP)


Rooms = Mapping[str, Room]
"""By the names of weights."""


class Stack:
    """Slots for sets of adapters; slot 0 stays zero, for rows without any.

    Each weight has a pair of tensors: a [n_in, rank, n_slots] and b [rank, n_out, n_slots]. Memory
    that no adapter was written to is not committed.
    """

    def __init__(self, rooms: Rooms, n_slots: int) -> None:
        self.rooms = {name: room.padded for name, room in rooms.items()}
        self.n_slots = n_slots
        self._context = Context(2 * len(rooms))
        self.pairs = dict(self._new_pairs())
        tensors = [tensor for pair in self.pairs.values() for tensor in pair]
        sizes = [_n_bytes(tensor) for tensor in tensors]
        self._memory = np.zeros(sum(sizes) + _ALIGNMENT, np.uint8)
        pointer = int(self._memory.ctypes.data)
        pointer += -pointer % _ALIGNMENT
        self._buffer = Buffer.over(pointer, sum(sizes))
        for tensor, size in zip(tensors, sizes, strict=True):
            self._buffer.place(tensor, pointer)
            pointer += size

    def _new_pairs(self) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
        new, n = self._context.new, self.n_slots
        for name, room in self.rooms.items():
            a = new(room.type, (room.n_in, room.rank, n), "lora_a")
            b = new(room.type, (room.rank, room.n_out, n), "lora_b")
            yield name, (a, b)

    def fits(self, rooms: Rooms) -> bool:
        """Whether there is room for ``rooms`` in every slot."""
        has = self.rooms
        return all(
            name in has and room.with_(has[name]) == has[name] for name, room in rooms.items()
        )

    def write(self, slot: int, name: str, first: int, a: Matrix, b: Matrix) -> None:
        """Put a (rank, n_in) and b (n_out, rank) behind the first ``first`` ranks of a slot."""
        in_a, in_b = (tensor.numpy()[0, slot] for tensor in self.pairs[name])
        end = first + len(a)
        in_a[first:end] = a
        in_b[:, first:end] = b

    def clear(self, slot: int) -> None:
        for pair in self.pairs.values():
            for tensor in pair:
                tensor.numpy()[0, slot] = 0

    def copy(self, other: "Stack", slot: int) -> None:
        """Take over a slot of another stack, which has no more room than this one."""
        for name, pair in other.pairs.items():
            a, b = (tensor.numpy()[0, slot] for tensor in pair)
            self.write(slot, name, 0, a, b)

    def close(self) -> None:
        self._buffer.close()
        self._context.close()


def _n_bytes(tensor: Tensor) -> int:
    n_in, n_out, n_slots, _ = tensor.shape
    return -(-row_bytes(tensor.type, n_in) * n_out * n_slots // _ALIGNMENT) * _ALIGNMENT


def _write(stack: Stack, slot: int, name: str, first: int, a: Matrix, b: Matrix) -> None:
    """Raises InvalidModelFile for what a half-precision stack cannot hold."""
    try:
        with np.errstate(over="raise"):
            stack.write(slot, name, first, a, b)
    except FloatingPointError:
        raise InvalidModelFile(f"the adapter of {name} is too large at this scale") from None


class Additions:
    """The products with a stack, in one graph.

    ``slots`` are int32 [1, n], a slot for each of n rows, by n: a graph computes on all its tokens
    or on those whose logits are wanted, in the same order where they are as many.
    """

    def __init__(
        self, stack: Stack, weights: Mapping[int, str], slots: Mapping[int, Tensor]
    ) -> None:
        self._stack = stack
        self._weights = weights
        self._slots = slots

    def add(self, weight: Tensor, x: Tensor, y: Tensor) -> Tensor:
        pair = self._stack.pairs.get(self._weights.get(weight.address, ""))
        if pair is None:
            return y
        n_in, n_each, n_seqs, _ = x.shape
        n_rows = n_each * n_seqs
        slots = self._slots.get(n_rows)
        stride, plane = x.struct.nb[1:3]
        is_even = n_seqs == 1 or plane == n_each * stride
        if slots is None or not is_even or x.shape[3] != 1 or x.graph is None:
            raise EngineError(f"{weight.name}: no adapter can be added to {x}")
        a, b = pair
        rows = ops.view(x.graph, x, (n_in, 1, n_rows), (stride, stride))
        change = ops.mul_mat_id(b, ops.mul_mat_id(a, rows, slots), slots)
        return y + ops.reshape(change, *y.shape)


def _leaves(part: object) -> Iterator[Leaf]:
    """All pieces of a model that own tensors."""
    if isinstance(part, Leaf):
        yield part
    elif isinstance(part, Module):
        for child in vars(part).values():
            yield from _leaves(child)
    elif isinstance(part, list):
        for child in part:
            yield from _leaves(child)


class StackedAdapters:
    """The sets of adapters that requests use, each in a slot of one stack.

    A set is loaded once; the stack is made anew when one finds no slot, or no room in it.
    """

    def __init__(self, file: GGUFFile, model: Decoder, on_change: Callable[[], None]) -> None:
        """``on_change`` is called when a set may have got another slot."""
        parts = list(_leaves(model))
        tables = {part.weight.name for part in parts if isinstance(part, Embedding)}
        linears = {part.weight.name: part.weight for part in parts if isinstance(part, Linear)}
        shapes = {name: tensor.shape for name, tensor in file.tensors.items()}
        changeable = {name for name in linears.keys() - tables if len(shapes.get(name, ())) == 2}
        self._base = Base(file.architecture, shapes, changeable.__contains__)
        self._weights = {linears[name].address: name for name in changeable}
        self._on_change = on_change
        self._pool: Pool[Adapters, int] = Pool(self._unload)
        self._used: set[int] = set()
        self.stack: Stack | None = None

    @property
    def n_bytes(self) -> int:
        return self._pool.n_bytes

    def hold(self, adapters: Adapters) -> None:
        self._pool.hold(adapters, lambda: self._load(adapters))

    def release(self, adapters: Adapters) -> None:
        self._pool.release(adapters)

    def slots(self, plan: Plan) -> list[int]:
        """A slot for each span. Raises EngineError for adapters that nobody holds."""
        try:
            return [self._pool[span.adapters] if span.adapters else 0 for span in plan.spans]
        except KeyError:
            raise EngineError("a span has adapters that are not loaded") from None

    def additions(self, stack: Stack, slots: Mapping[int, Tensor]) -> Additions:
        return Additions(stack, self._weights, slots)

    def close(self) -> None:
        self._pool.clear()

    def _load(self, adapters: Adapters) -> tuple[int, int]:
        """The slot that the adapters are in now, and their bytes."""
        with ExitStack() as opened:
            files = [opened.enter_context(LoraFile.open(a.path, self._base)) for a in adapters]
            rooms = self._rooms(files)
            stack, slot = self._take_slot(rooms)
            try:
                first = dict.fromkeys(rooms, 0)
                for file, adapter in zip(files, adapters, strict=True):
                    for name, pair in file.pairs.items():
                        a, b = file.matrices(name)
                        b *= np.float32(file.scale(name) * adapter.scale)
                        _write(stack, slot, name, first[name], a, b)
                        first[name] += pair.rank
            except BaseException:
                self._unload(slot)
                raise
        return slot, sum(room.n_bytes for room in rooms.values())

    def _rooms(self, files: list[LoraFile]) -> dict[str, Room]:
        """What the files need together: their ranks add up."""
        rooms: dict[str, Room] = {}
        for file in files:
            for name, pair in file.pairs.items():
                is_exact = any(half.type is not GGMLType.F16 for half in pair)
                n_in, n_out = self._base.shapes[name]
                room = rooms.get(name, Room(n_in, n_out, 0, False))
                rooms[name] = room.plus(pair.rank, is_exact=is_exact)
        return rooms

    def _take_slot(self, rooms: Rooms) -> tuple[Stack, int]:
        stack = self.stack
        n_slots = stack.n_slots if stack else _FIRST_SLOTS
        if len(self._used) == n_slots - 1:
            n_slots *= 2
        if stack is None or n_slots > stack.n_slots or not stack.fits(rooms):
            stack = self._rebuild(rooms, n_slots)
        slot = min(set(range(1, n_slots)) - self._used)
        self._used.add(slot)
        self._on_change()
        return stack, slot

    def _rebuild(self, rooms: Rooms, n_slots: int) -> Stack:
        old = self.stack
        has = old.rooms if old else {}
        wanted = has | {name: room.with_(has.get(name)) for name, room in rooms.items()}
        stack = Stack(wanted, n_slots)
        if old is not None:
            for slot in self._used:
                stack.copy(old, slot)
            old.close()
        self.stack = stack
        return stack

    def _unload(self, slot: int) -> None:
        self._used.remove(slot)
        if self.stack is None:
            return
        if self._used:
            self.stack.clear(slot)
        else:
            self.stack.close()
            self.stack = None
