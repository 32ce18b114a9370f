"""Compare the native engine with libllama on the same file in one run, alternating; print medians.

    python -m benchmarks.engine MODEL.gguf ... [--rounds 5] [--contended] [--json]

Both engines keep the weights mapped, use the same threads and get the same plans. A ratio above 1
means that the native engine is faster.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from cama.core.generation import Chunk, Finish, Generation, Sampling
from cama.core.load import LoadOptions
from cama.engine.base import Engine, Plan, SeqId, Span
from cama.runner.environment import child_environment

PREFILL = (128, 512, 2048)
SEQUENCES = (1, 4, 8)
PROMPT = 128
DECODE_STEPS = 24
BUSY_PROCESSES = 2
FIRST = SeqId(0)


@dataclass(frozen=True)
class Row:
    """One measurement: medians of both sides, and how many times faster the native engine is."""

    model: str
    name: str
    unit: str
    native: float
    llama: float | None = None

    @property
    def ratio(self) -> float | None:
        if not self.llama:
            return None
        return self.llama / self.native if self.unit == "ms" else self.native / self.llama


def options() -> LoadOptions:
    return LoadOptions(n_ctx=4096, n_batch=512)


def open_native(path: Path) -> Engine:
    from cama.engine.native.engine import NativeEngine

    return NativeEngine.open(path, options(), "benchmark", lambda _: None)


def open_llama(path: Path) -> Engine:
    from cama.engine.llama.engine import LlamaEngine

    return LlamaEngine.open(path, options(), "benchmark", lambda _: None)


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def tokens(n: int, n_vocab: int) -> list[int]:
    """Different tokens that are the same in every run; low ids, which are ordinary words."""
    return [300 + (i * 7919) % (n_vocab - 400) for i in range(n)]


def prefill(engine: Engine, n: int, seq: SeqId = FIRST) -> None:
    """Evaluate ``n`` tokens as the loop does: in chunks, logits for the last one."""
    ids, size = tokens(n, engine.info.n_vocab), engine.info.n_batch
    for start in range(0, n, size):
        part = ids[start : start + size]
        engine.forward(Plan((Span(seq, start, part, int(start + size >= n)),)))


def decode(engine: Engine, n_seq: int, position: int) -> None:
    spans = (Span(SeqId(i), position, (1000 + i,), 1) for i in range(n_seq))
    engine.forward(Plan(tuple(spans)))


def in_turns(
    engines: list[Engine], times: list[list[float]], turn: int
) -> list[tuple[Engine, list[float]]]:
    """Each engine with its samples; another one begins each turn."""
    pairs = list(zip(engines, times, strict=True))
    return pairs if turn % 2 == 0 else pairs[::-1]


def compare_open(path: Path, rounds: int) -> tuple[float, float]:
    """Median seconds to open and close the model, native and libllama."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for opener, samples in zip((open_native, open_llama), times, strict=True):
            started = time.perf_counter()
            engine = opener(path)
            samples.append(time.perf_counter() - started)
            engine.close()
    return statistics.median(times[0]), statistics.median(times[1])


def compare_prefill(engines: list[Engine], n: int, rounds: int) -> list[float]:
    """Median tokens per second of a prompt of ``n`` tokens."""
    times: list[list[float]] = [[] for _ in engines]
    for turn in range(rounds):
        for engine, samples in in_turns(engines, times, turn):
            engine.truncate(FIRST, 0)
            samples.append(seconds(partial(prefill, engine, n)))
    return [n / statistics.median(samples) for samples in times]


def compare_decode(engines: list[Engine], n_seq: int, steps: int) -> list[float]:
    """Median tokens per second over all sequences, the engines taking turns step by step."""
    times: list[list[float]] = [[] for _ in engines]
    for engine in engines:
        for i in range(n_seq):
            engine.truncate(SeqId(i), 0)
            prefill(engine, PROMPT, SeqId(i))
    for step in range(steps):
        for engine, samples in in_turns(engines, times, step):
            samples.append(seconds(partial(decode, engine, n_seq, PROMPT + step)))
    for engine in engines:
        for i in range(n_seq):
            engine.truncate(SeqId(i), 0)
    return [n_seq / statistics.median(samples[2:]) for samples in times]


