"""Products and attention by Cama's kernels against ggml, weights as in a file and repacked.

    python -m benchmarks.kernels [--types Q4_K,Q6_K] [--rows 1,2,4,8,16,32,128,512] [--matrices 4]
    python -m benchmarks.kernels --attention [--cache F16,Q8_0]

All take turns in one process, over as many matrices as make more than the caches hold: single rows
are limited by memory, and ``of_memory`` is the share of what threads get that only read the same
weights.
`ratio` is the better of ggml's times divided by that of the kernels: above 1 they are faster. Where
they leave an operation to ggml it says so.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.attention import Attention, AttentionOperands, AttentionRun
from benchmarks.engine import options, start_as_runner
from benchmarks.layouts import repacking_layouts
from benchmarks.products import FORMATS, Case, Operands, Processor, Run
from cama.ggml.library import ggml, own_kernels

N_IN, N_OUT = 2048, 8192


def measure(
    types: list[str], rows: list[int], n_matrices: int, rounds: int, n_threads: int
) -> Iterator[dict[str, Any]]:
    own = Processor(n_threads, has_kernels=True)
    plain = Processor(n_threads, has_kernels=False)
    for kind in types:
        for n_rows in rows:
            case = Case(kind, N_IN, N_OUT, n_rows, n_matrices=n_matrices)
            yield _compare(case, own, plain, rounds, n_threads)


def _compare(
    case: Case, own: Processor, plain: Processor, rounds: int, n_threads: int
) -> dict[str, Any]:
    operands = Operands(case)
    n_bytes = operands.data.nbytes * case.n_matrices
    runs: dict[str, _Timed] = {}
    ours = runs["kernels"] = Run(case, operands, own)
    runs["mapped"] = Run(case, operands, plain)
    runs["memory"] = _Reading(ours.weights(), n_threads)
    for layout in repacking_layouts():
        repacked = Run(case, operands, plain, layout)
        if repacked.is_supported:
            runs["repacked"] = repacked
    seconds = _in_turns(runs, rounds)
    takes = ggml().ggml_backend_supports_op(own.addresses[0], ours.outputs[0].address)
    for run in runs.values():
        run.close()
    memory = seconds.pop("memory")
    best = min(found for name, found in seconds.items() if name != "kernels")
    return {
        "type": case.type,
        "rows": case.n_rows,
        "runs_on": own_kernels().name if takes else "ggml",
        "gflops": round(2 * case.n_products / seconds["kernels"] / 1e9),
        **{f"{name}_ms": round(1e3 * found, 2) for name, found in seconds.items()},
        "ratio": round(best / seconds["kernels"], 3),
        "gb_per_s": round(n_bytes / seconds["kernels"] / 1e9, 1),
        "of_memory": round(memory / seconds["kernels"], 2),
    }


# tokens computed, cells, what they see: prompts by chunks, one text, texts in one pool of cells
ATTENTION = (
    (512, 512, "past"), (512, 2048, "past"), (512, 8192, "past"), (512, 8192, "window"),
    (1, 256, "past"), (1, 1024, "past"), (1, 8192, "past"), (4, 8192, "past"),
    (8, 8192, "turns"), (8, 65536, "own"), (8, 65536, "turns"),
)  # fmt: skip


def measure_attention(
    caches: list[str], heads: list[int], rounds: int, n_threads: int
) -> Iterator[dict[str, Any]]:
    own = Processor(n_threads, has_kernels=True)
    plain = Processor(n_threads, has_kernels=False)
    for kind in caches:
        for n in heads:
            for n_query, n_cells, sees in ATTENTION:
                case = Attention(
                    n_key=n, n_value=n, n_head=32, n_head_kv=8, n_query=n_query, n_cells=n_cells,
                    sees=sees, keys=kind, values=kind,
                )  # fmt: skip
                yield _compare_attention(case, own, plain, rounds)


def _compare_attention(
    case: Attention, own: Processor, plain: Processor, rounds: int
) -> dict[str, Any]:
    operands = AttentionOperands(case)
    runs = {
        "kernels": AttentionRun(case, operands, own),
        "ggml": AttentionRun(case, operands, plain),
    }
    seconds = _in_turns(runs, rounds)
    takes = ggml().ggml_backend_supports_op(own.addresses[0], runs["kernels"].output.address)
    for run in runs.values():
        run.close()
    return {
        "cache": case.keys,
        "head": case.n_key,
        "queries": case.n_query,
        "cells": case.n_cells,
        "sees": case.sees,
        "runs_on": own_kernels().name if takes else "ggml",
        **{f"{name}_ms": round(1e3 * found, 3) for name, found in seconds.items()},
        "ratio": round(seconds["ggml"] / seconds["kernels"], 3),
    }


class _Timed(Protocol):
    def compute(self) -> None: ...

    def close(self) -> None: ...


class _Reading:
    """Weights read by threads that do nothing else."""

    def __init__(self, weights: NDArray[np.int64], n_threads: int) -> None:
        self._parts = np.array_split(weights, n_threads)
        self._threads = ThreadPoolExecutor(n_threads)

    def compute(self) -> None:
        # of all that NumPy offers this reads fastest
        list(self._threads.map(np.maximum.reduce, self._parts))

    def close(self) -> None:
        self._threads.shutdown()


def _in_turns(runs: Mapping[str, _Timed], rounds: int) -> dict[str, float]:
    """Median seconds of each."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run.compute()
            if turn:  # the first one warms up
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--types", default=",".join(FORMATS))
    parser.add_argument("--rows", default="1,2,4,8,16,32,128,512")
    parser.add_argument("--matrices", type=int, default=4)
    parser.add_argument("--attention", action="store_true")
    parser.add_argument("--cache", default="F16")
    parser.add_argument("--heads", default="64,128")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    start_as_runner("benchmarks.kernels", options())
    if not own_kernels().name:
        parser.error(f"no kernels: {own_kernels().reason}")
    rounds, n_threads = arguments.rounds, arguments.threads
    if arguments.attention:
        heads = [int(n) for n in arguments.heads.split(",")]
        found = measure_attention(arguments.cache.split(","), heads, rounds, n_threads)
    else:
        rows = [int(n) for n in arguments.rows.split(",")]
        found = measure(arguments.types.split(","), rows, arguments.matrices, rounds, n_threads)
    for row in found:
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
