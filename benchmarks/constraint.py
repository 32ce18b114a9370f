"""What holding an answer to a JSON Schema costs per token; print medians and shares of a step.

    python -m benchmarks.constraint MODEL.gguf ... [--rounds 5] [--things 20] [--json]

The answers are dictated: whatever the weights say, the logit of the next token of a text is raised
behind the real pass. So any model does, also one of random weights, passes cost what they cost, and
all sides write the same tokens in turn. The sides:

``free``     without a schema
``kept``     with one that the model keeps by itself: each token is looked at
``refused``  with one that it would break at every token: each is drawn again from what is allowed

The first answer of each side is not counted: it compiles the schema. What a schema adds is measured
between the passes: these compute the same on all sides, and scatter by more than it is.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.dictated import Dictated, answer
from benchmarks.engine import open_llama, open_native, options, start_as_runner
from cama.core.generation import Constraint, Generation, Sampling
from cama.engine.base import Tokenizer
from cama.engine.loop import Loop

THING = {
    "type": "object",
    "properties": {
        "id": {"type": "integer", "minimum": 0},
        "name": {"type": "string", "maxLength": 40},
        "colour": {"enum": ["red", "green", "blue"]},
        "sizes": {"type": "array", "items": {"type": "number"}, "maxItems": 4},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["id", "name", "colour", "sizes", "note"],
    "additionalProperties": False,
}
SCHEMA = {"type": "array", "items": THING}


def text(n_things: int) -> bytes:
    """An answer to SCHEMA."""
    things: list[dict[str, Any]] = [
        {
            "id": 1009 * n,
            "name": f"the {n}th thing of all",
            "colour": ("red", "green", "blue")[n % 3],
            "sizes": [n, n + 0.5],
            "note": None if n % 2 else "it is worth a short note of some words",
        }
        for n in range(n_things)
    ]
    return json.dumps(things).encode()


def spell(data: bytes, tokenizer: Tokenizer, n_vocab: int) -> list[int]:
    """Tokens that spell ``data``: the longest that fits, place by place."""
    tokens = {tokenizer.piece(token): token for token in range(n_vocab)}
    longest, start, spelt = max(map(len, tokens)), 0, []
    while start < len(data):
        ends = range(min(start + longest, len(data)), start, -1)
        end = next((end for end in ends if data[start:end] in tokens), None)
        if end is None:
            sys.exit(f"no token of the model begins {data[start : start + 10]!r}")
        spelt.append(tokens[data[start:end]])
        start = end
    return spelt


@dataclass(frozen=True)
class Row:
    """Microseconds of a free token, what the schema adds to one, and that as a share of it."""

    model: str
    engine: str
    n_tokens: int
    free: float
    kept: float
    refused: float
    kept_share: float
    refused_share: float


def micros(
    loop: Loop, sampling: Sampling, script: Sequence[int], constraint: Constraint | None
) -> tuple[float, float]:
    """Microseconds that each token of an answer took, and what of them went by between passes."""
    n = len(script)
    generation = Generation(
        prompt="", sampling=sampling, num_predict=n, constraint=constraint, speculate=False
    )
    finish = answer(loop, script[:1], generation)
    whole = finish.prompt_seconds + finish.eval_seconds
    between = whole - finish.prefill_seconds - finish.decode_seconds
    return whole / n * 1e6, between / n * 1e6


def measure(path: Path, rounds: int, n_things: int, temperature: float) -> Iterator[Row]:
    sampling = Sampling(temperature=temperature, seed=1)
    for open_engine in (open_native, open_llama):
        with closing(open_engine(path)) as engine:
            tokenizer, n_vocab = engine.tokenizer, engine.info.n_vocab
            script = spell(text(n_things), tokenizer, n_vocab)
            if len(script) >= engine.info.n_ctx:
                sys.exit(f"{len(script)} tokens do not fit into the context, take fewer things")
            silent = next(token for token in range(n_vocab) if not tokenizer.piece(token))
            yield _compare(path.stem, Dictated(engine), script, silent, rounds, sampling)


def _compare(
    model: str, engine: Dictated, script: list[int], silent: int, rounds: int, sampling: Sampling
) -> Row:
    # behind the prompt, its first token, all of the script is said
    engine.script = [script[0], *script]
    loop = Loop(engine)
    constraint = Constraint(kind="json_schema", text=json.dumps(SCHEMA))
    steps: list[float] = []
    between: dict[str, list[float]] = {"free": [], "kept": [], "refused": []}
    for turn in range(rounds + 1):
        for side in between:
            engine.tempting = silent if side == "refused" else None
            step, rest = micros(loop, sampling, script, constraint if side != "free" else None)
            if turn:  # the first one warms up
                between[side].append(rest)
                if side == "free":
                    steps.append(step)
    free = statistics.median(steps)
    kept, refused = (
        statistics.median(
            held - plain for held, plain in zip(between[side], between["free"], strict=True)
        )
        for side in ("kept", "refused")
    )
    shares = (kept / free, refused / free)
    return Row(model, engine.info.engine, len(script), free, kept, refused, *shares)


def show(row: Row) -> None:
    print(
        f"{row.model:24} {row.engine:7} {row.n_tokens:6} {row.free:10.1f} {row.kept:9.1f} "
        f"{row.refused:9.1f} {row.kept_share:7.1%} {row.refused_share:7.1%}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--things", type=int, default=20, help="length of each answer, in objects")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    arguments = parser.parse_args()
    start_as_runner("benchmarks.constraint", options())
    if not arguments.json:
        print(
            f"{'model':24} {'engine':7} {'tokens':>6} {'free us':>10} {'kept +us':>9} "
            f"{'refused':>9} {'kept':>7} {'refused':>7}"
        )
    for path in arguments.models:
        for row in measure(path, arguments.rounds, arguments.things, arguments.temperature):
            print(json.dumps(asdict(row))) if arguments.json else show(row)


if __name__ == "__main__":
    main()
