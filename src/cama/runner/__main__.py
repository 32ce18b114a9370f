"""``python -m cama.runner``: the process that runs one model, started by the server."""

from collections.abc import Callable
from pathlib import Path

from cama.core.load import LoadOptions
from cama.engine.base import Engine
from cama.runner.engine_thread import GenerationLoop
from cama.runner.protocol import RunnerConfig
from cama.runner.worker import main


def _open_engine(path: Path, load: LoadOptions, progress: Callable[[float], None]) -> Engine:
    from cama.engine.select import open_engine

    return open_engine(path, load, progress)


def _make_loop(engine: Engine, config: RunnerConfig, draft: Engine | None) -> GenerationLoop:
    from cama.engine.loop import Loop
    from cama.engine.prefix_store import PrefixStore, identity

    store = None
    if config.prefixes is not None:
        name = identity(config.model_path, engine.info, config.load)
        store = PrefixStore(config.prefixes, name)
    return Loop(engine, config.load.n_parallel, store, draft)


if __name__ == "__main__":
    main(open_engine=_open_engine, make_loop=_make_loop)
