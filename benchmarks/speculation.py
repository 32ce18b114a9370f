"""Compare decoding that guesses ahead with plain decoding, alternating; print medians and ratios.

    python -m benchmarks.speculation MODEL.gguf ... [--rounds 5] [--tokens 256] [--json]

The answers are dictated: whatever the weights say, the logit of the next token of a script is
raised behind the real pass. So any model does, also one of random weights, passes cost what they
cost, and both sides write the same tokens. The tasks:

``copy``   the prompt's text word for word
``edit``   the same with every twelfth token replaced
``new``    no three tokens that came before: nothing is ever guessed
``trap``   three tokens that came before, then others: nearly every guess is wrong

A ratio above 1 means that guessing is faster.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.dictated import Dictated, answer
from benchmarks.engine import open_llama, open_native, options, start_as_runner
from cama.core.generation import Generation, Sampling
from cama.engine.loop import Loop

PROMPT = 256
EDIT = 12
TRAP = 9


@dataclass(frozen=True)
class Row:
    """Tokens per second of both sides, how many times faster guessing is, and how it guessed."""

    model: str
    engine: str
    task: str
    plain: float
    guessed: float
    ratio: float
    proposed: int
    accepted: int
    passes: int


def scripts(n: int, n_vocab: int) -> Iterator[tuple[str, list[int]]]:
    """For each task prompt and answer, as one text."""
    rng = np.random.default_rng(0)
    ids = 300 + rng.permutation(n_vocab - 400)[: PROMPT + n]
    if len(ids) < PROMPT + n:
        sys.exit(f"a text of {PROMPT + n} different tokens needs a larger vocabulary")
    prompt, new = ids[:PROMPT].tolist(), ids[PROMPT:].tolist()
    copy = (prompt * (n // PROMPT + 1))[:n]
    edit = [new[i] if i % EDIT == EDIT - 1 else token for i, token in enumerate(copy)]
    trap = list(new)
    for i in range(0, n - 3, TRAP):
        start = int(rng.integers(PROMPT - 3))
        trap[i : i + 3] = prompt[start : start + 3]
    # one token more: a row behind the last proposal is asked for it
    for name, written in (("copy", copy), ("edit", edit), ("new", new), ("trap", trap)):
        yield name, [*prompt, *written, *([prompt[0]] * 32)]


def measure(path: Path, rounds: int, n: int) -> Iterator[Row]:
    for open_engine in (open_native, open_llama):
        with closing(open_engine(path)) as engine:
            dictated = Dictated(engine)
            loop = Loop(dictated)
            for task in scripts(n, engine.info.n_vocab):
                yield _compare(path.stem, loop, dictated, task, rounds, n)


def _compare(
    model: str, loop: Loop, engine: Dictated, task: tuple[str, list[int]], rounds: int, n: int
) -> Row:
    name, engine.script = task
    script = engine.script
    times: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(rounds + 1):
        for speculate in (turn % 2 == 0, turn % 2 == 1):
            generation = Generation(
                prompt="", sampling=Sampling(temperature=0), num_predict=n, speculate=speculate
            )
            finish = answer(loop, script[:PROMPT], generation)
            if turn:  # the first one warms up
                times[speculate].append(finish.eval_seconds)
            if speculate:
                counts = (finish.proposed_tokens, finish.accepted_tokens, finish.decode_passes)
    plain, guessed = times[False], times[True]
    ratio = statistics.median(p / g for p, g in zip(plain, guessed, strict=True))
    speeds = (n / statistics.median(plain), n / statistics.median(guessed))
    return Row(model, engine.info.engine, name, *speeds, ratio, *counts)


def show(row: Row) -> None:
    print(
        f"{row.model:24} {row.engine:7} {row.task:5} {row.plain:9.1f} {row.guessed:9.1f} "
        f"{row.ratio:7.3f} {row.proposed:9} {row.accepted:9} {row.passes:7}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=256, help="length of each answer")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    arguments = parser.parse_args()
    start_as_runner("benchmarks.speculation", options())
    if not arguments.json:
        print(
            f"{'model':24} {'engine':7} {'task':5} {'plain':>9} {'guessed':>9} {'ratio':>7} "
            f"{'proposed':>9} {'accepted':>9} {'passes':>7}"
        )
    for path in arguments.models:
        for row in measure(path, arguments.rounds, arguments.tokens):
            print(json.dumps(asdict(row))) if arguments.json else show(row)


if __name__ == "__main__":
    main()
