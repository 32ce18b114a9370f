"""Which device each layer of a model goes to: arithmetic alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

GPU_RESERVE: Final = 457 << 20
"""What a GPU's driver and context take before any model (Ollama's figure)."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A device for each layer and one for what follows them, by number; None is the CPU."""

    layers: tuple[int | None, ...]
    output: int | None

    @property
    def is_on_cpu(self) -> bool:
        """Whether nothing goes to a device."""
        return self.output is None and not any(on is not None for on in self.layers)


def place(
    layers: Sequence[int], output: int, rooms: Sequence[int], n_wanted: int = -1
) -> Placement:
    """Fill devices that have ``rooms``, one after the other, with layers from the last on.

    ``layers`` and ``output`` are sizes, in the unit of ``rooms``. The output goes along only where
    every layer does. At most ``n_wanted`` leave the CPU, of which the output is the last to count;
    -1 is as many as fit. A layer that does not fit ends a device, and what comes before it in the
    model stays with the CPU when no device has room.
    """
    placed: list[int | None] = [None] * len(layers)
    wanted = len(layers) + 1 if n_wanted < 0 else n_wanted
    free = list(rooms)
    device = 0
    for index in range(len(layers) - 1, max(-1, len(layers) - 1 - wanted), -1):
        while device < len(free) and layers[index] > free[device]:
            device += 1
        if device == len(free):
            break
        placed[index] = device
        free[device] -= layers[index]
    is_whole = len(layers) < wanted and None not in placed
    roomy = (i for i, room in enumerate(free) if is_whole and output <= room)
    return Placement(tuple(placed), next(roomy, None))
