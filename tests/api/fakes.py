"""A scheduler and a runner without processes."""

import asyncio
from array import array
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from cama.core.embedding import Embedded, Embedding, Ranked, Ranking
from cama.core.errors import CamaError
from cama.core.generation import Chunk, Event, Finish, FinishReason, Generation
from cama.core.model import ModelSpec
from cama.core.priority import Priority
from cama.runner.protocol import RunnerInfo

BOS = "<s>"
EOS = "</s>"
BOS_ID = 1


def runner_info(*, n_ctx: int = 4096, bos_text: str = BOS) -> RunnerInfo:
    return RunnerInfo(
        engine="fake",
        reason="a test asked for it",
        architecture="llama",
        n_ctx=n_ctx,
        n_ctx_train=4096,
        n_cells=8192,
        n_vocab=300,
        bos_text=bos_text,
        eos_text=EOS,
        load_seconds=0.5,
        rss_bytes=123456,
    )


def finish(reason: FinishReason = "stop", **counts: int) -> Finish:
    fields: dict[str, Any] = {
        "prompt_tokens": 7,
        "cached_tokens": 0,
        "truncated_tokens": 0,
        "shifted_tokens": 0,
        "eval_tokens": 2,
    }
    return Finish(reason=reason, prompt_seconds=0.25, eval_seconds=0.5, **fields | counts)


class FakeRunner:
    """Says ``script``; an error in it is raised. A token is a byte plus 2, and BOS is 1.

    ``going`` cleared holds the answer up before each event.
    """

    def __init__(self, info: RunnerInfo, script: Sequence[Event | CamaError]) -> None:
        self.info = info
        self.script = list(script)
        self.pid = 1
        self.alive = True
        self.generations: list[Generation] = []
        self.embeddings: list[Embedding] = []
        self.n_ended = 0
        self.n_tokenized = 0
        self.going = asyncio.Event()
        self.going.set()

    async def generate(self, generation: Generation) -> AsyncGenerator[Event, None]:
        self.generations.append(generation)
        try:
            for event in self.script:
                await self.going.wait()
                await asyncio.sleep(0)  # as a real one, it lets others run
                if isinstance(event, CamaError):
                    raise event
                yield event
        finally:
            self.n_ended += 1

    async def embed(self, embedding: Embedding) -> Embedded:
        """A text's vector is its length and the half of that."""
        self.embeddings.append(embedding)
        try:
            await self.going.wait()
        finally:
            self.n_ended += 1
        vectors = [array("f", [len(text), len(text) / 2]) for text in embedding.texts]
        return Embedded(vectors=vectors, prompt_tokens=sum(map(len, embedding.texts)))

    async def rank(self, ranking: Ranking) -> Ranked:
        """Long documents score high."""
        scores = tuple(len(document) / 2 for document in ranking.documents)
        return Ranked(scores=scores, prompt_tokens=len(scores))

    async def tokenize(
        self,
        text: str,
        *,
        add_special: bool = False,
        parse_special: bool = True,
        images: Sequence[str] = (),
    ) -> list[int]:
        self.n_tokenized += 1
        head = [BOS_ID] if add_special and self.info.bos_text else []
        if self.info.bos_text and text.startswith(self.info.bos_text):
            head, text = [BOS_ID], text.removeprefix(self.info.bos_text)
        return head + [byte + 2 for byte in text.encode()]

    async def detokenize(self, tokens: Sequence[int]) -> str:
        return bytes((token - 2) % 256 for token in tokens if token != BOS_ID).decode(
            errors="replace"
        )

    async def pieces(self, tokens: Sequence[int]) -> list[bytes]:
        return [BOS.encode() if token == BOS_ID else bytes([token - 2]) for token in tokens]

    async def close(self) -> None:
        self.alive = False


@dataclass
class FakeLoaded:
    spec: ModelSpec
    info: RunnerInfo | None
    expires_in: float


@dataclass
class FakeScheduler:
    """Lends ``runner``; ``error`` is what a lease raises. ``ready`` cleared holds loads up."""

    runner: FakeRunner
    error: CamaError | None = None
    rows: list[FakeLoaded] = field(default_factory=list)
    leases: list[tuple[ModelSpec, float | None]] = field(default_factory=list)
    priorities: list[Priority] = field(default_factory=list)
    unloaded: list[str] = field(default_factory=list)
    n_active: int = 0
    closed: bool = False
    idle: bool = True

    @asynccontextmanager
    async def lease(
        self,
        spec: ModelSpec,
        keep_alive: float | None = None,
        priority: Priority = "interactive",
    ) -> AsyncIterator[FakeRunner]:
        self.leases.append((spec, keep_alive))
        self.priorities.append(priority)
        if self.error is not None:
            raise self.error
        self.n_active += 1
        try:
            yield self.runner
        finally:
            self.n_active -= 1

    async def unload(self, key: str) -> None:
        self.unloaded.append(key)

    def loaded(self) -> list[FakeLoaded]:
        return self.rows

    async def close(self) -> None:
        self.closed = True


def hello() -> list[Event | CamaError]:
    return [Chunk(text="Hel", n_tokens=1), Chunk(text="lo", n_tokens=1), finish()]