def overhead_seconds(engine: Engine, steps: int) -> float:
    """Median time of a decode step of the whole loop that is not spent computing."""
    from cama.engine.loop import Loop
    from cama.engine.native.engine import NativeEngine

    assert isinstance(engine, NativeEngine)
    loop = Loop(engine)
    generation = Generation(prompt="", sampling=Sampling(temperature=0), num_predict=steps)
    answers: list[object] = []
    loop.submit("benchmark", tokens(PROMPT, engine.info.n_vocab), generation, answers.append)
    samples = []
    while not any(isinstance(a, Finish | Exception) for a in answers):
        computed = engine.compute_seconds
        total = seconds(loop.step)
        samples.append(total - (engine.compute_seconds - computed))
    assert any(isinstance(a, Chunk | Finish) for a in answers)
    return statistics.median(samples[2:])


def _spin() -> None:
    while True:
        pass


@contextmanager
def busy(n: int) -> Iterator[None]:
    """``n`` processes that each want a core."""
    spinners = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(n)]
    for spinner in spinners:
        spinner.start()
    try:
        time.sleep(0.5)
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.join()


def measure(path: Path, rounds: int) -> Iterator[Row]:
    name = path.stem
    native_open, llama_open = compare_open(path, rounds)
    yield Row(name, "open", "ms", native_open * 1000, llama_open * 1000)
    engines = [open_native(path), open_llama(path)]
    compare_prefill(engines, PREFILL[0], 1)  # touch every page of the maps
    for n in PREFILL:
        native, llama = compare_prefill(engines, n, rounds if n <= 512 else max(2, rounds // 2))
        yield Row(name, f"prefill {n}", "tok/s", native, llama)
    for n_seq in SEQUENCES:
        native, llama = compare_decode(engines, n_seq, rounds * DECODE_STEPS // 2)
        yield Row(name, f"decode x{n_seq}", "tok/s", native, llama)
    yield Row(name, "overhead per decode step", "ms", overhead_seconds(engines[0], 64) * 1000)
    for engine in engines:
        engine.close()


def measure_contended(path: Path, rounds: int) -> Iterator[Row]:
    """Decode alone and beside busy processes."""
    engines = [open_native(path), open_llama(path)]
    steps = rounds * DECODE_STEPS // 2
    quiet = compare_decode(engines, 1, steps)
    with busy(BUSY_PROCESSES):
        contended = compare_decode(engines, 1, steps)
    for engine in engines:
        engine.close()
    yield Row(path.stem, "decode, quiet", "tok/s", *quiet)
    yield Row(path.stem, f"decode beside {BUSY_PROCESSES} busy", "tok/s", *contended)
    kept = [100 * c / q for c, q in zip(contended, quiet, strict=True)]
    yield Row(path.stem, "speed kept", "%", *kept)


def show(row: Row) -> None:
    llama = f"{row.llama:10.2f}" if row.llama else " " * 10
    ratio = f"{row.ratio:8.3f}" if row.ratio else ""
    print(
        f"{row.model:24} {row.name:26} {row.native:10.2f} {llama} {row.unit:6} {ratio}", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contended", action="store_true", help="decode beside busy processes")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    arguments = parser.parse_args()
    if "GOMP_SPINCOUNT" not in os.environ:
        # OpenMP reads its settings when it is loaded: start again with those of a runner
        command = [sys.executable, "-m", "benchmarks.engine", *sys.argv[1:]]
        os.execve(sys.executable, command, child_environment(options(), os.environ))
    if not arguments.json:
        print(
            f"{'model':24} {'measure':26} {'native':>10} {'libllama':>10} {'unit':6} {'ratio':>8}"
        )
    run = measure_contended if arguments.contended else measure
    for path in arguments.models:
        for row in run(path, arguments.rounds):
            print(json.dumps(asdict(row) | {"ratio": row.ratio})) if arguments.json else show(row)


if __name__ == "__main__":
    main()
