"""What a token costs to sample, with Cama's kernels for rows of logits and without; print medians.

    python -m benchmarks.sampling [--vocabulary 128256] [--rounds 200] [--json]

Both sides take turns on the same rows: peaked ones as models give, and flat ones, the worst case.
Between the samples something as large as the caches is written, as a forward pass would. ``plain``
is NumPy alone; ``ratio`` is its time divided by that of the kernels. Rows of

``sample``   options of a request
``refused``  greedy, and a guard that allows one token in a thousand refuses the first
``logprobs`` the log-probability of a token and of the 20 best
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cama.core.generation import Sampling
from cama.engine.base import Logits
from cama.engine.logprobs import logprobs_of
from cama.engine.sampling import plain, rows
from cama.engine.sampling.mask import Mask
from cama.engine.sampling.sampler import Sampler

OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "default": {},
    "top_k 1000": {"top_k": 1000},
    "top_p 0.9": {"top_k": 0, "top_p": 0.9},
    "min_p 0.05": {"top_k": 0, "top_p": 1.0, "min_p": 0.05},
    "temperature": {"top_k": 0, "top_p": 1.0},
}
FUNCTIONS = ("argmax", "top_k", "sum_exp", "masked")
CACHE_BYTES = 32 << 20


@dataclass(frozen=True)
class Row:
    """Microseconds, medians."""

    name: str
    logits: str
    kernels: float
    plain: float
    ratio: float


class Few:
    """A guard that allows few tokens."""

    is_over = False

    def __init__(self, n_vocab: int) -> None:
        self._marked = np.arange(n_vocab) % 1000 == 500

    def allows(self, token: int) -> bool:
        return bool(self._marked[token])

    def allowed(self) -> Mask:
        return Mask.of(self._marked)

    def accept(self, token: int) -> None:
        pass


def shapes(n_vocab: int) -> dict[str, Logits]:
    noise = np.random.default_rng(1).standard_normal(n_vocab).astype(np.float32)
    return {"peaked": noise * np.float32(3.5), "flat": noise * np.float32(0.01)}


def actions(n_vocab: int) -> Iterator[tuple[str, Callable[[Logits], object]]]:
    for name, options in OPTIONS.items():
        sampler = Sampler(Sampling(**{"seed": 1, **options}), n_vocab, 4096)
        yield f"sample {name}", sampler.sample
    greedy = Sampler(Sampling(temperature=0.0), n_vocab, 4096, Few(n_vocab))
    yield "refused", greedy.sample
    yield "logprobs", lambda row: logprobs_of(row[None], (7,), 20, lambda _: b"")


def measure(n_vocab: int, rounds: int, kernels: rows.Kernels) -> Iterator[Row]:
    spoil = np.zeros(CACHE_BYTES, np.uint8)
    for name, action in actions(n_vocab):
        for kind, row in shapes(n_vocab).items():
            times: dict[Any, list[float]] = {kernels: [], plain: []}
            for turn in range(rounds + 1):
                for side in times if turn % 2 else reversed(times):
                    for function in FUNCTIONS:
                        setattr(rows, function, getattr(side, function))
                    spoil += 1
                    fresh = row.copy()  # the pass has just written it
                    started = time.perf_counter()
                    action(fresh)
                    if turn:
                        times[side].append(1e6 * (time.perf_counter() - started))
            own, numpy = (statistics.median(found) for found in times.values())
            yield Row(name, kind, own, numpy, numpy / own)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--vocabulary", type=int, default=128_256)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    given = parser.parse_args()
    kernels = rows.kernels()
    if kernels is None:
        parser.error("no kernels are built for this machine")
    if not given.json:
        print(f"{'':20} {'logits':8} {'kernels us':>10} {'plain us':>10} {'ratio':>7}")
    for row in measure(given.vocabulary, given.rounds, kernels):
        if given.json:
            print(json.dumps(asdict(row)), flush=True)
        else:
            figures = f"{row.kernels:10.1f} {row.plain:10.1f} {row.ratio:7.2f}"
            print(f"{row.name:20} {row.logits:8} {figures}", flush=True)


if __name__ == "__main__":
    main()
