"""A request for text, checked against its model, and how it is answered."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from cama.api.adapters import adapters_of
from cama.api.answering import Answering
from cama.api.images import check_images, check_projector
from cama.api.merging import merged
from cama.api.names import Wording, find_known
from cama.api.prompts import Prompt, count_tokens
from cama.api.services import Services
from cama.api.specs import model_spec
from cama.api.streaming import Answer
from cama.api.templates import Choice, choose, inserting_template, template_of
from cama.core.errors import InvalidRequest, RunnerError, Unsupported
from cama.core.generation import Adapters, Chunk, Finish, Generation, Logprob, choices
from cama.core.model import ModelSpec
from cama.runner.handle import Runner
from cama.store.facts import Facts, read_facts
from cama.store.models import StoredModel
from cama.templates.answers.formats import AnswerFormat
from cama.templates.prompt import Template
from cama.wire.answers import Dialect, Echo, End, Event, Loaded, Metrics, Part, Rendered
from cama.wire.framing import Reply
from cama.wire.options import Options, longest_answer
from cama.wire.requests import Common, GenerateRequest, Message

_MAX_TOP_LOGPROBS = 20

_MAX_EQUAL = 30
"""Pieces in a row that equal the one before, less the space around them; Ollama's figure."""

MakePrompt = Callable[[Runner], Awaitable[Prompt]]
MakePrompts = Callable[[Runner], Awaitable[Sequence[Prompt]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """``arrived`` is when work on the request began, by ``time.perf_counter``."""

    services: Services
    body: Common
    model: StoredModel
    adapters: Adapters
    facts: Facts
    choice: Choice
    dialect: Dialect
    answering: Answering
    arrived: float

    @classmethod
    async def start(
        cls, services: Services, body: Common, dialect: Dialect, wording: Wording
    ) -> "Job":
        """Find the model. Raises the errors of names and files."""
        arrived = time.perf_counter()
        store = services.store
        know = partial(_known_of, go_first=services.settings.go_template)
        model, (facts, choice, answers) = await find_known(store, body.model, wording, know)
        adapters = await adapters_of(store, body, model)
        return cls(
            services=services,
            body=body,
            model=model,
            adapters=adapters,
            facts=facts,
            choice=choice,
            dialect=dialect,
            answering=Answering.of(body, answers, has_parser=choice.has_parser),
            arrived=arrived,
        )

    def require(self, verb: str) -> None:
        """Raise Unsupported when the model cannot ``verb``, InvalidRequest for what nobody can."""
        if not 0 <= self.body.top_logprobs <= _MAX_TOP_LOGPROBS:
            raise InvalidRequest(f"top_logprobs must be between 0 and {_MAX_TOP_LOGPROBS}")
        if self.facts.pools:
            raise Unsupported(f'"{self.body.model}" does not support {verb}')
        if "image" in self.model.capabilities:
            raise Unsupported("image generation models are not currently supported")
        self.answering.check(self.body.model, self.model)

    @property
    def can_think(self) -> bool:
        return self.answering.can_think(self.model)

    def without_thoughts(self) -> "Job":
        """The same, however the request wants the model to think."""
        return replace(self, answering=replace(self.answering, think=None))

    def require_sight(self, messages: Sequence[Message]) -> None:
        """Raise Unsupported when there are images that nobody here looks at, InvalidRequest when
        there are too many."""
        check_images(self.model, self.facts, messages)
        if any(message.images for message in messages) and not self.body.debug_render_only:
            check_projector(self.model)

    def template(self, runner: Runner) -> Template:
        return template_of(self.model.name, self.choice, runner.info)

    def inserting(self, own: str) -> Callable[[str, str], str]:
        """What makes a prompt of the texts before and behind what is wanted, by the template
        ``own`` or the model's. Raises Unsupported when that has no place for them."""
        template = inserting_template(self.model.name, self.choice, own)
        return partial(template.insert, **self.variables)

    @property
    def variables(self) -> dict[str, Any]:
        """What the request says to templates that know of tools and how to think."""
        return self.answering.variables

    def respond(self, prompt: MakePrompt) -> Answer:
        """Generate, and answer as the client wants it."""

        async def prompts(runner: Runner) -> Sequence[Prompt]:
            return [await prompt(runner)]

        return self.respond_to_all(prompts)

    def respond_to_all(self, prompts: MakePrompts) -> Answer:
        """Generate the choices to each of several prompts at the same time."""
        stream = self.body.stream and not self.body.debug_render_only
        return self._answer(self._generate(prompts), stream=stream)

    def count(self, prompt: MakePrompt, reply: Callable[[int], Reply]) -> Answer:
        """Answer how many tokens a prompt has, without generating."""

        async def replies() -> AsyncGenerator[Reply, None]:
            async with self._lease(await self._spec(self._options())) as runner:
                n_tokens = await count_tokens(runner, await prompt(runner))
            yield reply(n_tokens)

        return Answer(replies(), stream=False, stopping=self.services.stopping)

    def load(self, verb: str) -> Answer:
        """Load the model or keep it loaded; with a keep-alive of zero, unload it."""
        if self.body.keep_alive == 0:
            return self._answer(self._unload(), stream=False)
        self.require(verb)
        return self._answer(self._load(), stream=False)

    def _answer(self, events: AsyncGenerator[Event, None], *, stream: bool) -> Answer:
        replies = self._written(events) if stream else self._folded(events)
        framing, stopping = self.dialect.framing, self.services.stopping
        return Answer(replies, stream=stream, stopping=stopping, framing=framing)

    async def _written(self, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Reply, None]:
        async with aclosing(events):
            async for event in events:
                for reply in self.dialect.write(event):
                    yield reply

    async def _folded(self, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Reply, None]:
        async with aclosing(events):
            yield self.dialect.whole([event async for event in events])

    async def _unload(self) -> AsyncGenerator[Event, None]:
        await self.services.scheduler.unload(str(self.model.path))
        yield Loaded("unload")

    async def _load(self) -> AsyncGenerator[Event, None]:
        spec = await self._spec(self._options())
        async with self._lease(spec):
            yield Loaded("load")

    async def _generate(self, make_prompts: MakePrompts) -> AsyncGenerator[Event, None]:
        options = self._options()
        async with self._lease(await self._spec(options)) as runner:
            load_seconds = time.perf_counter() - self.arrived
            prompts = await make_prompts(runner)
            if self.body.debug_render_only:
                n_images = sum(len(prompt.images) for prompt in prompts)
                yield Rendered("".join(prompt.text for prompt in prompts), n_images)
                return
            found = [
                self._choose(_Run(runner, prompt, generation), load_seconds, number)
                for number, (prompt, generation) in enumerate(
                    self._generations(options, prompts, runner)
                )
            ]
            async with aclosing(found[0] if len(found) == 1 else merged(found)) as events:
                async for event in events:
                    yield event

    async def _choose(
        self, run: "_Run", load_seconds: float, choice: int
    ) -> AsyncGenerator[Event, None]:
        """One choice of the answer, from its first piece to its end."""
        parser = self.answering.parser(run.prompt.text)
        heard: list[Logprob] = []
        wants_echo = run.prompt.echo
        async with aclosing(run.pieces()) as chunks:
            async for chunk in chunks:
                heard += chunk.prompt_logprobs
                if wants_echo and not chunk.prompt_logprobs:
                    wants_echo = False
                    yield Echo(run.prompt.text, tuple(heard), choice)
                piece = parser.feed(chunk.text)
                if piece or chunk.logprobs:
                    yield Part(piece, chunk.logprobs, choice)
        if wants_echo:
            yield Echo(run.prompt.text, tuple(heard), choice)
        if rest := parser.end():
            yield Part(rest, (), choice)
        metrics = Metrics(
            finish=run.finish,
            total_seconds=time.perf_counter() - self.arrived,
            load_seconds=load_seconds,
            truncated_messages=run.prompt.truncated_messages,
        )
        yield End(metrics, await run.context(), choice, loops=run.loops)

    def _lease(self, spec: ModelSpec) -> AbstractAsyncContextManager[Runner]:
        body = self.body
        priority = self.services.priority(body.priority)
        return self.services.scheduler.lease(spec, body.keep_alive, priority)

    def _options(self) -> Options:
        return Options.merge({**self.body.defaults, **self.model.params}, self.body.options)

    async def _spec(self, options: Options) -> ModelSpec:
        return await model_spec(self.services, self.model, options, self.adapters)

    def _generations(
        self, options: Options, prompts: Sequence[Prompt], runner: Runner
    ) -> Iterator[tuple[Prompt, Generation]]:
        """What to generate for each prompt, choice by choice."""
        for prompt in prompts:
            generation = self._generation(options, prompt, runner)
            for choice in choices(generation, self.body.choices):
                yield prompt, choice

    def _generation(self, options: Options, prompt: Prompt, runner: Runner) -> Generation:
        return Generation(
            prompt=prompt.text if prompt.tokens is None else prompt.tokens,
            sampling=replace(options.sampling, logit_bias=self.body.logit_bias),
            stop=options.stop,
            num_predict=options.num_predict(runner.info.n_ctx),
            num_keep=options.num_keep,
            truncate=self.body.truncate,
            shift=self.body.shift,
            add_special=prompt.add_special,
            adapters=self.adapters,
            constraint=self.answering.constraint(prompt.text),
            visible=self.answering.visible,
            num_draft=options.num_draft,
            logprobs=_logprobs(self.body),
            echo=prompt.echo and self.body.logprobs,
            heal=self._heals(options),
            tenant=self.services.caller.tenant,
            priority=self.services.priority(self.body.priority),
            images=prompt.images,
        )

    def _heals(self, options: Options) -> bool:
        """Whether the answer may retake the end of the prompt.

        Unless the request says so, only where a form keeps what is retaken from becoming another
        word, and no template has put an end to the prompt.
        """
        if options.heal is not None:
            return options.heal
        body = self.body
        return isinstance(body, GenerateRequest) and body.raw and body.format is not None


def _known_of(model: StoredModel, *, go_first: bool | None) -> tuple[Facts, Choice, AnswerFormat]:
    """What its file says of a model, its template, and how it answers."""
    facts = read_facts(model.path)
    choice = choose(model, facts, go_first)
    return facts, choice, choice.answers


def _logprobs(body: Common) -> int:
    """``top_logprobs`` alone asks for nothing."""
    return body.top_logprobs if body.logprobs else -1


class _Run:
    """One generation: its pieces of text, then how it ended.

    A model that says the same piece again and again is stopped, as Ollama does it, where neither
    a length nor a form bounds the answer.
    """

    finish: Finish
    loops = False

    def __init__(self, runner: Runner, prompt: Prompt, generation: Generation) -> None:
        self.prompt = prompt
        limit = longest_answer(runner.info.n_ctx)
        self._is_open = generation.num_predict >= limit and generation.constraint is None
        self._runner = runner
        self._generation = generation
        self._texts: list[str] = []
        self._last = ""
        self._n_equal = self._n_tokens = 0

    async def pieces(self) -> AsyncGenerator[Chunk, None]:
        async with aclosing(self._runner.generate(self._generation)) as events:
            async for event in events:
                if isinstance(event, Finish):
                    self.finish = event
                    return
                self._n_tokens += event.n_tokens
                if self._repeats(event.text):
                    self.loops = True
                    break
                if event.text or event.logprobs or event.prompt_logprobs:
                    self._texts.append(event.text)
                    yield event
        if self.loops:
            self.finish = await self._broken_off()
            return
        raise RunnerError("the model runner ended an answer without saying why")

    def _repeats(self, text: str) -> bool:
        """Whether ``text`` is once too often what came before."""
        if not self._is_open or not text:  # held back, perhaps as part of a character
            return False
        piece = text.strip()
        self._n_equal = self._n_equal + 1 if piece == self._last else 0
        self._last = piece
        return self._n_equal > _MAX_EQUAL

    async def _broken_off(self) -> Finish:
        """How it ended where nobody else says so."""
        return Finish(
            reason="length",
            prompt_tokens=await count_tokens(self._runner, self.prompt),
            cached_tokens=0,
            truncated_tokens=0,
            shifted_tokens=0,
            eval_tokens=self._n_tokens,
            prompt_seconds=0.0,
            eval_seconds=0.0,
        )

    async def context(self) -> list[int] | None:
        """The ids with which a later request can go on from here."""
        if self.prompt.context is None:
            return None
        text = self.prompt.text + "".join(self._texts)
        return [*self.prompt.context, *await self._runner.tokenize(text)]
