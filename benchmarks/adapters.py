"""Requests with an adapter each: all in the native engine's batches against libllama's turns.

    python -m benchmarks.adapters MODEL.gguf ... [--adapters 4] [--rank 16] [--tokens 32]
                                                 [--prompt 64] [--rounds 3] [--json]

The adapters are made here, of small random numbers in F16, for every matrix of the model. Each has
one request, and all are asked at once, of each engine in turn. ``plain`` are the same requests
without adapters on the native engine: what the adapters themselves cost. The first round of each
side, which loads the adapters, is not counted. A ratio above 1 means that the native engine is
faster.
"""

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.engine import start_as_runner, tokens
from cama.core.errors import CamaError
from cama.core.generation import Adapter, Adapters, Chunk, Event, Finish, Generation, Sampling
from cama.core.load import LoadOptions
from cama.engine.base import Engine
from cama.engine.llama.engine import LlamaEngine
from cama.engine.loop import Loop
from cama.engine.native.engine import NativeEngine
from cama.gguf import GGMLType, GGUFFile, TensorSource, write_gguf

_LEFT_OUT = ("token_embd.weight", "output.weight")


@dataclass(frozen=True)
class Task:
    """So many requests, each with an adapter of this rank, a prompt and an answer."""

    n_adapters: int
    rank: int
    n_prompt: int
    n_answer: int

    @property
    def load(self) -> LoadOptions:
        n_ctx = self.n_prompt + self.n_answer + 1
        return LoadOptions(
            n_ctx=n_ctx, n_cells=self.n_adapters * (n_ctx + 64), n_parallel=self.n_adapters
        )


@dataclass(frozen=True)
class Row:
    """Tokens per second of all requests together, and how many times faster native is."""

    model: str
    n_adapters: int
    rank: int
    native: float
    llama: float
    plain: float
    ratio: float
    kept: float


def make_adapter(path: Path, model: Path, rank: int, seed: int) -> Adapter:
    """Write an adapter that changes every matrix of ``model`` a little."""
    rng = np.random.default_rng(seed)
    sources = []
    with GGUFFile.open(model) as file:
        facts = {
            "general.type": "adapter",
            "general.architecture": file.architecture,
            "adapter.type": "lora",
        }
        for name, tensor in file.tensors.items():
            if len(tensor.shape) != 2 or name in _LEFT_OUT:
                continue
            n_in, n_out = tensor.shape
            a = rng.standard_normal((rank, n_in), np.float32) / np.float32(n_in**0.5)
            b = rng.standard_normal((n_out, rank), np.float32) / np.float32(8 * rank**0.5)
            for half, values in (("lora_a", a), ("lora_b", b)):
                data = values.astype(np.float16).tobytes()
                sources.append(
                    TensorSource(f"{name}.{half}", GGMLType.F16, values.shape[::-1], data)
                )
    write_gguf(path, facts, sources)
    return Adapter(path=path, digest=hashlib.sha256(path.read_bytes()).hexdigest())


def answer_all(engine: Engine, task: Task, sets: Sequence[Adapters]) -> float:
    """Seconds until every request is answered, in a loop that has cached nothing."""
    loop = Loop(engine, task.n_adapters)
    ended: list[Finish] = []

    def sink(event: Event | CamaError) -> None:
        match event:
            case Finish():
                ended.append(event)
            case CamaError():
                raise SystemExit(f"a request failed: {event}")
            case Chunk():
                pass

    no_end = dict.fromkeys(engine.tokenizer.end_of_generation, -1e4)
    started = time.perf_counter()
    for i, adapters in enumerate(sets):
        generation = Generation(
            prompt="", sampling=Sampling(temperature=0, logit_bias=no_end), speculate=False,
            num_predict=task.n_answer, adapters=adapters, tenant=str(i),
        )  # fmt: skip
        loop.submit(str(i), tokens(task.n_prompt, engine.info.n_vocab), generation, sink)
    while loop.step():
        pass
    seconds = time.perf_counter() - started
    assert [finish.eval_tokens for finish in ended] == [task.n_answer] * len(sets)
    while loop._cache.evict():
        pass
    return seconds


def measure(path: Path, task: Task, rounds: int) -> Row:
    """Medians over ``rounds``, in which another side begins each time."""
    times: dict[str, list[float]] = {"native": [], "llama": [], "plain": []}
    with tempfile.TemporaryDirectory() as folder:
        sets: list[Adapters] = [
            (make_adapter(Path(folder, f"{i}.gguf"), path, task.rank, i),)
            for i in range(task.n_adapters)
        ]
        none: list[Adapters] = [()] * task.n_adapters
        native = NativeEngine.open(path, task.load, "benchmark", lambda _: None)
        llama = LlamaEngine.open(path, task.load, "benchmark", lambda _: None)
        sides: list[tuple[str, Engine, list[Adapters]]] = [
            ("native", native, sets), ("llama", llama, sets), ("plain", native, none),
        ]  # fmt: skip
        with closing(native), closing(llama):
            for turn in range(rounds + 1):
                for name, engine, chosen in sides[:: 1 if turn % 2 == 0 else -1]:
                    taken = answer_all(engine, task, chosen)
                    if turn:  # the first one loads the adapters
                        times[name].append(taken)
    n_tokens = task.n_adapters * (task.n_prompt + task.n_answer)
    speeds = {name: n_tokens / statistics.median(taken) for name, taken in times.items()}
    ratio, kept = (
        statistics.median(
            other / taken for other, taken in zip(times[name], times["native"], strict=True)
        )
        for name in ("llama", "plain")
    )
    return Row(path.stem, task.n_adapters, task.rank, **speeds, ratio=ratio, kept=kept)


def rows(paths: Sequence[Path], task: Task, rounds: int) -> Iterator[Row]:
    for path in paths:
        yield measure(path, task, rounds)


def show(row: Row) -> None:
    print(
        f"{row.model:24} {row.n_adapters:8} {row.rank:5} {row.native:9.1f} {row.llama:9.1f} "
        f"{row.plain:9.1f} {row.ratio:7.3f} {row.kept:7.1%}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--adapters", type=int, default=4)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=32, help="length of each answer")
    parser.add_argument("--prompt", type=int, default=64, help="length of each prompt")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    arguments = parser.parse_args()
    task = Task(arguments.adapters, arguments.rank, arguments.prompt, arguments.tokens)
    start_as_runner("benchmarks.adapters", task.load)
    if not arguments.json:
        print(
            f"{'model':24} {'adapters':>8} {'rank':>5} {'native':>9} {'llama':>9} "
            f"{'plain':>9} {'ratio':>7} {'kept':>7}"
        )
    for row in rows(arguments.models, task, arguments.rounds):
        print(json.dumps(asdict(row))) if arguments.json else show(row)


if __name__ == "__main__":
    main()
