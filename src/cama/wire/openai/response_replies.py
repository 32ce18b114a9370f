"""POST /v1/responses: our answers as its replies, whole or as a stream of named events."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cama.core.answer import Piece, ToolCall
from cama.core.generation import Logprob
from cama.wire.accounts import accounts_to_json
from cama.wire.answers import End, Event, Part
from cama.wire.framing import Frames, Framing, Reply, named_event
from cama.wire.openai.head import Usage, new_id
from cama.wire.openai.logprobs import chat_logprobs
from cama.wire.openai.responses import ResponseRequest
from cama.wire.problems import Problem


@dataclass(slots=True)
class _Growing:
    """An item of thoughts or of text that is not finished."""

    is_thoughts: bool
    id: str
    texts: list[str] = field(default_factory=list)
    logprobs: list[Reply] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.texts)


class ResponseDialect:
    """The dialect of one answer; ``keep`` is given the response when it is complete.

    An answer that is not streamed is made of the same events.
    """

    def __init__(self, request: ResponseRequest, keep: Callable[[Reply], None]) -> None:
        self._request = request
        self._keep = keep
        self._id = new_id("resp_")
        self._created_at = int(time.time())
        self._output: list[Reply] = []
        self._growing: _Growing | None = None
        self._n_told = 0
        self._final: Reply | None = None

    @property
    def framing(self) -> Framing:
        return Frames(media_type="text/event-stream", frame=named_event, shape=self._failed)

    def write(self, event: Event) -> Iterable[Reply]:
        if not self._n_told:
            yield self._told("response.created", response=self._response("in_progress"))
            yield self._told("response.in_progress", response=self._response("in_progress"))
        if isinstance(event, Part):
            yield from self._piece(event.piece, event.logprobs)
        elif isinstance(event, End):
            yield from self._ending(event)

    def whole(self, events: Sequence[Event]) -> Reply:
        for event in events:
            for _ in self.write(event):
                pass
        assert self._final is not None, "the last event is an End"
        return self._final

    def _piece(self, piece: Piece, logprobs: Sequence[Logprob]) -> Iterator[Reply]:
        if piece.thinking:
            yield from self._grown(piece.thinking, (), is_thoughts=True)
        if piece.text or (logprobs and not piece):
            yield from self._grown(piece.text, logprobs, is_thoughts=False)
        for call in piece.tool_calls:
            yield from self._closed("completed")
            yield from self._called(call)

    def _grown(
        self, text: str, logprobs: Sequence[Logprob], *, is_thoughts: bool
    ) -> Iterator[Reply]:
        if self._growing is None or self._growing.is_thoughts != is_thoughts:
            yield from self._closed("completed")
            yield from self._opened(is_thoughts=is_thoughts)
        item = self._growing
        assert item is not None
        item.texts.append(text)
        if is_thoughts:
            place = self._place(item.id) | {"summary_index": 0}
            yield self._told("response.reasoning_summary_text.delta", **place, delta=text)
            return
        found = chat_logprobs(logprobs) if self._request.fields["logprobs"] else []
        item.logprobs += found
        place = self._place(item.id) | {"content_index": 0}
        yield self._told("response.output_text.delta", **place, delta=text, logprobs=found)

    def _opened(self, *, is_thoughts: bool) -> Iterator[Reply]:
        item = _Growing(is_thoughts, new_id("rs_" if is_thoughts else "msg_"))
        self._growing = item
        empty = _thoughts(item, "in_progress", []) if is_thoughts else _message(item, "in_progress")
        yield self._item("added", empty if is_thoughts else empty | {"content": []})
        place = self._place(item.id)
        if is_thoughts:
            place |= {"summary_index": 0}
            yield self._told("response.reasoning_summary_part.added", **place, part=_summary(""))
        else:
            place |= {"content_index": 0}
            yield self._told("response.content_part.added", **place, part=_text("", []))

    def _closed(self, status: str) -> Iterator[Reply]:
        """The end of what grows, if anything does."""
        item, self._growing = self._growing, None
        if item is None:
            return
        place = self._place(item.id)
        if item.is_thoughts:
            place |= {"summary_index": 0}
            part = _summary(item.text)
            yield self._told("response.reasoning_summary_text.done", **place, text=item.text)
            yield self._told("response.reasoning_summary_part.done", **place, part=part)
            done = _thoughts(item, status, [part])
            if self._request.wants_thoughts_back:
                done["encrypted_content"] = item.text
        else:
            place |= {"content_index": 0}
            part = _text(item.text, item.logprobs)
            yield self._told(
                "response.output_text.done", **place, text=item.text, logprobs=item.logprobs
            )
            yield self._told("response.content_part.done", **place, part=part)
            done = _message(item, status) | {"content": [part]}
        yield self._item("done", done)
        self._output.append(done)

    def _called(self, call: ToolCall) -> Iterator[Reply]:
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        item: Reply = {
            "id": new_id("fc_"),
            "type": "function_call",
            "status": "in_progress",
            "call_id": call.id or new_id("call_"),
            "name": call.name,
            "arguments": "",
        }
        done = item | {"status": "completed", "arguments": arguments}
        place = self._place(item["id"])
        events = "response.function_call_arguments"
        yield self._item("added", item)
        yield self._told(f"{events}.delta", **place, delta=arguments)
        yield self._told(f"{events}.done", **place, arguments=arguments, name=call.name)
        yield self._item("done", done)
        self._output.append(done)

    def _ending(self, end: End) -> Iterator[Reply]:
        status = "incomplete" if end.metrics.finish.reason == "length" else "completed"
        if not self._output and self._growing is None:
            yield from self._opened(is_thoughts=False)
        yield from self._closed(status)
        usage = Usage()
        usage.add(end)
        final = self._response(status, usage) | accounts_to_json(end.metrics)
        self._final = final
        self._keep(final)
        yield self._told(f"response.{status}", response=final)

    def _failed(self, problem: Problem) -> Reply:
        """Called when an error breaks the stream off."""
        code = "rate_limit_exceeded" if problem.status in (429, 503) else "server_error"
        error = {"code": code, "message": problem.message}
        return self._told("response.failed", response=self._response("failed") | {"error": error})

    def _response(self, status: str, usage: Usage | None = None) -> Reply:
        cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
        request = self._request
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created_at,
            "completed_at": int(time.time()) if status == "completed" else None,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": cut,
            "model": request.model,
            "output": list(self._output),
            "store": request.is_kept,
            **request.echoed,
            "usage": usage and _usage(usage),
        }

    def _item(self, what: str, item: Reply) -> Reply:
        index = len(self._output)
        return self._told(f"response.output_item.{what}", output_index=index, item=item)

    def _place(self, item_id: str) -> dict[str, Any]:
        return {"item_id": item_id, "output_index": len(self._output)}

    def _told(self, kind: str, **fields: Any) -> Reply:
        number, self._n_told = self._n_told, self._n_told + 1
        return {"type": kind, "sequence_number": number, **fields}


def _message(item: _Growing, status: str) -> Reply:
    return {"id": item.id, "type": "message", "status": status, "role": "assistant"}


def _thoughts(item: _Growing, status: str, summary: list[Reply]) -> Reply:
    return {"id": item.id, "type": "reasoning", "status": status, "summary": summary}


def _summary(text: str) -> Reply:
    return {"type": "summary_text", "text": text}


def _text(text: str, logprobs: list[Reply]) -> Reply:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _usage(usage: Usage) -> Reply:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
