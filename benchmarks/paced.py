"""A runner whose passes take at least as long as ``CAMA_PACE_SECONDS`` says: run as a module.

So its tokens come at a pace that the machine does not decide, and cost it little.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cama.core.load import LoadOptions
from cama.engine.base import Engine, Logits, Plan
from cama.engine.loop import Loop
from cama.engine.select import open_engine
from cama.runner.engine_thread import GenerationLoop
from cama.runner.protocol import RunnerConfig
from cama.runner.worker import main

PACE = "CAMA_PACE_SECONDS"


class Paced:
    def __init__(self, engine: Engine, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def forward(self, plan: Plan) -> Logits:
        end = time.perf_counter() + self._seconds
        logits = self._engine.forward(plan)
        time.sleep(max(0.0, end - time.perf_counter()))
        return logits


def _open(path: Path, load: LoadOptions, progress: Callable[[float], None]) -> Any:
    return Paced(open_engine(path, load, progress), float(os.environ[PACE]))


def _loop(engine: Engine, config: RunnerConfig, draft: Engine | None) -> GenerationLoop:
    return Loop(engine, config.load.n_parallel, None, draft)


if __name__ == "__main__":
    main(open_engine=_open, make_loop=_loop)
