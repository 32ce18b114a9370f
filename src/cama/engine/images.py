"""Where images stand in the text of a request: what must not be cut, and what goes as a whole."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cama.engine.base import Image, Placed


class Images:
    """The images of one request, in order."""

    def __init__(self, placed: Sequence[Placed] = ()) -> None:
        self._placed = list(placed)

    def __bool__(self) -> bool:
        return bool(self._placed)

    def at(self, index: int) -> Image | None:
        """The image whose first token has this index."""
        return next((image for start, image in self._placed if start == index), None)

    def first(self, index: int, end: int) -> int:
        """Where the first image from ``index`` on begins, but at most ``end``."""
        return min((start for start, _ in self._placed if index <= start < end), default=end)

    def floor(self, length: int) -> int:
        """The most of the first ``length`` tokens that cuts no image."""
        return next((one.start for one in self._placed if one.start < length < one.end), length)

    def ceil(self, length: int) -> int:
        """The fewest tokens, ``length`` or more, that cut no image."""
        return next((one.end for one in self._placed if one.start < length < one.end), length)

    def drop(self, start: int, end: int) -> None:
        """Tokens [start, end), which cut no image, are gone; those behind moved down."""
        self._placed = [
            one if one.start < start else Placed(one.start - (end - start), one.image)
            for one in self._placed
            if not start <= one.start < end
        ]

    def mask(self, n_tokens: int) -> NDArray[np.bool_]:
        """Bool [n_tokens]: which tokens are those of images."""
        found = np.zeros(n_tokens, np.bool_)
        for one in self._placed:
            found[one.start : one.end] = True
        return found
