"""What the server costs beside the engine: time to the first token, and processor time per token.

    python -m benchmarks.server [--streams 16] [--rate 200] [--seconds 8] [--requests 60] [--json]

A real server and a real runner with the bundled model, whose passes are slowed down (``paced.py``)
until all streams together get ``--rate`` tokens a second. Then for each dialect

``overhead``  milliseconds from sending a request to its first token, less the engine's own time
              (waiting, reading the prompt), which the answer tells: the median over requests, the
              least, and beside it a request that asks for next to nothing
``cpu``       processor time of the server process while the streams run, as a share of one core,
              and in microseconds per token

Another process sends the requests. The share counts what the server does and nothing else, so it
holds also where others are busy; milliseconds do not.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.paced import PACE

MODEL = "guide"
QUESTION = "How do I import a GGUF file?"
TURNS = {"messages": [{"role": "user", "content": QUESTION}]}
DIALECTS: Mapping[str, Mapping[str, Any]] = {
    "/api/generate": {"prompt": QUESTION},
    "/api/chat": TURNS,
    "/v1/chat/completions": TURNS,
    "/v1/messages": TURNS | {"max_tokens": 100_000},
}
ENDLESS = {"num_predict": 100_000, "temperature": 0, "seed": 1}
RUNNER = [sys.executable, "-m", "benchmarks.paced"]


@dataclass(frozen=True)
class Row:
    path: str
    tokens_per_second: float
    cpu_share: float
    cpu_microseconds: float


@dataclass(frozen=True)
class FirstToken:
    """Milliseconds, medians: to the first token, the engine's part of it, and the rest, of which
    the least is told too; ``nothing`` is a request that asks for next to nothing."""

    total: float
    engine: float
    overhead: float
    least: float
    nothing: float


def serve() -> None:
    """The server's process: as ``cama serve``, with slow runners."""
    from cama.api import server
    from cama.core.settings import Settings
    from cama.runner.handle import start_runner

    vars(server)["start_runner"] = partial(start_runner, command=RUNNER)
    server.serve(Settings.load())


@contextmanager
def serving(pace: float, n_streams: int) -> Iterator[tuple[str, psutil.Process]]:
    """The address and the process of a server whose passes take ``pace`` seconds."""
    with tempfile.TemporaryDirectory() as home:
        port = free_port()
        own = {
            "HOME": home, "CAMA_HOST": f"127.0.0.1:{port}", "CAMA_NUM_PARALLEL": str(n_streams),
            "CAMA_PREFIX_CACHE": "0", PACE: str(pace),
        }  # fmt: skip
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CAMA_", "OLLAMA_"))}
        log = Path(home, "log")
        with log.open("wb") as errors:
            child = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.server", "--serve"],
                env=kept | own,
                stderr=errors,
            )
        try:
            url = f"http://127.0.0.1:{port}"
            wait(url, child, log, MODEL)
            yield url, psutil.Process(child.pid)
        finally:
            child.terminate()
            child.wait(30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait(url: str, child: "subprocess.Popen[bytes]", log: Path, model: str) -> None:
    body = {"model": model, "keep_alive": -1}
    for _ in range(600):
        if child.poll() is not None:
            sys.exit(log.read_text()[-2000:])
        try:
            httpx.post(f"{url}/api/generate", json=body, trust_env=False, timeout=60)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    sys.exit("the server does not answer")


def first_tokens(url: str, n_requests: int) -> FirstToken:
    """One request after the other, by a client that takes little time itself."""
    options = {"num_predict": 2, "temperature": 0}
    body = json.dumps({"model": MODEL, "prompt": QUESTION, "options": options})
    totals, engines, nothings = [], [], []
    with closing(HTTPConnection(url.removeprefix("http://"))) as client:
        for _ in range(n_requests):
            since = time.perf_counter()
            client.request("GET", "/api/version")
            client.getresponse().read()
            nothings.append(time.perf_counter() - since)
            since = time.perf_counter()
            client.request("POST", "/api/generate", body)
            response = client.getresponse()
            response.readline()
            totals.append(time.perf_counter() - since)
            facts = json.loads(response.read().splitlines()[-1])
            nanoseconds = facts["prompt_eval_duration"] + facts["cama"].get("queue_duration", 0)
            engines.append(nanoseconds / 1e9)
    rests = [total - own for total, own in zip(totals, engines, strict=True)]
    medians = map(statistics.median, (totals, engines, rests))
    return FirstToken(*(1e3 * x for x in (*medians, min(rests), statistics.median(nothings))))


async def streams(url: str, server: psutil.Process, path: str, n: int, seconds: float) -> Row:
    """All streams at the same time; measured when each has begun."""
    body = {"model": MODEL, "stream": True, "options": ENDLESS, **DIALECTS[path]}
    counts = [0] * n
    begun = asyncio.Event()

    async def read(client: httpx.AsyncClient, i: int) -> None:
        async with client.stream("POST", f"{url}{path}", json=body) as response:
            async for line in response.aiter_lines():
                counts[i] += line.startswith(("{", "data: {"))
                if all(counts):
                    begun.set()

    limits = httpx.Limits(max_connections=n)
    async with httpx.AsyncClient(trust_env=False, timeout=60, limits=limits) as client:
        tasks = [asyncio.create_task(_again(read, client, i)) for i in range(n)]
        await begun.wait()
        used, n_before, since = _cpu(server), sum(counts), time.perf_counter()
        await asyncio.sleep(seconds)
        used, n_tokens = _cpu(server) - used, sum(counts) - n_before
        passed = time.perf_counter() - since
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return Row(path, n_tokens / passed, used / passed, 1e6 * used / n_tokens)


async def _again(read: Any, client: httpx.AsyncClient, i: int) -> None:
    """An answer that ends is followed by another."""
    while True:
        await read(client, i)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve()
        return
    with serving(0.0, 1) as (url, _):
        first = first_tokens(url, given.requests)
    with serving(given.streams / given.rate, given.streams) as (url, server):
        rows = [
            asyncio.run(streams(url, server, path, given.streams, given.seconds))
            for path in DIALECTS
        ]
    report(first, rows, as_json=given.json)


def report(first: FirstToken, rows: list[Row], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"first_token": asdict(first), "streams": [asdict(row) for row in rows]}))
        return
    print(f"first token: {first.total:.1f} ms, the engine's {first.engine:.1f},", end=" ")
    print(f"overhead {first.overhead:.1f} (at least {first.least:.1f});", end=" ")
    print(f"a request for next to nothing: {first.nothing:.1f}")
    print(f"{'':24}{'tok/s':>8}{'cpu':>8}{'us/tok':>8}")
    for row in rows:
        print(f"{row.path:24}{row.tokens_per_second:8.0f}", end="")
        print(f"{row.cpu_share:8.1%}{row.cpu_microseconds:8.0f}")


if __name__ == "__main__":
    main()
