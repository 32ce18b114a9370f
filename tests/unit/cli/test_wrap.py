"""Word wrap, seen as the terminal shows it."""

import re

import pytest

from cama.cli.wrap import WordWrap

_STEP = re.compile(r"\x1b\[(\d+)D\x1b\[K|(.)", re.DOTALL)


def shown(text: str, width: int = 25, piece: int = 1) -> str:
    """What a terminal shows after ``text`` was fed in pieces of this length."""
    wrap = WordWrap(width)
    pieces = (text[i : i + piece] for i in range(0, len(text), piece))
    screen = ""
    for back, char in _STEP.findall("".join(map(wrap.feed, pieces))):
        screen = screen[: -int(back)] if back else screen + char
    return screen


def test_short_line_is_left_alone() -> None:
    assert shown("one two three") == "one two three"


@pytest.mark.parametrize("piece", [1, 3, 100])
def test_word_that_crosses_the_limit_moves_to_the_next_line(piece: int) -> None:
    assert shown("0123456789 0123456 abcdef gh", piece=piece) == "0123456789 0123456 \nabcdef gh"


def test_space_at_the_limit_becomes_the_break() -> None:
    assert shown("0123456789 012345678 next") == "0123456789 012345678\nnext"


def test_line_breaks_of_the_text_stay() -> None:
    assert shown("a\n\nb" + " c" * 9) == "a\n\nb" + " c" * 9


def test_word_longer_than_a_line_is_not_broken() -> None:
    address = "https://example.com/a/very/long/path"
    assert shown(f"see {address} there") == f"see \n{address}\nthere"


def test_ideographs_break_anywhere() -> None:
    assert shown("语" * 12) == "语" * 10 + "\n" + "语" * 2


def test_no_line_is_longer_than_the_limit() -> None:
    lines = shown("the quick brown fox jumps over the lazy dog " * 5, width=20).split("\n")
    assert max(map(len, lines)) <= 15


def test_tiny_terminal_still_works() -> None:
    assert shown("ab cd ef", width=1) == "ab cd\nef"
