"""A runner process with the real engines that says at its end what is left in its cache.

It writes the report, JSON, to the file that ``REPORT`` names.
"""

import json
import os
from pathlib import Path

from cama.core.errors import RunnerError
from cama.engine.base import Engine
from cama.engine.loop import Loop
from cama.runner.__main__ import _open_engine
from cama.runner.protocol import RunnerConfig
from cama.runner.worker import main


class ReportingLoop(Loop):
    def run(self) -> None:
        super().run()
        assert isinstance(self._closed, RunnerError)
        n_requests = len(self._requests)
        self.check_integrity()
        while self._cache.evict():
            pass
        self.check_integrity()
        report = {
            "requests": n_requests,
            "used_cells": self._engine.info.n_cells - self._engine.free_cells,
            "used_sequences": self._engine.info.n_seq_max - len(self._cache._free),
        }
        Path(os.environ["REPORT"]).write_text(json.dumps(report), "utf-8")


def make_loop(engine: Engine, config: RunnerConfig, draft: Engine | None) -> Loop:
    return ReportingLoop(engine, config.load.n_parallel, draft=draft)


if __name__ == "__main__":
    main(open_engine=_open_engine, make_loop=make_loop)
