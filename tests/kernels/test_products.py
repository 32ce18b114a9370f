"""Cama's kernels against double precision, and against ggml's own."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.products import FORMATS, Case, Operands, Processor, Run, error
from cama.core.errors import Interrupted
from cama.ggml.library import ggml, own_kernels
from cama.gguf import GGMLType

pytestmark = pytest.mark.native

SUPER = [name for name in FORMATS if GGMLType[name].block_size == 256]
BLOCKS = [name for name in FORMATS if name not in SUPER]
FLOATS = ["F16", "BF16"]
LEFT_TO_GGML = {
    *(("avx2", name) for name in ("IQ4_XS", "F16", "BF16")),
    *(("avxvnni", name) for name in ("F16", "BF16")),
}

CASES = [
    *[Case(name, 512, 192, 64) for name in FORMATS],
    *[Case(name, 256, 200, 67) for name in FORMATS],
    *[Case(name, 768, 1, 65) for name in FORMATS],
    *[Case(name, 256, 65, 300) for name in FORMATS],
    *[Case(name, 288, 63, 64) for name in BLOCKS],
    *[Case(name, 32, 9, 70) for name in BLOCKS],
    *[Case(name, 512, 70, 170, n_experts=5, n_used=2) for name in FORMATS],
    *[Case("Q4_K", 512, 130, n) for n in (6, 7, 9, 16, 31)],
    *[Case(name, 512, 70, 1, n_experts=5, n_used=2) for name in ("MXFP4", *FLOATS)],
    *[Case(name, k, 66, 3) for name in FLOATS for k in (17, 100, 1024, 2059)],
    *[Case(name, 1300, 66, 70) for name in FLOATS],
]


def names(case: Case) -> str:
    experts = f"-{case.n_used}of{case.n_experts}" if case.n_experts else ""
    return f"{case.type}-{case.n_in}x{case.n_out}x{case.n_rows}{experts}"


@pytest.mark.parametrize("case", CASES, ids=names)
def test_kernels_are_as_exact_as_those_of_ggml(
    case: Case, processors: tuple[Processor, Processor]
) -> None:
    if (own_kernels().name, case.type) in LEFT_TO_GGML:
        pytest.skip("ggml is faster")
    operands = Operands(case)
    expected = operands.expected(case)
    errors = []
    for processor in processors:
        run = Run(case, operands, processor)
        is_ours = ggml().ggml_backend_supports_op(processor.addresses[0], run.outputs[0].address)
        assert is_ours
        run.compute()
        errors.append(error(run.result(), expected))
        run.close()
    assert errors[0] <= 5e-4
    # the same roundings, of sums in another order
    assert errors[0] <= 1.2 * errors[1] + 1e-12


@pytest.mark.parametrize("name", SUPER)
def test_a_row_of_zeros_gives_zeros(name: str, processors: tuple[Processor, Processor]) -> None:
    case = Case(name, 256, 64, 64)
    operands = Operands(case)
    operands.x[3] = 0
    run = Run(case, operands, processors[0])
    run.compute()
    assert not run.result()[3].any()
    run.close()


@pytest.mark.parametrize("name", FORMATS)
def test_numbers_of_a_row_do_not_depend_on_other_rows(
    name: str, processors: tuple[Processor, Processor]
) -> None:
    # tiles of AMX round otherwise with 16 bits
    n_most = 15 if name in FLOATS else 300
    results = []
    for n in (n_most, 1, 2, 3, 4, 5, 8, 12, 17, 24, 40, 64):
        if n > n_most:
            break
        case = Case(name, 1280, 184, n_most)
        operands = Operands(case)
        operands.x = operands.x[:n].copy()
        run = Run(replace(case, n_rows=n), operands, processors[0])
        output = run.outputs[0].address
        if ggml().ggml_backend_supports_op(processors[0].addresses[0], output):
            run.compute()
            results.append(run.result().copy())
        run.close()
    most = max(results, key=len, default=np.empty(0))
    assert all(np.array_equal(most[: len(few)], few) for few in results)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_numbers_do_not_depend_on_threads(
    threads: int, processors: tuple[Processor, Processor]
) -> None:
    case = Case("Q6_K", 512, 200, 40)
    operands = Operands(case)
    other = Processor(threads, has_kernels=True)
    results = []
    for processor in (processors[0], other):
        run = Run(case, operands, processor)
        run.compute()
        results.append(run.result().copy())
        run.close()
    other.close()
    assert np.array_equal(results[0], results[1])


@pytest.mark.parametrize(
    ("setting", "said"), [("off", "CAMA_KERNELS is off"), ("neon", "none of the instructions")]
)
def test_kernels_that_are_not_wanted_or_not_there_stay_out(setting: str, said: str) -> None:
    code = "from cama.ggml.library import own_kernels; print(own_kernels())"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "CAMA_KERNELS": setting},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "name=''" in ran.stdout
    assert said in ran.stdout or "not built" in ran.stdout


def test_what_is_aborted_stops_and_can_be_done_again(own: Processor) -> None:
    case = Case("Q4_K", 256, 64, 64)
    run = Run(case, Operands(case), own)
    own.abort.set()
    with pytest.raises(Interrupted):
        run.compute()
    own.abort.clear()
    run.compute()
    run.close()


@pytest.mark.parametrize("n_experts", [0, 4])
def test_products_that_share_their_rows_give_what_each_gives(
    n_experts: int, own: Processor
) -> None:
    n_used = 2 if n_experts else 0
    case = Case("Q4_K", 512, 70, 80, n_experts=n_experts, n_used=n_used, n_matrices=3)
    run = Run(case, Operands(case), own)
    run.compute()
    first, *others = (output.numpy().copy() for output in run.outputs)
    run.close()
    for other in others:
        np.testing.assert_array_equal(other, first)
