"""Clients that share a system prompt: one prefix cache for all against one slot for each.

    python -m benchmarks.prefix MODEL.gguf [--clients 8] [--turns 4] [--system 1500] [--rounds 3]
    python -m benchmarks.prefix MODEL.gguf --restart [--prompt 2000] [--rounds 3]

Every client talks for some turns, and asks again as soon as it is answered. On one side is the
native engine with one cache for all; on the other libllama as servers with slots use it: a client
has a sequence of its own, which remembers its conversation and no other. The loop, the prompts and
the numbers of tokens are the same, and the sides take turns. The first side must compute each
different token once, up to a chunk for each request, or the run fails. A ratio above 1 means that
it is faster.

With ``--restart`` a prompt is asked of a runner process, and again of the next one: what the first
has read comes back from disk. The ratio is the time to the first token there, as a share of what it
was when nothing was saved. Both have answered a few words before, which brings the weights in.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.engine import start_as_runner, tokens
from cama.core.errors import CamaError
from cama.core.generation import Chunk, Event, Finish, Generation, Sampling
from cama.core.load import LoadOptions, PrefixFolder
from cama.core.model import ModelSpec
from cama.engine.base import Engine
from cama.engine.llama.engine import LlamaEngine
from cama.engine.loop import Loop
from cama.engine.native.engine import NativeEngine
from cama.engine.radix import Key, RadixTree
from cama.runner.handle import Runner, start_runner

QUESTION = 60
ANSWER = 24
BATCH = 512


@dataclass(frozen=True)
class Talk:
    """How many clients talk how long, and the tokens of their system prompt."""

    n_clients: int
    n_turns: int
    n_system: int

    @property
    def n_ctx(self) -> int:
        return self.n_system + self.n_turns * (QUESTION + ANSWER)

    @property
    def load(self) -> LoadOptions:
        """Room for all conversations side by side: neither side has to forget anything."""
        n_cells = self.n_clients * (self.n_ctx + 64)
        return LoadOptions(
            n_ctx=self.n_ctx + 1, n_cells=n_cells, n_batch=BATCH, n_parallel=self.n_clients
        )

    def question(self, client: int, turn: int, n_vocab: int) -> list[int]:
        """The tokens that a client adds; the first time with the system prompt."""
        start = self.n_system + (client * self.n_turns + turn) * QUESTION
        own = tokens(start + QUESTION, n_vocab)[start:]
        return own if turn else [*tokens(self.n_system, n_vocab), *own]


@dataclass(frozen=True)
class Result:
    """``n_different`` tokens would have to be computed if none were computed twice."""

    seconds: float
    n_computed: int
    n_different: int


class Conversations:
    """All clients on one loop. ``key`` says which of them share a cache."""

    def __init__(self, engine: Engine, talk: Talk, key: Callable[[int], Key]) -> None:
        self._loop = Loop(engine, talk.n_clients)
        self._n_vocab = engine.info.n_vocab
        self._talk = talk
        self._key = key
        self._texts: list[list[int]] = [[] for _ in range(talk.n_clients)]
        self._tree: RadixTree[tuple[int, int]] = RadixTree()
        self._n_computed = 0

    def run(self) -> Result:
        started = time.perf_counter()
        for client in range(self._talk.n_clients):
            self._ask(client, 0)
        while self._loop.step():
            pass
        seconds = time.perf_counter() - started
        while self._loop._cache.evict():
            pass
        return Result(seconds, self._n_computed, self._tree.n_tokens)

    def _ask(self, client: int, turn: int) -> None:
        text = self._texts[client]
        text += self._talk.question(client, turn, self._n_vocab)
        _, tenant = self._key(client)
        generation = Generation(
            prompt="", sampling=Sampling(temperature=0), num_predict=ANSWER, logprobs=0,
            speculate=False, tenant=tenant,
        )  # fmt: skip

        def sink(event: Event | CamaError) -> None:
            match event:
                case Chunk(logprobs=logprobs):
                    text.extend(one.token for one in logprobs)
                case Finish():
                    self._end(client, turn, event)
                case error:
                    raise SystemExit(f"client {client}: {error}")

        self._loop.submit(f"{client}.{turn}", text, generation, sink)

    def _end(self, client: int, turn: int, finish: Finish) -> None:
        evaluated = self._texts[client][:-1]  # the last token of an answer is not
        self._tree.add(self._key(client), np.array(evaluated, np.int32), (client, turn))
        self._n_computed += finish.prompt_tokens - finish.cached_tokens + finish.eval_tokens - 1
        if turn + 1 < self._talk.n_turns:
            self._ask(client, turn + 1)


def check(result: Result, talk: Talk) -> None:
    """Leave with an error unless each different token was computed once, or nearly so."""
    excess = result.n_computed - result.n_different
    if not 0 <= excess <= talk.n_clients * talk.n_turns * BATCH:
        raise SystemExit(f"{result.n_computed} computed, {result.n_different} are different")


def measure(path: Path, talk: Talk, rounds: int) -> dict[str, float]:
    """Medians over ``rounds``, in which another side begins each time."""
    native = NativeEngine.open(path, talk.load, "benchmark", lambda _: None)
    llama = LlamaEngine.open(path, talk.load, "benchmark", lambda _: None)
    shared: list[Result] = []
    slots: list[Result] = []

    def run_shared() -> None:
        shared.append(Conversations(native, talk, lambda _: ("", "")).run())
        check(shared[-1], talk)

    def run_slots() -> None:
        slots.append(Conversations(llama, talk, lambda client: ("", f"{client}")).run())

    with closing(native), closing(llama):
        for turn in range(rounds):
            for run in (run_shared, run_slots)[:: 1 if turn % 2 == 0 else -1]:
                run()
    pairs = list(zip(shared, slots, strict=True))
    return {
        "computed": shared[0].n_computed,
        "different": shared[0].n_different,
        "computed_with_slots": slots[0].n_computed,
        "seconds": statistics.median(one.seconds for one in shared),
        "seconds_with_slots": statistics.median(one.seconds for one in slots),
        "ratio": statistics.median(b.seconds / a.seconds for a, b in pairs),
    }


async def first_token(runner: Runner, prompt: tuple[int, ...]) -> tuple[float, Finish]:
    """Seconds until the first token of an answer, and how that ended."""
    generation = Generation(prompt=prompt, sampling=Sampling(temperature=0), num_predict=1)
    started = time.perf_counter()
    found = float("inf")
    async for event in runner.generate(generation):
        found = min(found, time.perf_counter() - started)
        if isinstance(event, Finish):
            return found, event
    raise SystemExit("an answer without an end")


async def ask_twice(path: Path, n_prompt: int, seed: int) -> tuple[float, float]:
    """Seconds to the first token of a prompt: cold, and in the next process."""
    load = LoadOptions(n_ctx=n_prompt + 64, n_batch=BATCH)
    spec = ModelSpec(name=path.stem, path=path, digest="", weights_bytes=0, load=load)
    times = []
    with tempfile.TemporaryDirectory() as folder:
        prefixes = PrefixFolder(path=Path(folder), max_bytes=1 << 34, min_seconds=0)
        for n_restored in (0, n_prompt - 1):
            runner = await start_runner(spec, load_timeout=0, prefixes=prefixes)
            try:
                ids = tokens(n_prompt + 64 * (seed + 2), runner.info.n_vocab)
                await first_token(runner, tuple(ids[: 8 + seed]))
                seconds, finish = await first_token(runner, tuple(ids[-n_prompt:]))
            finally:
                await runner.close()
            if finish.restored_tokens != n_restored:
                raise SystemExit(f"{finish.restored_tokens} tokens restored, not {n_restored}")
            times.append(seconds)
    return times[0], times[1]


def measure_restart(path: Path, n_prompt: int, rounds: int) -> dict[str, float]:
    """Medians over ``rounds``, each with another prompt."""
    pairs = [asyncio.run(ask_twice(path, n_prompt, seed)) for seed in range(rounds)]
    return {
        "prompt": n_prompt,
        "cold_seconds": statistics.median(cold for cold, _ in pairs),
        "restored_seconds": statistics.median(restored for _, restored in pairs),
        "ratio": statistics.median(restored / cold for cold, restored in pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--system", type=int, default=1500, help="tokens of the system prompt")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--restart", action="store_true", help="measure what a restart costs")
    parser.add_argument("--prompt", type=int, default=2000, help="tokens that are read again")
    arguments = parser.parse_args()
    if arguments.restart:
        found = measure_restart(arguments.model, arguments.prompt, arguments.rounds)
        print(json.dumps({"model": arguments.model.stem, **found}))
        return
    talk = Talk(arguments.clients, arguments.turns, arguments.system)
    start_as_runner("benchmarks.prefix", talk.load)
    row = {"model": arguments.model.stem, **asdict(talk)}
    print(json.dumps(row | measure(arguments.model, talk, arguments.rounds)))


if __name__ == "__main__":
    main()
