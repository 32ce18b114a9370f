"""POST /v1/messages: our answers as its replies."""

import json
import secrets
from collections.abc import Iterable, Iterator, Sequence

from cama.core.answer import Piece, ToolCall
from cama.core.generation import Finish
from cama.wire.accounts import accounts_to_json
from cama.wire.answers import End, Event, Metrics, Part
from cama.wire.anthropic.request import MessagesRequest
from cama.wire.framing import ANTHROPIC_EVENTS, Framing, Reply


class MessageReplies:
    """The dialect of one answer.

    ``n_prompt_tokens`` may be set before the answer begins, for a stream tells them at once.
    """

    framing: Framing = ANTHROPIC_EVENTS

    def __init__(self, request: MessagesRequest) -> None:
        self.n_prompt_tokens = 0
        self._request = request
        self._id = _new_id("msg_")
        self._is_begun = False
        self._open = ""  # the type of the block that is being written
        self._index = -1
        self._has_calls = False

    def write(self, event: Event) -> Iterable[Reply]:
        if not self._is_begun:
            self._is_begun = True
            usage = {**_usage(None), "input_tokens": self.n_prompt_tokens}
            message = self._message([], None, None, usage)
            yield {"type": "message_start", "message": message}
            yield {"type": "ping"}
        match event:
            case Part(piece):
                yield from self._blocks(piece)
            case End(metrics):
                yield from self._close()
                yield from self._ending(metrics)

    def whole(self, events: Sequence[Event]) -> Reply:
        content: list[Reply] = []
        for event in events:
            if isinstance(event, Part):
                _extend(content, event.piece)
        if not self._request.shows_thoughts:
            content = [_empty("thinking") if _is_thought(block) else block for block in content]
        self._has_calls = any(block["type"] == "tool_use" for block in content)
        (metrics,) = [event.metrics for event in events if isinstance(event, End)]
        finish = metrics.finish
        message = self._message(content, *self._stop(finish), _usage(finish))
        return message | accounts_to_json(metrics)

    def _message(
        self, content: list[Reply], reason: str | None, sequence: str | None, usage: Reply
    ) -> Reply:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._request.chat.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": sequence,
            "usage": usage,
        }

    def _blocks(self, piece: Piece) -> Iterator[Reply]:
        if piece.thinking:
            yield from self._enter("thinking")
            if self._request.shows_thoughts:
                yield self._delta({"type": "thinking_delta", "thinking": piece.thinking})
        if piece.text:
            yield from self._enter("text")
            yield self._delta({"type": "text_delta", "text": piece.text})
        for call in piece.tool_calls:
            yield from self._call(call)

    def _call(self, call: ToolCall) -> Iterator[Reply]:
        self._has_calls = True
        yield from self._close()
        yield self._start({**_tool_use(call), "input": {}})
        text = json.dumps(call.arguments, ensure_ascii=False)
        yield self._delta({"type": "input_json_delta", "partial_json": text})
        yield from self._close()

    def _enter(self, kind: str) -> Iterator[Reply]:
        """Begin a block of ``kind``, unless it is the one that is open."""
        if self._open != kind:
            yield from self._close()
            yield self._start(_empty(kind))

    def _start(self, block: Reply) -> Reply:
        self._index += 1
        self._open = block["type"]
        return {"type": "content_block_start", "index": self._index, "content_block": block}

    def _delta(self, delta: Reply) -> Reply:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}

    def _close(self) -> Iterator[Reply]:
        if self._open:
            self._open = ""
            yield {"type": "content_block_stop", "index": self._index}

    def _ending(self, metrics: Metrics) -> Iterator[Reply]:
        finish = metrics.finish
        reason, sequence = self._stop(finish)
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        accounts = accounts_to_json(metrics)
        yield {"type": "message_delta", "delta": delta, "usage": _usage(finish), **accounts}
        yield {"type": "message_stop"}

    def _stop(self, finish: Finish) -> tuple[str, str | None]:
        """Why the answer ended, and the stop sequence that ended it."""
        if finish.stop_string in self._request.stop_sequences:
            return "stop_sequence", finish.stop_string
        if finish.reason == "length":
            is_cut = finish.eval_tokens >= self._request.max_tokens
            return ("max_tokens" if is_cut else "model_context_window_exceeded"), None
        return ("tool_use" if self._has_calls else "end_turn"), None


def count_reply(n_tokens: int) -> Reply:
    return {"input_tokens": n_tokens}


def _usage(finish: Finish | None) -> Reply:
    """What was in the cache already is not in ``input_tokens``, as Anthropic counts."""
    cached = finish.cached_tokens if finish else 0
    return {
        "input_tokens": finish.prompt_tokens - cached if finish else 0,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": finish.eval_tokens if finish else 0,
    }


def _extend(content: list[Reply], piece: Piece) -> None:
    """Add a piece to the blocks of a whole answer."""
    for kind, text in (("thinking", piece.thinking), ("text", piece.text)):
        if not text:
            continue
        if not content or content[-1]["type"] != kind:
            content.append(_empty(kind))
        content[-1][kind] += text
    content.extend(_tool_use(call) for call in piece.tool_calls)


def _is_thought(block: Reply) -> bool:
    return bool(block["type"] == "thinking")


def _empty(kind: str) -> Reply:
    if kind == "thinking":
        return {"type": "thinking", "thinking": "", "signature": ""}
    return {"type": "text", "text": ""}


def _tool_use(call: ToolCall) -> Reply:
    name = call.id or _new_id("toolu_")
    return {"type": "tool_use", "id": name, "name": call.name, "input": call.arguments}


def _new_id(prefix: str) -> str:
    return prefix + secrets.token_hex(12)
