"""One engine with Cama's kernels and without, and libllama without them, in one run.

    python -m benchmarks.engine --kernels compare MODEL.gguf [--rounds 5]
        [--prompts 128,512,2048] [--sequences 1,4,8] [--depth 128]

``--prompts`` and ``--sequences`` may be empty; sequences hold ``--depth`` tokens each.

Whether there are kernels is chosen once for each process, so every side is a process of its own;
they take turns, and times are taken within them. The sides:

``kernels``   the native engine with kernels: those of ``CAMA_KERNELS``, if it is set
``native``    the native engine without
``mapped``    libllama without, its weights as they are in the file
``repacked``  libllama without, as it is by default: a copy of its weights in another order

Two ratios follow: how many times faster the kernels make the native engine, and how many times
faster it is with them than the better of libllama's two.
"""

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.layouts import repacking_layouts
from cama.core.load import LoadOptions
from cama.engine.base import Engine, Plan, SeqId, Span
from cama.engine.llama import model
from cama.engine.llama.engine import LlamaEngine
from cama.engine.native.engine import NativeEngine
from cama.ggml.llama import load_model

WARM_UP, STEPS = 128, 12
SIDES: Mapping[str, tuple[str, str]] = {
    "kernels": ("native", "auto"),
    "native": ("native", "off"),
    "mapped": ("llama", "off"),
    "repacked": ("llama repacked", "off"),
}

Ask = Callable[..., Any]


class Side:
    """What runs in the process of a side; every method gives seconds."""

    def __init__(self, kind: str, path: Path, load: LoadOptions) -> None:
        if kind == "llama repacked":
            vars(model)["load_model"] = partial(_load_repacked, load_model)
        opened = NativeEngine if kind == "native" else LlamaEngine
        self._engine: Engine = opened.open(path, load, "benchmark", lambda _: None)

    def prefill(self, n: int, seq: int = 0) -> float:
        engine, size = self._engine, self._engine.info.n_batch
        engine.truncate(SeqId(seq), 0)
        ids = [300 + i * 7919 % (engine.info.n_vocab - 400) for i in range(n)]
        started = time.perf_counter()
        for start in range(0, n, size):
            part = ids[start : start + size]
            engine.forward(Plan((Span(SeqId(seq), start, part, int(start + size >= n)),)))
        return time.perf_counter() - started

    def copy(self, n_seq: int) -> float:
        """Cells of their own for all others, with what the first sequence has."""
        engine = self._engine
        state = engine.save(SeqId(0), engine.truncate(SeqId(0), 1 << 30))
        started = time.perf_counter()
        for i in range(1, n_seq):
            engine.restore(SeqId(i), state)
        return time.perf_counter() - started

    def decode(self, n_seq: int, position: int) -> float:
        spans = tuple(Span(SeqId(i), position, (1000 + i,), 1) for i in range(n_seq))
        started = time.perf_counter()
        self._engine.forward(Plan(spans))
        return time.perf_counter() - started

    def clear(self, n_seq: int) -> float:
        for i in range(n_seq):
            self._engine.truncate(SeqId(i), 0)
        return 0.0


def _load_repacked(load: Callable[..., int], path: Path, params: Any, parts: Any) -> int:
    repacking_layouts()  # leaves libllama those that work
    params.use_extra_bufts = True
    return load(path, params, parts)


def _serve(connection: Connection, kind: str, path: Path, load: LoadOptions) -> None:
    side = Side(kind, path, load)
    while True:
        name, *arguments = connection.recv()
        connection.send(getattr(side, name)(*arguments))


@contextmanager
def processes(path: Path, load: LoadOptions) -> Iterator[dict[str, Ask]]:
    """The sides, each as a function of a method's name and its arguments."""
    context = multiprocessing.get_context("spawn")
    before = os.environ.get("CAMA_KERNELS")
    started = []
    asks: dict[str, Ask] = {}
    try:
        for name, (kind, kernels) in SIDES.items():
            os.environ["CAMA_KERNELS"] = (before or kernels) if kernels == "auto" else kernels
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, kind, path, load), daemon=True)
            process.start()
            theirs.close()
            started.append(process)
            asks[name] = partial(_ask, ours)
        yield asks
    finally:
        os.environ.pop("CAMA_KERNELS")
        if before is not None:
            os.environ["CAMA_KERNELS"] = before
        for process in started:
            process.kill()
            process.join()


def _ask(connection: Connection, *call: Any) -> float:
    connection.send(call)
    seconds: float = connection.recv()
    return seconds


def in_turns(sides: Mapping[str, Ask], turn: int, *call: Any) -> dict[str, float]:
    """The seconds of each side, another one first each turn."""
    names = list(sides)
    first = turn % len(names)
    return {name: sides[name](*call) for name in (*names[first:], *names[:first])}


Samples = list[dict[str, float]]


@dataclass(frozen=True)
class Amounts:
    prompts: Sequence[int]  # tokens
    sequences: Sequence[int]  # that decode at once
    depth: int  # tokens that each of them has

    def load(self) -> LoadOptions:
        longest = max(self.depth, WARM_UP, *self.prompts) + 512
        n_seq = max((1, *self.sequences))
        return LoadOptions(n_ctx=longest, n_batch=512, n_parallel=n_seq, n_cells=n_seq * longest)


def measure(
    sides: Mapping[str, Ask], rounds: int, amounts: Amounts
) -> Iterator[tuple[str, int, Samples]]:
    """Names, tokens at once, and samples."""
    for name in sides:
        sides[name]("prefill", WARM_UP)  # touch every page of the maps
    for n in amounts.prompts:
        yield f"prefill {n}", n, [in_turns(sides, turn, "prefill", n) for turn in range(rounds)]
    for n_seq in amounts.sequences:
        in_turns(sides, 0, "prefill", amounts.depth)
        in_turns(sides, 0, "copy", n_seq)
        steps = range(rounds * STEPS)
        taken = [in_turns(sides, step, "decode", n_seq, amounts.depth + step) for step in steps]
        in_turns(sides, 0, "clear", n_seq)
        yield f"decode x{n_seq}", n_seq, taken[2:]


def compare(paths: Sequence[Path], rounds: int, amounts: Amounts) -> None:
    columns = "".join(f"{name:>10}" for name in SIDES)
    print(f"{'tok/s':36}{columns}{'/native':>9}{'/libllama':>10}")
    for path in paths:
        with processes(path, amounts.load()) as sides:
            for name, n, samples in measure(sides, rounds, amounts):
                medians = {side: statistics.median(s[side] for s in samples) for side in SIDES}
                rival = min(("mapped", "repacked"), key=medians.__getitem__)
                ratios = [
                    statistics.median(s[other] / s["kernels"] for s in samples)
                    for other in ("native", rival)
                ]
                speeds = "".join(f"{n / medians[side]:10.1f}" for side in SIDES)
                print(
                    f"{path.stem:24.24}{name:12}{speeds}{ratios[0]:9.3f}{ratios[1]:10.3f}",
                    flush=True,
                )
