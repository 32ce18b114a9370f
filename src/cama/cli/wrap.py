"""Word wrap for text that arrives in pieces, on a terminal that shows each piece at once."""

from unicodedata import combining, east_asian_width

MARGIN = 5
"""Columns of the terminal that are left free."""

_MIN_LIMIT = 5


class WordWrap:
    """Breaks lines between words at ``limit`` columns.

    A word is shown as it grows. When it crosses the limit it is erased and begun again on the next
    line, by ANSI sequences. One longer than a line is left to the terminal, so that an address can
    be copied whole.
    """

    def __init__(self, terminal_width: int) -> None:
        self._limit = max(terminal_width - MARGIN, _MIN_LIMIT)
        self._column = 0
        self._word = ""
        self._word_width = 0

    def feed(self, text: str) -> str:
        """What to write to the terminal for this piece of text."""
        return "".join(map(self._put, text))

    def _put(self, char: str) -> str:
        if char == "\n":
            self._start_line()
            return char
        width = _width(char)
        if self._column + width <= self._limit:
            return self._append(char, width)
        if char.isspace():
            self._start_line()
            return "\n"
        if self._fills_line():
            return self._append(char, width)
        return self._move_word() + self._append(char, width)

    def _fills_line(self) -> bool:
        """Whether the word began where the line did, so that a break cannot help."""
        return self._word_width == self._column > 0

    def _append(self, char: str, width: int) -> str:
        self._column += width
        if char.isspace() or width == 2:  # between ideographs every place is a break
            self._word, self._word_width = "", 0
        else:
            self._word += char
            self._word_width += width
        return char

    def _move_word(self) -> str:
        word, width = self._word, self._word_width
        self._column = width
        erase = f"\x1b[{width}D\x1b[K" if width else ""
        return f"{erase}\n{word}"

    def _start_line(self) -> None:
        self._column = self._word_width = 0
        self._word = ""


def _width(char: str) -> int:
    if char.isascii():
        return 1
    if combining(char):
        return 0
    return 2 if east_asian_width(char) in "WF" else 1
