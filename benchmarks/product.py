"""A long prompt through the whole product, with Cama's kernels and without, in one run.

    python -m benchmarks.product MODEL.gguf [--tokens 2048] [--rounds 3]

Two servers have the same model; one of them runs with ``CAMA_KERNELS=off``. They take turns in
reading a prompt over ``/api/generate``, another one each time so that nothing of it is in a cache.
``ratio`` is how many times faster the kernels make the whole request, beside the part of it that
the engine counts as reading the prompt.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.server import free_port, wait

MODEL = "measured"
SIDES = {"kernels": "auto", "off": "off"}


@contextmanager
def serving(path: Path, kernels: str, n_ctx: int) -> Iterator[httpx.Client]:
    """A client of a server that has the model and has loaded it."""
    with tempfile.TemporaryDirectory(prefix="cama-benchmark-") as home:
        Path(home, f"{MODEL}.gguf").symlink_to(path.resolve())
        port = free_port()
        own = {
            "HOME": home, "CAMA_HOST": f"127.0.0.1:{port}", "CAMA_MODEL_PATH": home,
            "CAMA_PREFIX_CACHE": "0", "CAMA_KERNELS": kernels, "CAMA_CONTEXT_LENGTH": str(n_ctx),
        }  # fmt: skip
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CAMA_", "OLLAMA_"))}
        log = Path(home, "log")
        with log.open("wb") as errors:
            command = [sys.executable, "-m", "cama", "serve"]
            child = subprocess.Popen(command, env=kept | own, stderr=errors)
        try:
            url = f"http://127.0.0.1:{port}"
            wait(url, child, log, MODEL)
            with httpx.Client(base_url=url, trust_env=False, timeout=600) as client:
                yield client
        finally:
            child.terminate()
            child.wait(30)


def generate(client: httpx.Client, prompt: str) -> tuple[float, dict[str, Any]]:
    """Seconds that the request took, and what the answer says of it."""
    options = {"num_predict": 1, "temperature": 0}
    body = {
        "model": MODEL, "prompt": prompt, "raw": True, "stream": False, "options": options,
        "keep_alive": -1,
    }  # fmt: skip
    started = time.perf_counter()
    response = client.post("/api/generate", json=body)
    seconds = time.perf_counter() - started
    response.raise_for_status()
    facts: dict[str, Any] = response.json()
    return seconds, facts


def prompt_of(client: httpx.Client, n_tokens: int, turn: int) -> str:
    """A text of about so many tokens that begins differently each turn."""
    words = [f"{(i * 7919 + turn) % 997}" for i in range(n_tokens)]
    text = f"{turn}: " + " ".join(words)
    count = client.post("/api/tokenize", json={"model": MODEL, "content": text})
    count.raise_for_status()
    return text[: len(text) * n_tokens // len(count.json()["tokens"])]


def measure(path: Path, n_tokens: int, rounds: int) -> dict[str, Any]:
    whole: dict[str, list[float]] = {name: [] for name in SIDES}
    engine: dict[str, list[float]] = {name: [] for name in SIDES}
    n_read = 0
    with ExitStack() as stack:
        clients = {
            name: stack.enter_context(serving(path, kernels, n_tokens + 512))
            for name, kernels in SIDES.items()
        }
        for turn in range(rounds + 1):
            prompt = prompt_of(clients["kernels"], n_tokens, turn)
            for name in SIDES if turn % 2 else reversed(SIDES):
                seconds, facts = generate(clients[name], prompt)
                if turn:  # the first one touches the pages of the map
                    whole[name].append(seconds)
                    engine[name].append(facts["prompt_eval_duration"] / 1e9)
                    n_read = facts["prompt_eval_count"]
    ratio, part = (
        statistics.median(off / on for on, off in zip(s["kernels"], s["off"], strict=True))
        for s in (whole, engine)
    )
    seconds_of = {name: round(statistics.median(times), 3) for name, times in whole.items()}
    return {
        "model": path.stem,
        "tokens": n_read,
        **{f"{name}_seconds": seconds for name, seconds in seconds_of.items()},
        "ratio": round(ratio, 3),
        "ratio_of_reading": round(part, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    for path in given.models:
        print(json.dumps(measure(path, given.tokens, given.rounds)), flush=True)


if __name__ == "__main__":
    main()
