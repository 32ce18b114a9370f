"""Where images stand in a text, and what they keep from being cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cama.core.errors import InvalidRequest, PromptTooLong
from cama.engine.base import Image, Placed
from cama.engine.images import Images
from cama.engine.llama.positions import Positions
from cama.engine.sequence import check_tokens, discarded, fit_prompt


def image(n_tokens: int) -> Image:
    tokens = [-1 - i for i in range(n_tokens)]
    return Image(tokens=tokens, n_positions=n_tokens, digest=b"", content=None)


def images(*places: tuple[int, int]) -> Images:
    return Images([Placed(start, image(n)) for start, n in places])


def test_places_are_found() -> None:
    found = images((3, 4), (7, 2))
    assert [found.first(i, 20) for i in (0, 3, 4, 7, 8)] == [3, 3, 7, 7, 20]
    assert [found.floor(i) for i in range(11)] == [0, 1, 2, 3, 3, 3, 3, 7, 7, 9, 10]
    assert [found.ceil(i) for i in range(11)] == [0, 1, 2, 3, 7, 7, 7, 7, 9, 9, 10]
    assert [i for i in range(11) if found.at(i)] == [3, 7]
    assert found.mask(10).nonzero()[0].tolist() == [3, 4, 5, 6, 7, 8]


def test_what_is_behind_a_gap_moves_down() -> None:
    found = images((1, 2), (5, 3), (12, 2))
    found.drop(4, 10)
    assert [i for i in range(20) if found.at(i)] == [1, 6]


def test_tokens_below_zero_are_only_those_of_images() -> None:
    tokens = [1, -1, -2, 5]
    assert check_tokens(tokens, 10, images((1, 2))).tolist() == tokens
    with pytest.raises(InvalidRequest, match="no token -2"):
        check_tokens(tokens, 10, images((1, 1)))
    with pytest.raises(InvalidRequest, match="no token -1"):
        check_tokens(tokens, 10)


@given(st.data(), st.integers(8, 40), st.booleans())
def test_a_prompt_that_is_cut_keeps_whole_images(
    data: st.DataObject, n_ctx: int, shift: bool
) -> None:
    tokens: list[int] = []
    placed = []
    for n_text, n_image in data.draw(
        st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12)), max_size=6)
    ):
        tokens += range(len(tokens), len(tokens) + n_text)
        one = image(n_image)
        placed.append(Placed(len(tokens), one))
        tokens += one.tokens
    tokens += range(1000, 1000 + data.draw(st.integers(1, 60)))
    found = Images(placed)
    n_keep = found.floor(data.draw(st.integers(0, n_ctx - 1)))
    try:
        kept = fit_prompt(np.array(tokens, np.int32), n_keep, n_ctx, found, shift=shift)
    except PromptTooLong:
        assert n_keep == 0
        return
    assert len(kept) <= n_ctx
    assert np.array_equal(kept < 0, found.mask(len(kept)))
    if len(tokens) <= n_ctx:
        assert len(kept) == len(tokens)
    else:
        assert kept[:n_keep].tolist() == tokens[:n_keep]
        assert kept[n_keep:].tolist() == tokens[len(tokens) - (len(kept) - n_keep) :]
        most = discarded(n_ctx, n_keep) if shift else n_ctx - n_keep
        assert len(kept) - n_keep <= most


def test_images_of_two_dimensions_take_few_positions() -> None:
    found = Positions()
    found.add(0, 3, 10, 4)
    found.add(0, 20, 6, 3)
    assert [found.at(0, i) for i in (0, 3, 13, 20, 26, 30)] == [0, 3, 7, 14, 17, 21]
    assert [found.floor(0, i) for i in (3, 4, 12, 13, 21, 26)] == [3, 3, 3, 13, 20, 26]
    found.share(0, 1, 20)
    assert found.at(1, 30) == 24
    found.truncate(0, 3)
    assert not found.has_images(0)
    assert found.has_images(1)
    found.add(2, 0, 5, 5)  # as many as a text
    assert not found.has_images(2)
