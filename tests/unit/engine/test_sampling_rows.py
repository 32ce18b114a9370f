"""What kernels and NumPy say of a row of logits is the same, and is what they promise."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cama.core.errors import EngineError
from cama.core.generation import Sampling
from cama.engine.base import Logits
from cama.engine.sampling import plain, rows
from cama.engine.sampling.mask import Mask
from cama.engine.sampling.sampler import Sampler

KERNELS = rows.kernels()
SIDES: list[Any] = [plain, KERNELS] if KERNELS else [plain]
NAMES = ["numpy", "kernels"][: len(SIDES)]
INF, NAN = math.inf, math.nan

both = pytest.mark.skipif(KERNELS is None, reason="no kernels are built for this machine")

sizes = st.one_of(st.integers(1, 80), st.sampled_from([1023, 1024, 1025, 4099, 20_001]))


@st.composite
def logits(draw: st.DrawFn, has_nan: bool = True) -> Logits:
    """Rows with equal values, both zeros, impossible tokens and, now and then, no numbers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(sizes)
    steps = draw(st.sampled_from([2, 30, 100_000]))
    row = rng.integers(-steps, steps, n).astype(np.float32) / np.float32(steps / 20)
    row[rng.random(n) < draw(st.sampled_from([0.0, 0.2, 1.0]))] = -np.inf
    row[rng.random(n) < 0.1] = -0.0
    if has_nan and draw(st.integers(0, 4)) == 0:
        row[rng.integers(0, n, 2)] = np.nan
    return row


@st.composite
def masks(draw: st.DrawFn, n: int) -> Mask:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return Mask.of(rng.random(n) < draw(st.sampled_from([0.0, 0.01, 0.5, 1.0])))


@both
@given(logits(), st.data())
def test_kernels_find_the_same_best(row: Logits, data: st.DataObject) -> None:
    assert KERNELS is not None
    mask = data.draw(masks(len(row)))
    assert KERNELS.argmax(row) == plain.argmax(row)
    assert KERNELS.argmax(row, mask) == plain.argmax(row, mask)


@both
@settings(max_examples=300)
@given(logits(), st.one_of(st.integers(1, 100), st.sampled_from([1000, 5000, 20_001, 10**6])))
def test_kernels_choose_the_same_in_the_same_order(row: Logits, k: int) -> None:
    assert KERNELS is not None
    ours, theirs = KERNELS.top_k(row, k), plain.top_k(row, k)
    assert ours.places.tolist() == theirs.places.tolist()
    assert np.array_equal(ours.logits, theirs.logits, equal_nan=True)


@both
@given(logits(), st.data())
def test_kernels_mask_the_same(row: Logits, data: st.DataObject) -> None:
    assert KERNELS is not None
    mask = data.draw(masks(len(row)))
    assert np.array_equal(KERNELS.masked(row, mask), plain.masked(row, mask), equal_nan=True)


@both
@given(logits(has_nan=False))
def test_kernels_sum_the_same(row: Logits) -> None:
    assert KERNELS is not None
    row[0] = 20.0
    assert KERNELS.sum_exp(row, 20.0) == pytest.approx(plain.sum_exp(row, 20.0), rel=3e-7)


@pytest.mark.parametrize("side", SIDES, ids=NAMES)
@pytest.mark.parametrize(
    ("row", "place"),
    [
        ([1.0, 3.0, 3.0], 1),
        ([-0.0, 0.0], 0),
        ([-INF, -INF], -1),
        ([-INF, -3e38], 1),
        ([1.0, NAN, 2.0, NAN], 1),
        ([2.0, INF], 1),
    ],
)
def test_argmax_is_the_first_of_the_highest(side: Any, row: list[float], place: int) -> None:
    assert side.argmax(np.array(row, np.float32)) == place


@pytest.mark.parametrize("side", SIDES, ids=NAMES)
def test_top_k_leaves_impossible_tokens_out(side: Any) -> None:
    row = np.array([1.0, -INF, 2.0, 1.0, -INF], np.float32)
    best = side.top_k(row, 4)
    assert best.places.tolist() == [2, 0, 3]
    assert best.logits.tolist() == [2.0, 1.0, 1.0]


@pytest.mark.parametrize("side", SIDES, ids=NAMES)
def test_sum_exp_is_exact(side: Any) -> None:
    row = np.linspace(-104, 0, 100_003, dtype=np.float32)
    exact = math.fsum(map(math.exp, row.tolist()))
    assert side.sum_exp(row, 0.0) == pytest.approx(exact, rel=1e-6)
    assert side.sum_exp(np.zeros(1001, np.float32), 0.0) == 1001


@pytest.mark.parametrize("side", SIDES, ids=NAMES)
def test_rows_may_be_views(side: Any) -> None:
    wide = np.arange(300, dtype=np.float32).reshape(100, 3)[:, 1]
    assert side.top_k(wide, 2).places.tolist() == [99, 98]
    assert side.argmax(wide) == 99


@given(st.integers(1, 70), st.data())
def test_mask_is_what_it_was_made_of(n: int, data: st.DataObject) -> None:
    marked = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    mask = Mask.of(marked)
    assert [mask[token] for token in range(n)] == marked.tolist()
    assert mask.any() == marked.any()
    mask.remove(n // 2)
    marked[n // 2] = False
    assert np.array_equal(mask.marked(), marked)


@pytest.mark.parametrize("n_vocab", [5, 32, 40])
def test_mask_may_be_read_from_one_of_another_length(n_vocab: int) -> None:
    mask = Mask.read(b"\xff\x01\xff\xff", n_vocab)
    wanted = [i < 9 or 16 <= i < 32 for i in range(n_vocab)]
    assert mask.marked().tolist() == wanted
    mask.remove(0)
    assert not mask[0]


@both
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 0, "top_p": 0.9},
        {"top_k": 0, "top_p": 1.0, "min_p": 0.05},
        {"top_k": 0, "typical_p": 0.7},
        {"temperature": 0.0},
        {"repeat_penalty": 1.2, "logit_bias": {7: 4.0}},
    ],
)
def test_same_tokens_are_drawn_with_kernels_and_without(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    texts = []
    for side in SIDES:
        rng = np.random.default_rng(3)
        for name in ("argmax", "top_k", "sum_exp", "masked"):
            monkeypatch.setattr(rows, name, getattr(side, name))
        sampler = Sampler(Sampling(**{"seed": 5, "temperature": 0.9, **options}), 30_000, 4096)
        said = []
        for scale in np.geomspace(0.1, 8, 60):
            said.append(sampler.sample((rng.standard_normal(30_000) * scale).astype(np.float32)))
            sampler.accept(said[-1])
        texts.append(said)
    assert texts[0] == texts[1]


@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("options", [{}, {"top_k": 0}, {"temperature": 0.0}])
def test_rows_that_hold_no_numbers_are_refused(options: dict[str, Any], value: float) -> None:
    row = np.zeros(3000, np.float32)
    row[2999] = value
    with pytest.raises(EngineError, match="logits are not numbers"):
        Sampler(Sampling(**options), 3000, 4096).sample(row)
