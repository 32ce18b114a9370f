"""A runner process with the real worker and loop, and an engine that fails where it is told to.

What goes wrong while loading stands in the model file (``fake.load``), what goes wrong while
generating in the prompt.
"""

import ctypes
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cama.core.errors import EngineError, InvalidModelFile, UnsupportedModel
from cama.core.load import LoadOptions
from cama.engine.base import Engine, Plan
from cama.engine.loop import Loop
from cama.gguf import GGUFFile
from cama.runner.protocol import RunnerConfig
from cama.runner.worker import main
from tests.engine.fake import FakeEngine, after


def open_engine(path: Path, load: LoadOptions, progress: Callable[[float], None]) -> Engine:
    with GGUFFile.open(path) as file:
        script = str(file.get("fake.load", ""))
    match script:
        case "invalid":
            raise InvalidModelFile("the file is damaged", path=path, field="header.magic")
        case "unsupported":
            raise UnsupportedModel("no engine runs this")
        case "bug":
            raise KeyError("blk.0.attn_q")
        case "assert":
            _assert()
        case "exit":
            os._exit(7)
        case "hang":
            progress(0.42)
            time.sleep(3600)
        case "steps":
            for percent in range(0, 100, 10):
                progress(percent / 100)
                time.sleep(0.03)
    return FakeEngine(
        n_ctx=load.context_for(1 << 20),
        n_cells=load.cells_for(1 << 20),
        n_seq_max=load.n_parallel,
        favourite=after("hello", b" world"),
        on_forward=_misbehave,
    )


def _misbehave(plan: Plan) -> None:
    text = b"".join(bytes(t for t in span.tokens if t < 256) for span in plan.spans)
    if b"!assert" in text:
        _assert()
    if b"!bug" in text:
        raise RuntimeError("a bug in the engine")
    if b"!error" in text:
        raise EngineError("the engine is out of sorts")
    if b"!hold" in text:
        ctypes.PyDLL(None).sleep(3600)  # keeps the interpreter to itself
    if b"!hang" in text:
        time.sleep(3600)
    time.sleep(0.001)


def _assert() -> None:
    print("ggml.c:1: GGML_ASSERT(rows > 0) failed", file=sys.stderr, flush=True)  # noqa: T201
    os.abort()


def make_loop(engine: Engine, config: RunnerConfig, draft: Engine | None) -> Loop:
    return Loop(engine, config.load.n_parallel, draft=draft)


if __name__ == "__main__":
    main(open_engine=open_engine, make_loop=make_loop)
