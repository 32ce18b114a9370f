"""POST /v1/chat/completions: our answers as its replies."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cama.core.answer import Piece, ToolCall
from cama.wire.accounts import accounts_to_json
from cama.wire.answers import End, Event, Part
from cama.wire.encode import without_empty
from cama.wire.framing import OPENAI_EVENTS, Framing, Reply
from cama.wire.openai.chat import ChatCompletionRequest
from cama.wire.openai.head import Head, Usage, new_id
from cama.wire.openai.logprobs import chat_logprobs

_WHOLE = "chat.completion"
_CHUNK = "chat.completion.chunk"


class ChatCompletion:
    """The dialect of one answer.

    Thoughts have two names, as there is no official one: ``reasoning`` is Ollama's and vLLM's,
    ``reasoning_content`` is llama.cpp's and DeepSeek's.
    """

    framing: Framing = OPENAI_EVENTS

    def __init__(self, request: ChatCompletionRequest) -> None:
        chat = request.chat
        self._head = Head.new("chatcmpl-", chat.model)
        self._has_usage = request.include_usage
        self._has_logprobs = chat.logprobs
        self._usage = Usage(n_choices=chat.choices, per_prompt=chat.choices)
        self._begun: set[int] = set()
        self._calling: set[int] = set()

    def write(self, event: Event) -> Iterable[Reply]:
        match event:
            case Part():
                yield from self._chunks(event)
            case End():
                yield from self._ending(event)

    def whole(self, events: Sequence[Event]) -> Reply:
        ends = [event for event in events if isinstance(event, End)]
        for end in ends:
            self._usage.add(end)
        parts = [event for event in events if isinstance(event, Part)]
        choices = [self._choice(parts, end) for end in sorted(ends, key=lambda end: end.choice)]
        return self._head.reply(_WHOLE, choices) | {"usage": self._usage.to_json()}

    def _chunks(self, part: Part) -> Iterator[Reply]:
        logprobs = self._logprobs([part])
        for delta in _deltas(part.piece):
            yield self._chunk(part.choice, delta, None, logprobs)
            logprobs = {}  # those of a part are told once
        if part.piece.tool_calls:
            self._calling.add(part.choice)

    def _ending(self, end: End) -> Iterator[Reply]:
        self._usage.add(end)
        reason: str = end.metrics.finish.reason
        if reason == "stop" and end.choice in self._calling:
            reason = "tool_calls"
        yield self._chunk(end.choice, {}, reason, accounts_to_json(end.metrics))
        if self._has_usage and self._usage.is_complete:
            yield self._head.reply(_CHUNK, []) | {"usage": self._usage.to_json()}

    def _chunk(self, choice: int, delta: Reply, reason: str | None, others: Reply) -> Reply:
        if choice not in self._begun:
            self._begun.add(choice)
            delta = {"role": "assistant"} | delta
        fields = {"index": choice, "delta": delta, "finish_reason": reason, **others}
        usage = {"usage": None} if self._has_usage else {}
        return self._head.reply(_CHUNK, [fields]) | usage

    def _choice(self, parts: Sequence[Part], end: End) -> Reply:
        own = [part for part in parts if part.choice == end.choice]
        text = "".join(part.piece.text for part in own)
        calls = [tool_call(call) for part in own for call in part.piece.tool_calls]
        message: dict[str, Any] = {
            "role": "assistant",
            "content": text if text or not calls else None,
            "refusal": None,
            **_thoughts("".join(part.piece.thinking for part in own)),
            **without_empty({"tool_calls": calls}),
        }
        reason = end.metrics.finish.reason
        return {
            "index": end.choice,
            "message": message,
            "logprobs": None,
            **self._logprobs(own),
            "finish_reason": "tool_calls" if calls and reason == "stop" else reason,
            **accounts_to_json(end.metrics),
        }

    def _logprobs(self, parts: Sequence[Part]) -> Reply:
        if not self._has_logprobs:
            return {}
        content = chat_logprobs([one for part in parts for one in part.logprobs])
        return {"logprobs": {"content": content, "refusal": None}}


def tool_call(call: ToolCall) -> Reply:
    """The call as OpenAI writes it, with an id whether or not the model gave one."""
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id or new_id("call_"), "type": "function", "function": function}


def _deltas(piece: Piece) -> Iterator[Reply]:
    """Thoughts, text and calls apart: not every client looks for more than one in a chunk."""
    if piece.thinking:
        yield _thoughts(piece.thinking)
    if piece.text or not (piece.thinking or piece.tool_calls):
        yield {"content": piece.text}
    if piece.tool_calls:
        yield {"tool_calls": [{"index": call.index} | tool_call(call) for call in piece.tool_calls]}


def _thoughts(text: str) -> Reply:
    return {"reasoning": text, "reasoning_content": text} if text else {}
