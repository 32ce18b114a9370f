"""A storm of cancellations through a runner process: nothing is held, and nobody waits for ever."""

import asyncio
import json
import random
import sys
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from cama.core.generation import Constraint, Finish, Generation, Sampling
from cama.core.load import EngineChoice, LoadOptions
from cama.core.model import ModelSpec
from cama.runner.handle import Runner, start_runner

pytestmark = [pytest.mark.e2e, pytest.mark.native]

CHILD = [sys.executable, str(Path(__file__).with_name("reporting_child.py"))]
N_REQUESTS = 500
TRUNK = "The camels of the caravan drink at the well, and then "


def request(i: int, chance: random.Random) -> Generation:
    """Prompts that share beginnings; some answers have a form."""
    tail = "".join(chance.choices("abcdefgh ", k=chance.randint(1, 30)))
    digits = Constraint(kind="regex", text="[0-9]{1,9}")
    return Generation(
        prompt=TRUNK * chance.choice([0, 1, 2]) + tail,
        num_predict=chance.randint(1, 16),
        sampling=Sampling(temperature=chance.choice([0.0, 1.0]), seed=i),
        constraint=chance.choice([None, None, None, digits]),
        speculate=chance.choice([None, True]),
        priority=chance.choice(["interactive", "batch"]),
    )


async def finish_of(runner: Runner, generation: Generation) -> Finish:
    async with aclosing(runner.generate(generation)) as events:
        async for event in events:
            if isinstance(event, Finish):
                return event
    raise AssertionError("an answer without an end")


@pytest.mark.parametrize("engine", ["native", "llama"])
async def test_storm_of_cancellations_leaves_nothing_behind(
    tiny_model: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: EngineChoice,
) -> None:
    report, path, chance = tmp_path / "report", tiny_model("llama"), random.Random(3)
    monkeypatch.setenv("REPORT", str(report))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    load = LoadOptions(n_ctx=256, n_cells=512, n_batch=64, n_threads=1, engine=engine)
    spec = ModelSpec(name="storm", path=path, digest="0", weights_bytes=1, load=load)
    runner = await start_runner(spec, load_timeout=60, command=CHILD)
    try:
        tasks: list[asyncio.Task[Finish]] = []
        cancelled = set()
        for i in range(N_REQUESTS):
            task = asyncio.create_task(finish_of(runner, request(i, chance)))
            tasks.append(task)
            if chance.random() < 0.5:
                cancelled.add(task)
                asyncio.get_running_loop().call_later(chance.random() * 0.3, task.cancel)
            await asyncio.sleep(chance.choice([0, 0, 0.004]))
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        last = await finish_of(runner, Generation(prompt=TRUNK, num_predict=3))
    finally:
        await runner.close()
    n_cut = 0
    for task, end in zip(tasks, ends, strict=True):
        if not isinstance(end, Finish):
            assert task in cancelled
            assert isinstance(end, asyncio.CancelledError)
            n_cut += 1
    assert n_cut > N_REQUESTS // 10
    assert last.eval_tokens == 3
    left = json.loads(report.read_text("utf-8"))
    assert left == {"requests": 0, "used_cells": 0, "used_sequences": 0}
