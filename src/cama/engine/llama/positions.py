"""Where the tokens of a sequence stand, as libllama counts: images of M-RoPE take fewer places."""

from typing import NamedTuple


class _Area(NamedTuple):
    """The tokens [start, end) of an image, and how many positions more a text would take."""

    start: int
    end: int
    n_saved: int


class Positions:
    """The images of all sequences that take other numbers of tokens and positions."""

    def __init__(self) -> None:
        self._areas: dict[int, list[_Area]] = {}

    def has_images(self, seq: int) -> bool:
        return seq in self._areas

    def at(self, seq: int, index: int) -> int:
        """The position of the token with ``index``, which begins an image or is in none."""
        areas = self._areas.get(seq)
        return index - sum(area.n_saved for area in areas if area.end <= index) if areas else index

    def floor(self, seq: int, length: int) -> int:
        """The most of the first ``length`` tokens that cuts no image."""
        areas = self._areas.get(seq, ())
        return next((area.start for area in areas if area.start < length < area.end), length)

    def add(self, seq: int, start: int, n_tokens: int, n_positions: int) -> None:
        """The next ``n_tokens`` of ``seq``, from index ``start`` on, are an image."""
        if n_tokens != n_positions:
            area = _Area(start, start + n_tokens, n_tokens - n_positions)
            self._areas.setdefault(seq, []).append(area)

    def share(self, source: int, target: int, length: int) -> None:
        """The empty ``target`` begins with the first ``length`` tokens of ``source``."""
        if source in self._areas:
            self._areas[target] = list(self._areas[source])
            self.truncate(target, length)

    def truncate(self, seq: int, length: int) -> None:
        """The tokens of ``seq`` from ``length`` on are gone."""
        kept = [area for area in self._areas.pop(seq, ()) if area.end <= length]
        if kept:
            self._areas[seq] = kept
