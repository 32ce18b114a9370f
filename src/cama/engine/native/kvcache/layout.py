"""What a layer keeps of each token, and which tokens see it."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from cama.gguf import GGMLType


class Window(NamedTuple):
    """A token sees fewer than all earlier ones.

    ``sliding``: itself and the ``size`` - 1 before it. ``chunked``: those of its own chunk of
    ``size`` tokens. ``around``: those up to half of ``size`` away, on both sides.
    """

    size: int
    kind: Literal["sliding", "chunked", "around"] = "sliding"

    def first(self, position: int) -> int:
        """The first position that the token at ``position`` sees."""
        if self.kind == "chunked":
            return position // self.size * self.size
        return max(0, position - self.size + 1)


class CacheLayout(NamedTuple):
    """Elements of a token's key and value; a layer may use the cells of ``owner`` instead.

    Without a value width values are a part of the keys.
    """

    k_width: int
    v_width: int
    window: Window | None = None
    owner: int | None = None


_FLOAT32_BYTES = 4


class StateLayout(NamedTuple):
    """Float32 elements of each running state that a layer keeps of a sequence."""

    widths: tuple[int, ...]


def layer_bytes(layout: "Layout", kind: GGMLType, n_cells: int, n_slots: int) -> int:
    """Bytes of what a layer keeps: cells of type ``kind``, or running states in slots."""
    if isinstance(layout, StateLayout):
        return state_bytes([layout]) * n_slots
    if layout is None or layout.owner is not None:
        return 0
    widths = [width for width in (layout.k_width, layout.v_width) if width]
    return n_cells * sum(kind.n_bytes((width,)) for width in widths)


Layout = CacheLayout | StateLayout | None
"""What a layer keeps; nothing where it looks at each token by itself."""


def windows_of(layouts: Iterable[Layout]) -> list[Window]:
    """Every kind of window that layers have."""
    caches = (layout for layout in layouts if isinstance(layout, CacheLayout))
    return list(dict.fromkeys(layout.window for layout in caches if layout.window))


def state_bytes(layouts: Iterable[Layout]) -> int:
    """Bytes of one sequence's running states."""
    states = (layout for layout in layouts if isinstance(layout, StateLayout))
    return sum(_FLOAT32_BYTES * width for state in states for width in state.widths)
