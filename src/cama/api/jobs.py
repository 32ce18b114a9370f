"""A request for text, checked against its model, and how it is answered."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Any

from cama.api.facts import Facts, read_facts
from cama.api.names import Wording, find
from cama.api.prompts import Prompt
from cama.api.services import Services
from cama.api.streaming import Answer
from cama.api.templates import template_of
from cama.core.errors import InvalidRequest, RunnerError, Unsupported
from cama.core.generation import Chunk, Finish, Generation
from cama.core.model import ModelSpec
from cama.core.settings import Settings
from cama.runner.handle import Runner
from cama.store.models import StoredModel
from cama.templates.answers.base import PlainAnswer
from cama.templates.prompt import Template
from cama.wire.options import Options
from cama.wire.replies import Metrics, Replies, Reply
from cama.wire.requests import Common

_MAX_TOP_LOGPROBS = 20

MakePrompt = Callable[[Runner], Awaitable[Prompt]]


def refuse_missing(body: Common, **fields: Any) -> None:
    """Raise Unsupported for what a request asks and this version cannot do.

    ``fields`` are the endpoint's own, by name; nothing is dropped silently.
    """
    if not 0 <= body.top_logprobs <= _MAX_TOP_LOGPROBS:
        raise InvalidRequest(f"top_logprobs must be between 0 and {_MAX_TOP_LOGPROBS}")
    for name, value in fields.items():
        if value:
            raise Unsupported(f"{name} is not supported by this version of Cama", field=name)


def refuse_adapters(model: StoredModel) -> None:
    if model.adapters:
        raise Unsupported("adapters are not supported by this version of Cama")


def model_spec(model: StoredModel, options: Options, settings: Settings) -> ModelSpec:
    """How to load ``model`` for a request with ``options``."""
    return ModelSpec(
        name=model.name,
        path=model.path,
        digest=model.digest,
        weights_bytes=model.size,
        load=options.load(settings),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """``arrived`` is when work on the request began, by ``time.perf_counter``."""

    services: Services
    body: Common
    model: StoredModel
    facts: Facts
    replies: Replies
    arrived: float

    @classmethod
    async def start(
        cls, services: Services, body: Common, replies: Replies, wording: Wording
    ) -> "Job":
        """Find the model. Raises the errors of names and files."""
        arrived = time.perf_counter()
        model = await find(services.store, body.model, wording)
        facts = await asyncio.to_thread(read_facts, model.path)
        return cls(
            services=services,
            body=body,
            model=model,
            facts=facts,
            replies=replies,
            arrived=arrived,
        )

    def require(self, verb: str) -> None:
        """Raise Unsupported when the model cannot ``verb``."""
        if self.facts.is_embedding:
            raise Unsupported(f'"{self.body.model}" does not support {verb}')
        if self.body.think:
            raise Unsupported(f'"{self.body.model}" does not support thinking')
        refuse_adapters(self.model)

    def template(self, runner: Runner) -> Template:
        return template_of(self.model, self.facts, runner.info)

    @property
    def variables(self) -> dict[str, Any]:
        """What the request says to templates that know how to think."""
        return {} if self.body.think is None else {"enable_thinking": self.body.think}

    def respond(self, prompt: MakePrompt) -> Answer:
        """Generate, and answer as the client wants it."""
        stream = self.body.stream and not self.body.debug_render_only
        return self._answer(self._generate(prompt), stream=stream)

    def load(self, verb: str) -> Answer:
        """Load the model or keep it loaded; with a keep-alive of zero, unload it."""
        if self.body.keep_alive == 0:
            return self._answer(self._unload(), stream=False)
        self.require(verb)
        return self._answer(self._load(), stream=False)

    def _answer(self, made: AsyncGenerator[Reply, None], *, stream: bool) -> Answer:
        return Answer(
            made, whole=self.replies.whole, stream=stream, stopping=self.services.stopping
        )

    async def _unload(self) -> AsyncGenerator[Reply, None]:
        await self.services.scheduler.unload(str(self.model.path))
        yield self.replies.loaded("unload")

    async def _load(self) -> AsyncGenerator[Reply, None]:
        spec = self._spec(self._options())
        async with self._lease(spec):
            yield self.replies.loaded("load")

    async def _generate(self, make_prompt: MakePrompt) -> AsyncGenerator[Reply, None]:
        options = self._options()
        async with self._lease(self._spec(options)) as runner:
            load_seconds = time.perf_counter() - self.arrived
            prompt = await make_prompt(runner)
            if self.body.debug_render_only:
                yield self.replies.rendered(prompt.text)
                return
            run = _Run(runner, prompt, self._generation(options, prompt, runner))
            parser = PlainAnswer()
            async with aclosing(run.pieces()) as chunks:
                async for chunk in chunks:
                    piece = parser.feed(chunk.text)
                    if piece or chunk.logprobs:
                        yield self.replies.chunk(piece, chunk.logprobs)
            if rest := parser.end():
                yield self.replies.chunk(rest)
            metrics = Metrics(
                finish=run.finish,
                total_seconds=time.perf_counter() - self.arrived,
                load_seconds=load_seconds,
                truncated_messages=prompt.truncated_messages,
            )
            yield self.replies.final(metrics, await run.context())

    def _lease(self, spec: ModelSpec) -> AbstractAsyncContextManager[Runner]:
        body = self.body
        return self.services.scheduler.lease(spec, body.keep_alive, body.priority)

    def _options(self) -> Options:
        return Options.merge(self.model.params, self.body.options)

    def _spec(self, options: Options) -> ModelSpec:
        return model_spec(self.model, options, self.services.settings)

    def _generation(self, options: Options, prompt: Prompt, runner: Runner) -> Generation:
        return Generation(
            prompt=prompt.text if prompt.tokens is None else prompt.tokens,
            sampling=options.sampling,
            stop=options.stop,
            num_predict=options.num_predict(runner.info.n_ctx),
            num_keep=options.num_keep,
            truncate=self.body.truncate,
            shift=self.body.shift,
            add_special=prompt.add_special,
            constraint=self.body.format,
            logprobs=_logprobs(self.body),
            priority=self.body.priority,
        )


def _logprobs(body: Common) -> int:
    """``top_logprobs`` alone asks for nothing."""
    return body.top_logprobs if body.logprobs else -1


class _Run:
    """One generation: its pieces of text, then how it ended."""

    finish: Finish

    def __init__(self, runner: Runner, prompt: Prompt, generation: Generation) -> None:
        self._runner = runner
        self._prompt = prompt
        self._generation = generation
        self._texts: list[str] = []

    async def pieces(self) -> AsyncGenerator[Chunk, None]:
        async with aclosing(self._runner.generate(self._generation)) as events:
            async for event in events:
                if isinstance(event, Finish):
                    self.finish = event
                    return
                if event.text or event.logprobs:
                    self._texts.append(event.text)
                    yield event
        raise RunnerError("the model runner ended an answer without saying why")

    async def context(self) -> list[int] | None:
        """The ids with which a later request can go on from here."""
        if self._prompt.context is None:
            return None
        text = self._prompt.text + "".join(self._texts)
        return [*self._prompt.context, *await self._runner.tokenize(text)]
