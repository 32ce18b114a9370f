"""The parent's side of a runner: start it, talk to it, end it."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Any, Protocol

from cama.core.embedding import Embedded, Embedding, Ranked, Ranking
from cama.core.errors import LoadFailed, RunnerCrashed, from_dict
from cama.core.generation import Event, Finish, Generation
from cama.core.load import PrefixFolder
from cama.core.model import ModelSpec
from cama.runner.http import Disconnected, Endpoint
from cama.runner.process import ChildProcess
from cama.runner.protocol import (
    Health,
    RunnerConfig,
    RunnerInfo,
    event_from_json,
    generation_to_json,
)

EXIT_SECONDS = 0.8
"""How long after a broken connection the end of the process is awaited, to say why."""

_POLL_SECONDS = (0.01, 0.1)
_CRASHED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an "
    "internal error, check server logs for details"
)


class Runner(Protocol):
    """A loaded model in a process of its own."""

    @property
    def info(self) -> RunnerInfo: ...

    @property
    def pid(self) -> int: ...

    @property
    def alive(self) -> bool:
        """Whether the process still runs; False after :meth:`close` and after a crash."""

    def generate(self, generation: Generation) -> AsyncGenerator[Event, None]:
        """Stream an answer, a Finish last. Closing the iterator cancels the generation.

        Raises RunnerCrashed when the process ends meanwhile, or what the engine reports.
        """

    async def embed(self, embedding: Embedding) -> Embedded:
        """Turn texts into vectors; cancelling it cancels the work."""

    async def rank(self, ranking: Ranking) -> Ranked:
        """Score documents; cancelling it cancels the work."""

    async def tokenize(
        self,
        text: str,
        *,
        add_special: bool = False,
        parse_special: bool = True,
        images: Sequence[str] = (),
    ) -> list[int]:
        """The tokens of ``text``; those of ``images`` that it has marks of are below zero."""

    async def detokenize(self, tokens: Sequence[int]) -> str: ...

    async def pieces(self, tokens: Sequence[int]) -> list[bytes]:
        """What each token adds to a text: perhaps part of a character."""

    async def close(self) -> None:
        """End the process and reap it; bounded in time. A second call does no harm."""


class ChildRunner:
    """The Runner that :func:`start_runner` gives."""

    def __init__(self, child: ChildProcess, endpoint: Endpoint, info: RunnerInfo) -> None:
        self.info = info
        self._child = child
        self._endpoint = endpoint
        self._closed = False

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.alive and not self._closed

    async def generate(self, generation: Generation) -> AsyncGenerator[Event, None]:
        body = generation_to_json(generation)
        try:
            async with self._endpoint.stream("POST", "/generate", body) as answer:
                while lines := await answer.lines():
                    for event in map(_event, lines):
                        yield event
                        if isinstance(event, Finish):
                            return
        except Disconnected:
            raise await self._crashed() from None
        raise await self._crashed()

    async def embed(self, embedding: Embedding) -> Embedded:
        return Embedded.from_json(await self._call("/embed", asdict(embedding)))

    async def rank(self, ranking: Ranking) -> Ranked:
        answer = await self._call("/rank", asdict(ranking))
        return Ranked(scores=tuple(answer["scores"]), prompt_tokens=answer["prompt_tokens"])

    async def tokenize(
        self,
        text: str,
        *,
        add_special: bool = False,
        parse_special: bool = True,
        images: Sequence[str] = (),
    ) -> list[int]:
        body: dict[str, Any] = {
            "text": text, "add_special": add_special, "parse_special": parse_special,
            "images": list(images),
        }  # fmt: skip
        return list((await self._call("/tokenize", body))["tokens"])

    async def detokenize(self, tokens: Sequence[int]) -> str:
        return str((await self._call("/detokenize", {"tokens": list(tokens)}))["text"])

    async def pieces(self, tokens: Sequence[int]) -> list[bytes]:
        answer = await self._call("/pieces", {"tokens": list(tokens)})
        return [str(piece).encode("latin-1") for piece in answer["pieces"]]

    async def close(self) -> None:
        self._closed = True
        await self._child.stop()

    async def _call(self, path: str, body: Mapping[str, Any]) -> Any:
        try:
            return await self._endpoint.call("POST", path, body)
        except Disconnected:
            raise await self._crashed() from None

    async def _crashed(self) -> RunnerCrashed:
        await self._child.wait(EXIT_SECONDS)
        return RunnerCrashed(f"{_CRASHED} ({self._child.reason})", pid=self.pid)


async def start_runner(
    spec: ModelSpec,
    *,
    load_timeout: float,
    debug: bool = False,
    prefixes: PrefixFolder | None = None,
    stall_timeout: float = 0.0,
    progress: Callable[[float], None] | None = None,
    command: list[str] | None = None,
) -> Runner:
    """Start a process, load ``spec`` in it, and return when it is ready.

    ``load_timeout`` bounds the seconds in which the load makes no progress, ``stall_timeout`` those
    in which the engine computes and makes none, and the process ends; 0 or less is no bound.
    Raises LoadFailed, or what the child reports (InvalidModelFile, UnsupportedModel ...). No
    process is left behind. ``prefixes`` is where it keeps prompts that took long to read.
    ``command`` replaces the command line of the child.
    """
    config = RunnerConfig(
        model_path=spec.path,
        load=spec.load,
        secret=secrets.token_urlsafe(32),
        debug=debug,
        prefixes=prefixes,
        stall_timeout=stall_timeout,
    )
    async with AsyncExitStack() as stack:
        child = await ChildProcess.start(config, command)
        stack.push_async_callback(child.kill)
        info, endpoint = await _Loading(child, config.secret, load_timeout, progress).wait()
        stack.pop_all()
    return ChildRunner(child, endpoint, info)


class _Loading:
    """The wait for a child to become ready."""

    def __init__(
        self,
        child: ChildProcess,
        secret: str,
        timeout: float,
        progress: Callable[[float], None] | None,
    ) -> None:
        self._child = child
        self._secret = secret
        self._timeout = timeout
        self._report = progress
        self._seen = Health(status="starting")
        self._started_at = self._moved_at = time.monotonic()

    async def wait(self) -> tuple[RunnerInfo, Endpoint]:
        try:
            endpoint = Endpoint(await self._port(), self._secret)
            while not await self._is_ready(endpoint):
                await asyncio.sleep(self._pause())
            return RunnerInfo(**await endpoint.call("GET", "/info")), endpoint
        except Disconnected:
            raise await self._died() from None
        except TimeoutError:
            raise self._stalled() from None

    async def _port(self) -> int:
        async with asyncio.timeout(self._remaining()):
            port = await self._child.port()
        if port is None:
            raise Disconnected("the runner ended before it listened")
        return port

    async def _is_ready(self, endpoint: Endpoint) -> bool:
        async with asyncio.timeout(self._remaining()):
            health = Health(**await endpoint.call("GET", "/health"))
        if health != self._seen:
            self._moved(health)
        if health.status == "failed":
            raise from_dict(health.error or {"message": "the model runner gave no reason"})
        return health.status == "ready"

    def _remaining(self) -> float | None:
        if self._timeout <= 0:
            return None
        return max(self._moved_at + self._timeout - time.monotonic(), 0)

    def _moved(self, health: Health) -> None:
        self._seen = health
        self._moved_at = time.monotonic()
        if self._report is not None:
            self._report(health.progress)

    def _pause(self) -> float:
        """Short while a small model may be ready at any moment, longer for one that takes time."""
        shortest, longest = _POLL_SECONDS
        return min(max(shortest, (time.monotonic() - self._started_at) / 10), longest)

    async def _died(self) -> LoadFailed:
        await self._child.wait(EXIT_SECONDS)
        return LoadFailed(f"model runner process has terminated: {self._child.reason}")

    def _stalled(self) -> LoadFailed:
        parts = [f"progress {self._seen.progress:.2f}"]
        if self._child.last_error is not None:
            parts.append(self._child.last_error)
        return LoadFailed(f"timed out waiting for model runner to start - {' - '.join(parts)}")


def _event(line: bytes) -> Event:
    data = json.loads(line)
    if "error" in data:
        raise from_dict(data["error"])
    return event_from_json(data)
