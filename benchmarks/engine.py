"""Compare the native engine with libllama on the same file in one run, alternating; print medians.

    python -m benchmarks.engine MODEL.gguf ... [--rounds 5] [--quick] [--contended] [--json]
    python -m benchmarks.engine --architecture qwen3 [--architecture lfm2 ...] [--type Q4_K_M]

``--architecture`` makes a model of that architecture with random weights, 0.3 to 1.2 billion of
them, in a temporary folder. ``--quick`` measures one prompt and one sequence only.
``--processor-time`` counts the time that the process computes instead of the time that passes,
which tells more where a machine has other work; speeds are then tokens per second of it.
``--kernels off`` does without Cama's kernels on both sides; ``--kernels compare`` shows what they
are worth (``kernel_sides.py``).

Both engines keep the weights mapped, use the same threads and get the same plans. A ratio above 1
means that the native engine is faster.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from benchmarks import kernel_sides
from benchmarks.make_model import make_model
from benchmarks.shapes import BENCHMARKS
from cama.core.generation import Chunk, Finish, Generation, Sampling
from cama.core.load import LoadOptions
from cama.engine.base import Engine, Plan, SeqId, Span
from cama.engine.llama.engine import LlamaEngine
from cama.engine.loop import Loop
from cama.engine.native.engine import NativeEngine
from cama.runner.environment import child_environment

PREFILL = (128, 512, 2048)
SEQUENCES = (1, 4, 8)
PROMPT = 128
DECODE_STEPS = 24
BUSY_PROCESSES = 2
FIRST = SeqId(0)


@dataclass(frozen=True)
class Samples:
    """Seconds of both engines; those with the same index were taken side by side."""

    native: list[float] = field(default_factory=list)
    llama: list[float] = field(default_factory=list)

    def extend(self, other: "Samples") -> None:
        self.native.extend(other.native)
        self.llama.extend(other.llama)

    @property
    def ratio(self) -> float:
        """How many times faster native is, the median over turns: drifts hit both sides of one."""
        return statistics.median(b / a for a, b in zip(self.native, self.llama, strict=True))

    def after(self, n: int) -> "Samples":
        return Samples(self.native[n:], self.llama[n:])


@dataclass(frozen=True)
class Row:
    """One measurement: medians of both sides, and how many times faster the native engine is."""

    model: str
    name: str
    unit: str
    native: float
    llama: float | None = None
    ratio: float | None = None

    @classmethod
    def of_time(cls, model: str, name: str, samples: Samples) -> "Row":
        native, llama = (statistics.median(s) * 1000 for s in (samples.native, samples.llama))
        return cls(model, name, "ms", native, llama, samples.ratio)

    @classmethod
    def of_speed(cls, model: str, name: str, n_tokens: int, samples: Samples) -> "Row":
        native, llama = (n_tokens / statistics.median(s) for s in (samples.native, samples.llama))
        return cls(model, name, "tok/s", native, llama, samples.ratio)


def options() -> LoadOptions:
    return LoadOptions(n_ctx=4096, n_batch=512)


def start_as_runner(module: str, load: LoadOptions, kernels: str = "") -> None:
    """Start ``module`` again with a runner's environment: OpenMP reads it when it is loaded.

    ``kernels``, if given, is what ``CAMA_KERNELS`` must be.
    """
    wanted = {"CAMA_KERNELS": kernels} if kernels else {}
    if "GOMP_SPINCOUNT" not in os.environ or not wanted.items() <= os.environ.items():
        command = [sys.executable, "-m", module, *sys.argv[1:]]
        os.execve(sys.executable, command, child_environment(load, {**os.environ, **wanted}))


def open_native(path: Path) -> NativeEngine:
    return NativeEngine.open(path, options(), "benchmark", lambda _: None)


def open_llama(path: Path) -> LlamaEngine:
    return LlamaEngine.open(path, options(), "benchmark", lambda _: None)


Clock = Callable[[], float]


def seconds(action: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    started = clock()
    action()
    return clock() - started


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
    n: int,
    actions: Sequence[Callable[[], object]],
    first: int = 0,
    clock: Clock = time.perf_counter,
) -> Samples:
    """Time both actions ``n`` times; another one begins each turn."""
    samples = Samples()
    for turn in range(first, first + n):
        pairs = list(zip(actions, (samples.native, samples.llama), strict=True))
        for action, times in pairs if turn % 2 == 0 else pairs[::-1]:
            times.append(seconds(action, clock))
    return samples


def compare_prefill(
    engines: Sequence[Engine], n: int, rounds: int, clock: Clock = time.perf_counter
) -> Samples:
    """A prompt of ``n`` tokens."""

    def run(engine: Engine) -> None:
        engine.truncate(FIRST, 0)
        prefill(engine, n)

    return in_turns(rounds, [partial(run, engine) for engine in engines], clock=clock)


def compare_decode(
    engines: Sequence[Engine], n_seq: int, steps: int, clock: Clock = time.perf_counter
) -> Samples:
    """One token more for each of ``n_seq`` sequences, the engines taking turns step by step."""
    for engine in engines:
        for i in range(n_seq):
            engine.truncate(SeqId(i), 0)
            prefill(engine, PROMPT, SeqId(i))
    positions = [itertools.count(PROMPT) for _ in engines]

    def run(engine: Engine, position: Iterator[int]) -> None:
        decode(engine, n_seq, next(position))

    actions = [partial(run, e, p) for e, p in zip(engines, positions, strict=True)]
    samples = in_turns(steps, actions, clock=clock)
    for engine in engines:
        for i in range(n_seq):
            engine.truncate(SeqId(i), 0)
    return samples.after(2)


def forward_overhead(engine: NativeEngine, steps: int) -> float:
    """Median seconds of a decode step of the engine that are not spent computing."""
    engine.truncate(FIRST, 0)
    prefill(engine, PROMPT)
    samples = []
    for step in range(steps):
        computed = engine.compute_seconds
        total = seconds(partial(decode, engine, 1, PROMPT + step))
        samples.append(total - (engine.compute_seconds - computed))
    engine.truncate(FIRST, 0)
    return statistics.median(samples[2:])


def loop_overhead(engine: NativeEngine, steps: int) -> float:
    """The same of the whole loop: planning, greedy sampling and text included."""
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


def measure(
    path: Path, rounds: int, *, quick: bool = False, clock: Clock = time.perf_counter
) -> Iterator[Row]:
    """Every measurement, over ``rounds`` fresh pairs of engines; few of them when ``quick``.

    Where memory happens to lie makes one engine up to 2 % faster than the next of the same kind.
    """
    opened = Samples()
    prompts: dict[int, Samples] = defaultdict(Samples)
    steps: dict[int, Samples] = defaultdict(Samples)
    lengths, sequences = (PREFILL[1:2], SEQUENCES[:1]) if quick else (PREFILL, SEQUENCES)
    for turn in range(rounds):
        native, llama = open_pair(path, turn, opened)
        compare_prefill((native, llama), PREFILL[0], 1)  # touch every page of the maps
        for n in lengths:
            prompts[n].extend(compare_prefill((native, llama), n, 1 + (n <= 512), clock))
        for n_seq in sequences:
            steps[n_seq].extend(compare_decode((native, llama), n_seq, DECODE_STEPS, clock))
        native.close()
        llama.close()
    name = path.stem
    yield Row.of_time(name, "open", opened)
    yield from (Row.of_speed(name, f"prefill {n}", n, prompts[n]) for n in lengths)
    yield from (Row.of_speed(name, f"decode x{n}", n, steps[n]) for n in sequences)
    if quick:
        return
    with closing(open_native(path)) as native:
        yield Row(name, "overhead of forward", "ms", forward_overhead(native, 64) * 1000)
        yield Row(name, "overhead of a loop step", "ms", loop_overhead(native, 64) * 1000)


def open_pair(path: Path, turn: int, opened: Samples) -> tuple[NativeEngine, LlamaEngine]:
    """Both engines, another one opened first each turn; the times go to ``opened``."""
    pair: dict[str, Engine] = {}

    def open_one(name: str, opener: Callable[[Path], Engine]) -> None:
        pair[name] = opener(path)

    actions = (partial(open_one, "native", open_native), partial(open_one, "llama", open_llama))
    opened.extend(in_turns(1, actions, first=turn))
    native, llama = pair["native"], pair["llama"]
    assert isinstance(native, NativeEngine)
    assert isinstance(llama, LlamaEngine)
    return native, llama


def measure_contended(path: Path, rounds: int) -> Iterator[Row]:
    """Decode alone and beside busy processes."""
    engines = (open_native(path), open_llama(path))
    steps = rounds * DECODE_STEPS // 2
    quiet = Row.of_speed(path.stem, "decode, quiet", 1, compare_decode(engines, 1, steps))
    with busy(BUSY_PROCESSES):
        samples = compare_decode(engines, 1, steps)
    contended = Row.of_speed(path.stem, f"decode beside {BUSY_PROCESSES} busy", 1, samples)
    for engine in engines:
        engine.close()
    assert quiet.llama
    assert contended.llama
    yield quiet
    yield contended
    kept = 100 * contended.native / quiet.native, 100 * contended.llama / quiet.llama
    yield Row(path.stem, "speed kept", "%", *kept, kept[0] / kept[1])


def show(row: Row) -> None:
    llama = f"{row.llama:10.2f}" if row.llama else " " * 10
    ratio = f"{row.ratio:8.3f}" if row.ratio else ""
    print(
        f"{row.model:24} {row.name:26} {row.native:10.2f} {llama} {row.unit:6} {ratio}", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--architecture", action="append", choices=BENCHMARKS, default=[])
    parser.add_argument("--type", default="Q4_K_M", help="of the weights of a made model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one prompt and one sequence only")
    parser.add_argument("--processor-time", action="store_true", help="instead of wall time")
    parser.add_argument("--contended", action="store_true", help="decode beside busy processes")
    parser.add_argument("--kernels", choices=("on", "off", "compare"), default="on")
    parser.add_argument("--prompts", default="128,512,2048", help="with --kernels compare")
    parser.add_argument("--sequences", default="1,4,8", help="with --kernels compare")
    parser.add_argument("--depth", type=int, default=128, help="with --kernels compare")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    arguments = parser.parse_args()
    if not arguments.models and not arguments.architecture:
        parser.error("a model or an architecture is needed")
    start_as_runner("benchmarks.engine", options(), "off" if arguments.kernels == "off" else "")
    if arguments.kernels == "compare":
        if not arguments.models:
            parser.error("--kernels compare needs a model")
        prompts, sequences = numbers(arguments.prompts), numbers(arguments.sequences)
        amounts = kernel_sides.Amounts(prompts, sequences, arguments.depth)
        kernel_sides.compare(arguments.models, arguments.rounds, amounts)
        return
    if not arguments.json:
        print(
            f"{'model':24} {'measure':26} {'native':>10} {'libllama':>10} {'unit':6} {'ratio':>8}"
        )
    clock = time.process_time if arguments.processor_time else time.perf_counter
    run = measure_contended
    if not arguments.contended:
        run = partial(measure, quick=arguments.quick, clock=clock)
    with tempfile.TemporaryDirectory(prefix="cama-benchmark-") as folder:
        made = (made_model(Path(folder), name, arguments.type) for name in arguments.architecture)
        for path in itertools.chain(arguments.models, made):
            for row in run(path, arguments.rounds):
                print(json.dumps(asdict(row))) if arguments.json else show(row)
            if path.parent == Path(folder):
                path.unlink()  # one at a time is enough of them on disk


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


def made_model(folder: Path, architecture: str, file_type: str) -> Path:
    """Random weights in the shape of a small model of that architecture."""
    path = folder / f"{architecture}-{file_type}.gguf"
    make_model(path, BENCHMARKS[architecture], file_type)
    return path


if __name__ == "__main__":
    main()
