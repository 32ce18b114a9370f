"""POST /v1/chat/completions: its request as ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from cama.wire.openai.fields import CHAT
from cama.wire.openai.formats import read_effort, read_format
from cama.wire.openai.messages import read_messages
from cama.wire.openai.params import Params
from cama.wire.openai.sampling import include_usage, text_fields, token_limit
from cama.wire.openai.shapes import MOST_CHOICES, MOST_TOP_LOGPROBS
from cama.wire.openai.tools import loose_tools, read_tool_fields
from cama.wire.requests import ChatRequest, Think


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCompletionRequest:
    """``ignored`` are the fields without effect."""

    chat: ChatRequest
    include_usage: bool
    ignored: tuple[str, ...]

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """Raises InvalidRequest and Unsupported, with the field that is wrong."""
        params = Params(data)
        CHAT.check(params)
        chat, has_usage = _chat(params), include_usage(params)
        ignored = (*params.unread(), *loose_tools(params, chat.tool_choice))
        return cls(chat=chat, include_usage=has_usage, ignored=ignored)


def _chat(params: Params) -> ChatRequest:
    top_logprobs = params.integer("top_logprobs", 0, MOST_TOP_LOGPROBS) or 0
    logprobs = params.flag("logprobs")
    if top_logprobs and not logprobs:
        params.refuse("top_logprobs", "needs 'logprobs' to be true")
    return ChatRequest(
        **text_fields(params, token_limit(params, "max_completion_tokens", "max_tokens")),
        messages=read_messages(params),
        format=read_format(params),
        think=_think(params),
        logprobs=logprobs,
        top_logprobs=top_logprobs,
        choices=params.integer("n", 1, MOST_CHOICES) or 1,
        **read_tool_fields(params),
    )


def _think(params: Params) -> Think:
    """The field in which others put it counts first, as Ollama has it; then OpenAI's, and its."""
    if params.inner("reasoning").has("effort"):
        return read_effort(params.inner("reasoning"), "effort")
    if params.has("reasoning_effort"):
        return read_effort(params, "reasoning_effort")
    if isinstance(params.any("think"), bool):
        return params.flag("think")
    return read_effort(params, "think")
