"""The one thread that owns the engine: it loads the model and runs the generation loop."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cama.core.errors import CamaError, RunnerError, from_dict
from cama.core.generation import Event, Generation
from cama.core.priority import Priority
from cama.engine.base import Engine, Placed, Vectors
from cama.runner.drafting import OpenEngine, open_draft, require_drafted
from cama.runner.facts import describe
from cama.runner.protocol import Health, RunnerConfig, RunnerInfo

log = logging.getLogger("cama.runner")


class GenerationLoop(Protocol):
    """What a runner needs of ``cama.engine.loop.Loop``."""

    def submit(
        self,
        request_id: str,
        tokens: Sequence[int],
        generation: Generation,
        sink: Callable[[Event | CamaError], None],
        images: Sequence[Placed] = (),
    ) -> None: ...

    def submit_embedding(
        self,
        request_id: str,
        texts: Sequence[Sequence[int]],
        sink: Callable[[Vectors | CamaError], None],
        priority: Priority = "interactive",
    ) -> None: ...

    def cancel(self, request_id: str) -> None: ...

    def pulse(self) -> int | None: ...

    def run(self) -> None: ...

    def stop(self) -> None: ...


MakeLoop = Callable[[Engine, RunnerConfig, Engine | None], GenerationLoop]
"""From an engine, and the draft model's where there is one."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A loaded model."""

    engine: Engine
    loop: GenerationLoop
    info: RunnerInfo
    draft: Engine | None = None

    def close(self) -> None:
        self.engine.close()
        if self.draft is not None:
            self.draft.close()


class EngineThread(threading.Thread):
    """Loads, then computes, until :meth:`stop`. A bug ends the process: see ``worker``."""

    def __init__(
        self,
        config: RunnerConfig,
        open_engine: OpenEngine,
        make_loop: MakeLoop,
        on_failure: Callable[[], None],
    ) -> None:
        super().__init__(name="engine", daemon=True)
        self._config = config
        self._open_engine = open_engine
        self._make_loop = make_loop
        self._on_failure = on_failure
        self._ready: Ready | None = None
        self._stopping = False
        self.health = Health(status="starting")

    @property
    def ready(self) -> Ready:
        """The loaded model. Raises why there is none."""
        if self._ready is not None:
            return self._ready
        if self.health.error is not None:
            raise from_dict(self.health.error)
        raise RunnerError("the model is not loaded yet")

    def pulse(self) -> int | None:
        """Counts what the engine does; None while it has nothing to do, or loads."""
        return None if self._ready is None else self._ready.loop.pulse()

    def stop(self) -> None:
        """End the thread; a load that runs is not interrupted."""
        self._stopping = True
        if self._ready is not None:
            self._ready.loop.stop()

    def run(self) -> None:
        try:
            ready = self._load()
        except CamaError as error:
            log.error("cannot load %s: %s", self._config.model_path, error.message)
            self.health = Health(
                status="failed", progress=self.health.progress, error=error.to_dict()
            )
            self._on_failure()
            return
        try:
            self._publish(ready)
        finally:
            ready.close()

    def _load(self) -> Ready:
        started = time.monotonic()
        self._progress(0.0)
        path, load = self._config.model_path, self._config.load
        # First, for it is small, and all that may be wrong with it is known before the model loads.
        draft = open_draft(path, load, self._open_engine)
        engine = self._open_engine(path, load, self._progress)
        require_drafted(engine, draft)
        info = describe(path, engine, time.monotonic() - started)
        return Ready(engine, self._make_loop(engine, self._config, draft), info, draft)

    def _publish(self, ready: Ready) -> None:
        self._ready = ready
        # Looked at after publishing: a stop before it set the flag, a later one stops the loop.
        if self._stopping:
            return
        self.health = Health(status="ready", progress=1.0)
        ready.loop.run()

    def _progress(self, fraction: float) -> None:
        self.health = Health(status="loading", progress=fraction)
