"""Prompts that fit: messages rendered, and the oldest left out when they are too many."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cama.api.images import TOKENS_PER_IMAGE, marked
from cama.core.errors import InvalidRequest
from cama.runner.handle import Runner
from cama.templates.prompt import Template, render_prompt
from cama.wire.requests import Message

_SPARE_TOKENS = 2
"""What a tokenizer may add to a text: a token for its beginning, a space in front."""

_MAX_REFUSALS = 4
"""Neighbouring cuts that are tried when a template refuses one, such as to begin with an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a runner is given. ``tokens`` stand for ``text`` and what came before, when there was
    something; ``context`` are the ids before ``text``, or None when the reply does not continue it.
    ``images`` are in base64; ``text`` has a mark ``[img-N]`` for each. ``echo`` repeats ``text`` in
    front of the answer.
    """

    text: str
    add_special: bool
    tokens: tuple[int, ...] | None = None
    context: tuple[int, ...] | None = None
    truncated_messages: int = 0
    images: tuple[str, ...] = ()
    echo: bool = False


def raw_prompt(runner: Runner, text: str) -> Prompt:
    """``text`` as it is; the model's BOS goes in front unless it is there already."""
    bos = runner.info.bos_text
    return Prompt(text=text, add_special=not (bos and text.startswith(bos)))


async def count_tokens(runner: Runner, prompt: Prompt) -> int:
    """Those of the prompt, with what its images take."""
    tokens = await runner.tokenize(
        prompt.text, add_special=prompt.add_special, images=prompt.images
    )
    return len(tokens)


async def continued(runner: Runner, prompt: Prompt, context: tuple[int, ...]) -> Prompt:
    """``prompt`` after the ids of an earlier reply. Raises InvalidRequest on ids of no token.

    What begins with images cannot be continued so: they are no ids.
    """
    if prompt.images:
        return prompt
    if not context:
        return replace(prompt, context=())
    check_ids(runner, context, "context")
    text = prompt.text.removeprefix(runner.info.bos_text)
    tokens = (*await _bos(runner, context), *context, *await runner.tokenize(text))
    return replace(prompt, text=text, tokens=tokens, add_special=False, context=context)


def check_ids(runner: Runner, ids: Iterable[int], field: str) -> None:
    """Raise InvalidRequest when ``ids``, which came in ``field``, are not all of tokens."""
    if not all(0 <= token < runner.info.n_vocab for token in ids):
        raise InvalidRequest(f"{field} holds a token id that the model does not have", field=field)


async def _bos(runner: Runner, context: tuple[int, ...]) -> list[int]:
    """The token that the model wants in front of ``context`` and does not have there."""
    bos = await runner.tokenize(runner.info.bos_text) if runner.info.bos_text else []
    wanted = await runner.tokenize("", add_special=True)
    return bos if bos and wanted[:1] == bos and context[:1] != tuple(bos) else []


async def chat_prompt(
    runner: Runner,
    template: Template,
    messages: Sequence[Message],
    *,
    truncate: bool,
    variables: dict[str, Any],
) -> Prompt:
    """The prompt for ``messages``, less the oldest when ``truncate`` and they do not fit.

    System messages and the last message always stay.
    """
    fitting = _Fitting(runner, template, messages, variables)
    whole = await fitting.render(0)
    if not truncate or await fitting.fits(whole):
        return whole
    return await fitting.shortened() or whole


class _Fitting:
    """The search for the longest end of a conversation that fits."""

    def __init__(
        self,
        runner: Runner,
        template: Template,
        messages: Sequence[Message],
        variables: dict[str, Any],
    ) -> None:
        self._runner = runner
        self._template = template
        self._messages = messages
        self._variables = variables

    async def render(self, cut: int) -> Prompt:
        """The prompt without the messages before ``cut``, of which those of the system stay."""
        kept = [message for message in self._messages[:cut] if message.role == "system"]
        kept += self._messages[cut:]
        # In a thread, for a template may compute for seconds before it is stopped.
        shown = marked(kept)
        text = await asyncio.to_thread(render_prompt, self._template, shown, **self._variables)
        return replace(
            raw_prompt(self._runner, text),
            truncated_messages=len(self._messages) - len(kept),
            images=tuple(image for message in kept for image in message.images),
        )

    async def fits(self, prompt: Prompt) -> bool:
        n_ctx = self._runner.info.n_ctx - TOKENS_PER_IMAGE * len(prompt.images)
        # A token stands for at least one byte, so that a short text need not be counted.
        if len(prompt.text.encode()) + _SPARE_TOKENS <= n_ctx:
            return True
        tokens = await self._runner.tokenize(prompt.text, add_special=prompt.add_special)
        return len(tokens) <= n_ctx

    async def shortened(self) -> Prompt | None:
        """The longest prompt that fits, else the shortest; None when the template takes none."""
        fitting: Prompt | None = None
        shortest: Prompt | None = None
        low, high = 1, len(self._messages) - 1
        while low <= high:
            middle = (low + high) // 2
            cut, prompt = await self._accepted(middle, high)
            if prompt is None or await self.fits(prompt):
                fitting = prompt or fitting
                high = middle - 1
            else:
                shortest = prompt
                low = cut + 1
        return fitting or shortest

    async def _accepted(self, first: int, last: int) -> tuple[int, Prompt | None]:
        """The first cut from ``first`` on that the template does not refuse."""
        for cut in range(first, min(last, first + _MAX_REFUSALS) + 1):
            try:
                return cut, await self.render(cut)
            except InvalidRequest:  # it accepted the whole, so that another cut may suit it
                continue
        return last, None
