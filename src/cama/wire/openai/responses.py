"""POST /v1/responses: its request as ours."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from cama.wire.openai.fields import RESPONSE
from cama.wire.openai.formats import read_effort, read_flat_format
from cama.wire.openai.params import Params
from cama.wire.openai.response_items import Item, input_items, read_items
from cama.wire.openai.sampling import text_fields, token_limit
from cama.wire.openai.shapes import MOST_TOP_LOGPROBS
from cama.wire.openai.tools import loose_tools, read_flat_tool_fields
from cama.wire.requests import ChatRequest, Message

_ENCRYPTED = "reasoning.encrypted_content"
_LOGPROBS = "message.output_text.logprobs"
_ECHOED: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
}
"""What the reply repeats of the request, and what stands there when that said nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseRequest:
    """``input`` are the new items; those of the response named ``previous`` go before them.

    ``is_kept`` wants the response to be found later; ``echoed`` is repeated in the reply.
    """

    model: str
    input: tuple[Item, ...]
    instructions: str
    previous: str
    is_kept: bool
    wants_thoughts_back: bool
    echoed: Mapping[str, Any]
    ignored: tuple[str, ...]
    fields: Mapping[str, Any]

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """Raises InvalidRequest and Unsupported, with the field that is wrong."""
        params = Params(data)
        RESPONSE.check(params)
        include = params.strings("include")
        fields = _chat_fields(params, has_logprobs=_LOGPROBS in include)
        choice = fields["tool_choice"]
        request = cls(
            model=fields["model"],
            input=input_items(params, "input"),
            instructions=params.text("instructions"),
            previous=params.text("previous_response_id"),
            is_kept=params.flag("store", default=True),
            wants_thoughts_back=_ENCRYPTED in include,
            echoed=_echoed(params),
            fields=fields,
            ignored=(*params.unread(), *_excluded(include), *loose_tools(params, choice)),
        )
        if not request.input and not request.previous:
            params.refuse("input", "is required")
        return request

    def chat(self, before: Sequence[Item]) -> ChatRequest:
        """The conversation, when ``before`` are the items of the previous response.

        Raises InvalidRequest. Instructions are those of this request alone.
        """
        system = [Message(role="system", content=self.instructions)] if self.instructions else []
        messages = read_items(previous_response_id=before, input=self.input)
        return ChatRequest(**self.fields, messages=(*system, *messages))


def _chat_fields(params: Params, *, has_logprobs: bool) -> dict[str, Any]:
    top_logprobs = params.integer("top_logprobs", 0, MOST_TOP_LOGPROBS) or 0
    cuts = params.choice("truncation", ("auto", "disabled"), default="disabled") == "auto"
    return {
        **text_fields(params, token_limit(params, "max_output_tokens")),
        "truncate": cuts,
        "format": read_flat_format(params),
        "think": read_effort(params.inner("reasoning"), "effort"),
        "logprobs": has_logprobs or top_logprobs > 0,
        "top_logprobs": top_logprobs,
        **read_flat_tool_fields(params),
    }


def _excluded(include: Sequence[str]) -> Iterator[str]:
    """What a reply never includes."""
    for i, name in enumerate(include):
        if name not in (_ENCRYPTED, _LOGPROBS):
            yield f"include[{i}]"


def _echoed(params: Params) -> dict[str, Any]:
    params.mapping("metadata")
    params.inner("reasoning").text("summary")  # always given
    given = {key: params.any(key) for key in _ECHOED if params.has(key)}
    form = params.inner("text").any("format") or {"type": "text"}
    return {**_ECHOED, **given, "text": {**params.mapping("text"), "format": form}}
