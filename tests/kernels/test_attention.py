"""Cama's attention against double precision, and against ggml's own."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.attention import Attention, AttentionOperands, AttentionRun
from benchmarks.products import Processor, error
from cama.ggml.library import ggml

pytestmark = pytest.mark.native

Results = NDArray[np.float32]

HEADS = [
    (40, 40),
    (64, 64),
    (72, 80),
    (80, 80),
    (96, 96),
    (112, 112),
    (128, 128),
    (192, 128),
    (256, 256),
]

CASES = [
    *[Attention(n_key=k, n_value=v, n_query=5, n_cells=500) for k, v in HEADS],
    Attention(n_key=36, n_value=52, n_query=3, n_cells=100),
    Attention(n_key=576, n_value=512, n_head=16, n_head_kv=1, n_query=3, is_latent=True),
    Attention(n_key=576, n_value=512, n_head=70, n_head_kv=1, n_cells=1500, is_latent=True),
    *[Attention(n_query=n, n_cells=1100) for n in (1, 2, 7, 16, 33, 70)],
    *[
        Attention(n_query=n, n_cells=700, keys=kind, values=kind)
        for kind in ("F32", "BF16", "Q8_0", "Q4_0")
        for n in (1, 20)
    ],
    Attention(keys="Q8_0", values="F16", n_query=4),
    *[Attention(n_head=h, n_head_kv=kv, n_query=6) for h, kv in ((1, 1), (8, 8), (7, 1), (12, 2))],
    Attention(n_head=71, n_head_kv=1, n_query=3, n_cells=200),
    *[Attention(n_query=16, n_cells=n) for n in (16, 17, 63, 64, 65, 1023, 1025, 3000)],
    *[
        Attention(sees=sees, n_query=n, n_cells=2560)
        for sees in ("all", "window", "turns", "own", "some", "nothing at times")
        for n in (8, 40)
    ],
    *[Attention(n_query=n, n_cells=400, cap=20) for n in (1, 24)],
    *[Attention(n_query=n, n_cells=400, bias=8, n_head=12, n_head_kv=12) for n in (1, 24)],
    *[Attention(n_query=n, n_cells=400, has_sinks=True) for n in (1, 24)],
    Attention(n_query=9, n_cells=1300, sees="nothing at times", has_sinks=True, cap=30),
    *[Attention(n_query=n, n_cells=300, n_streams=3) for n in (1, 20)],
    *[
        Attention(n_query=n, n_cells=300, n_streams=2, sees="window", differs=True, bias=bias)
        for n in (1, 20)
        for bias in (0, 8)
    ],
]


def names(case: Attention) -> str:
    given = {f: v for f, v in vars(case).items() if v != vars(Attention())[f]}
    return "-".join(f"{field}={value}" for field, value in given.items()) or "plain"


def computed(case: Attention, operands: AttentionOperands, processor: Processor) -> Results:
    run = AttentionRun(case, operands, processor)
    assert ggml().ggml_backend_supports_op(processor.addresses[0], run.output.address)
    run.compute()
    result = run.result()
    run.close()
    return result


@pytest.mark.parametrize("case", CASES, ids=names)
def test_attention_is_as_exact_as_that_of_ggml(
    case: Attention, processors: tuple[Processor, Processor]
) -> None:
    operands = AttentionOperands(case)
    expected = operands.expected(case)
    ours, theirs = (error(computed(case, operands, one), expected) for one in processors)
    assert ours <= 5e-4
    # both sum in single precision or less, in their own order
    assert ours <= 1.2 * theirs + 1e-12


@pytest.mark.parametrize("n_query", [1, 40])
def test_queries_that_see_nothing_give_zeros(n_query: int, own: Processor) -> None:
    case = Attention(n_query=n_query, n_cells=200)
    operands = AttentionOperands(case)
    operands.mask[0] = -np.inf
    assert not computed(case, operands, own)[0, 0].any()


def cells_of(operands: AttentionOperands, array: NDArray[np.uint8]) -> NDArray[np.float16]:
    """[cell, element] of all heads, in place."""
    halves: NDArray[np.float16] = array.view(np.float16).reshape(len(operands.mask.T), -1)
    return halves


@pytest.mark.parametrize("n_query", [1, 8, 40])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_forbidden_cells_do_not_change_results_whatever_they_hold(
    n_query: int, odd: float, own: Processor
) -> None:
    case = Attention(n_query=n_query, n_cells=640, sees="some")
    operands = AttentionOperands(case)
    operands.mask[:, [3, 64, 639]] = -np.inf
    operands.mask[0, 100] = -np.inf
    before = computed(case, operands, own)
    for array in (operands.keys, operands.values):
        cells_of(operands, array)[[3, 64, 639, 100]] = odd
    after = computed(case, operands, own)
    blind = np.isneginf(operands.mask[:, 100])
    assert np.array_equal(before[0, blind], after[0, blind])
    assert np.isfinite(after[0, blind]).all()


@pytest.mark.parametrize("which", ["keys", "values"])
@pytest.mark.parametrize("n_query", [1, 40])
def test_numbers_that_are_none_show_in_what_sees_them(
    n_query: int, which: str, own: Processor
) -> None:
    case = Attention(n_query=n_query, n_cells=300)
    operands = AttentionOperands(case)
    cells_of(operands, getattr(operands, which))[7] = np.nan
    assert np.isnan(computed(case, operands, own)).all()


PICKS: list[Callable[[int], list[int]]] = [
    lambda n: [0],
    lambda n: [n - 1],
    lambda n: [1, 5, n // 2],
    lambda n: list(range(n // 3, n)),
]


@pytest.mark.parametrize("sees", ["past", "window", "turns", "some"])
@pytest.mark.parametrize("pick", PICKS)
def test_a_query_gives_the_same_whatever_others_are_computed(
    sees: str, pick: Callable[[int], list[int]], own: Processor
) -> None:
    case = Attention(n_query=40, n_cells=2560, sees=sees, cap=25)
    operands = AttentionOperands(case)
    together = computed(case, operands, own)
    picked = pick(case.n_query)
    operands.q, operands.mask = operands.q[:, picked], operands.mask[picked]
    apart = computed(replace(case, n_query=len(picked)), operands, own)
    assert np.array_equal(together[:, picked], apart)


@pytest.mark.parametrize("n_query", [1, 30])
@pytest.mark.parametrize("threads", [1, 3])
def test_results_do_not_depend_on_threads(n_query: int, threads: int, own: Processor) -> None:
    case = Attention(n_query=n_query, n_cells=5000)
    operands = AttentionOperands(case)
    other = Processor(threads, has_kernels=True)
    assert np.array_equal(computed(case, operands, own), computed(case, operands, other))
    other.close()


def test_cells_behind_the_end_are_not_read(own: Processor) -> None:
    case = Attention(n_query=20, n_cells=100, sees="all")
    operands = AttentionOperands(case)
    before = computed(case, operands, own)
    longer = replace(case, n_cells=4096, sees="past")
    more = AttentionOperands(longer)
    for name in ("keys", "values"):
        array = getattr(more, name)
        array[:] = 0xFF  # NaN in every format
        array[: len(getattr(operands, name))] = getattr(operands, name)
    more.q, more.mask[:] = operands.q, -np.inf
    more.mask[:, :100] = 0
    assert np.array_equal(before, computed(longer, more, own))


@pytest.mark.parametrize(("n_query", "n_cells"), [(1, 8192), (64, 64), (1, 32)])
def test_attention_is_taken_however_little_it_is(
    n_query: int, n_cells: int, own: Processor
) -> None:
    """Else the same query would give something else where others are computed with it."""
    case = Attention(n_head=32, n_head_kv=8, n_query=n_query, n_cells=n_cells)
    run = AttentionRun(case, AttentionOperands(case), own)
    assert ggml().ggml_backend_supports_op(own.addresses[0], run.output.address)
    run.close()
