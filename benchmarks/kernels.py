"""Products by Cama's kernels against ggml, as its weights lie in a file and repacked.

    python -m benchmarks.kernels [--types Q4_K,Q6_K] [--rows 1,2,4,8,16,32,128,512]

The three take turns in one process, over more weights than the caches hold. `ratio` is the better
of ggml's two times divided by that of the kernels: above 1 they are faster. Where they leave a
product to ggml it says so.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.engine import options, start_as_runner
from benchmarks.products import FORMATS, Case, Operands, Processor, Run, repacking_layouts
from cama.ggml.library import ggml, own_kernels

N_IN, N_OUT, N_MATRICES = 2048, 8192, 4


def measure(
    types: list[str], rows: list[int], rounds: int, n_threads: int
) -> Iterator[dict[str, Any]]:
    own = Processor(n_threads, has_kernels=True)
    plain = Processor(n_threads, has_kernels=False)
    for kind in types:
        for n_rows in rows:
            case = Case(kind, N_IN, N_OUT, n_rows, n_matrices=N_MATRICES)
            yield _compare(case, own, plain, rounds)


def _compare(case: Case, own: Processor, plain: Processor, rounds: int) -> dict[str, Any]:
    operands = Operands(case)
    runs = {"kernels": Run(case, operands, own), "mapped": Run(case, operands, plain)}
    for layout in repacking_layouts():
        run = Run(case, operands, plain, layout)
        if run.is_supported:
            runs["repacked"] = run
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run.compute()
            if turn:  # the first one warms up
                times[name].append(time.perf_counter() - started)
    takes = ggml().ggml_backend_supports_op(own.addresses[0], runs["kernels"].outputs[0].address)
    for run in runs.values():
        run.close()
    seconds = {name: statistics.median(found) for name, found in times.items()}
    best = min(found for name, found in seconds.items() if name != "kernels")
    return {
        "type": case.type,
        "rows": case.n_rows,
        "runs_on": own_kernels().name if takes else "ggml",
        "gflops": round(2 * case.n_products / seconds["kernels"] / 1e9),
        **{f"{name}_ms": round(1e3 * found, 2) for name, found in seconds.items()},
        "ratio": round(best / seconds["kernels"], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--types", default=",".join(FORMATS))
    parser.add_argument("--rows", default="1,2,4,8,16,32,128,512")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    start_as_runner("benchmarks.kernels", options())
    if not own_kernels().name:
        parser.error(f"no kernels: {own_kernels().reason}")
    rows = [int(n) for n in arguments.rows.split(",")]
    types = arguments.types.split(",")
    for row in measure(types, rows, arguments.rounds, arguments.threads):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
