"""A starter and runners that do what a test says, and a clock that a test moves."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from cama.core.embedding import Embedded, Embedding, Ranked, Ranking
from cama.core.generation import Event, Generation
from cama.core.load import LoadOptions
from cama.core.model import ModelSpec
from cama.runner.protocol import RunnerInfo


def spec(name: str, **load: Any) -> ModelSpec:
    return ModelSpec(
        name=name,
        path=Path(f"/models/{name}.gguf"),
        digest=name,
        weights_bytes=100,
        load=LoadOptions(**load),
    )


def info(*, n_ctx: int = 4096, n_ctx_train: int = 32768, engine: str = "fake") -> RunnerInfo:
    return RunnerInfo(
        engine=engine,
        reason="a test asked for it",
        architecture="fake",
        n_ctx=n_ctx,
        n_ctx_train=n_ctx_train,
        n_cells=2 * n_ctx,
        n_vocab=260,
        bos_text="",
        eos_text="",
        load_seconds=0.0,
        rss_bytes=0,
    )


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeRunner:
    """``closable`` cleared makes :meth:`close` wait until it is set."""

    def __init__(self, model: ModelSpec, pid: int) -> None:
        self.spec = model
        self.info = info(n_ctx=model.load.context_for(32768))
        self.pid = pid
        self.alive = True
        self.closed = False
        self.closable = asyncio.Event()
        self.closable.set()

    async def generate(self, generation: Generation) -> AsyncGenerator[Event, None]:
        raise NotImplementedError
        yield

    async def embed(self, embedding: Embedding) -> Embedded:
        raise NotImplementedError

    async def rank(self, ranking: Ranking) -> Ranked:
        raise NotImplementedError

    async def tokenize(
        self,
        text: str,
        *,
        add_special: bool = False,
        parse_special: bool = True,
        images: Sequence[str] = (),
    ) -> list[int]:
        raise NotImplementedError

    async def detokenize(self, tokens: Sequence[int]) -> str:
        raise NotImplementedError

    async def pieces(self, tokens: Sequence[int]) -> list[bytes]:
        raise NotImplementedError

    async def close(self) -> None:
        self.alive = False
        await self.closable.wait()
        self.closed = True


class FakeStarter:
    """Starts FakeRunners. ``ready`` cleared holds loads up; ``error`` makes them fail."""

    def __init__(self) -> None:
        self.started: list[FakeRunner] = []
        self.attempts: list[str] = []
        self.cancelled: list[str] = []
        self.error: Exception | None = None
        self.ready = asyncio.Event()
        self.ready.set()

    async def __call__(
        self, spec: ModelSpec, *, load_timeout: float, debug: bool = False
    ) -> FakeRunner:
        self.attempts.append(spec.name)
        try:
            await self.ready.wait()
        except asyncio.CancelledError:
            self.cancelled.append(spec.name)
            raise
        if self.error is not None:
            raise self.error
        runner = FakeRunner(spec, len(self.started) + 1)
        self.started.append(runner)
        return runner

    @property
    def running(self) -> list[str]:
        return [runner.spec.name for runner in self.started if not runner.closed]


async def settle() -> None:
    """Let every task run until all of them wait for something."""
    for _ in range(20):
        await asyncio.sleep(0)
