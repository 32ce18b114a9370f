"""Masks show each token its own sequence, as far as its window goes."""

import numpy as np
import pytest

from cama.engine.native.kvcache.layout import Window
from cama.engine.native.kvcache.mask import Rows, fill_mask, fill_texts

WINDOWS = [None, Window(1), Window(3), Window(100), Window(4, "chunked"), Window(100, "chunked")]


def _sees(window: Window | None, token: int, other: int) -> bool:
    if other > token:
        return False
    if window is None:
        return True
    if window.kind == "chunked":
        return token // window.size == other // window.size
    return token - other < window.size


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("start", [0, 1, 6])
def test_a_row_shows_the_cells_of_its_window(window: Window | None, start: int) -> None:
    """Cells in any order, and another sequence beside."""
    cells = np.array([3, 9, 10, 11, 0, 7, 14, 2, 1, 5], np.int32)
    other = np.array([4, 6], np.int32)
    mask = np.ones((len(cells) - start + 2, 16), np.float16)
    fill_mask(mask, [Rows(start, cells), Rows(0, other)], window)
    expected = np.full(mask.shape, -np.inf, np.float16)
    for row, token in enumerate(range(start, len(cells))):
        for position, cell in enumerate(cells):
            if _sees(window, token, position):
                expected[row, cell] = 0
    for token in range(2):
        for position in range(2):
            if _sees(window, token, position):
                expected[len(cells) - start + token, other[position]] = 0
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("window", [None, Window(2, "around"), Window(5, "around")])
def test_texts_are_read_both_ways_and_apart(window: Window | None) -> None:
    mask = np.ones((9, 9), np.float32)
    fill_texts(mask, [5, 1, 3], window)
    text = np.repeat([0, 1, 2], [5, 1, 3])
    for i in range(9):
        for j in range(9):
            near = window is None or abs(i - j) <= window.size // 2
            assert (mask[i, j] == 0) == (text[i] == text[j] and near)
            assert mask[i, j] in (0, -np.inf)
