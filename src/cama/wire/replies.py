"""Replies to generate, chat and embed: keys in Ollama's order, what is empty or zero left out.

Five keys are Cama's own, so that nothing about a prompt is silent: ``prompt_cached_count`` (prompt
tokens taken from the prefix cache), ``truncated_messages`` and ``truncated_tokens`` (what was left
out to fit the context), ``shifted_tokens`` (what the full context dropped while generating) and
``cama`` (more of the prefix cache, where the time went, and how many tokens were guessed and how
many of those were right).
"""

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, assert_never

from cama.core.answer import Piece, ToolCall
from cama.core.embedding import Embedded, Ranked
from cama.core.generation import Logprob
from cama.wire.accounts import metrics_to_json
from cama.wire.answers import Echo, End, Event, Loaded, LoadReason, Metrics, Part, Rendered
from cama.wire.encode import duration, timestamp, without_empty
from cama.wire.framing import NDJSON, Framing, Reply


def logprobs_to_json(logprobs: Sequence[Logprob]) -> list[Reply]:
    """In order; ``token`` is the text of ``bytes``, which may be part of a character."""
    return [
        _logprob(one) | without_empty({"top_logprobs": [_logprob(other) for other in one.top]})
        for one in logprobs
    ]


def _logprob(one: Logprob) -> Reply:
    text = one.piece.decode(errors="replace")
    return {"token": text, "logprob": one.logprob, "bytes": list(one.piece)}


def embed_reply(model: str, embedded: Embedded, total_seconds: float, load_seconds: float) -> Reply:
    """The answer of embed to a client that calls the model ``model``."""
    reply: Reply = {"model": model, "embeddings": [numbers(v) for v in embedded.vectors]}
    if not embedded.vectors:
        return reply
    return reply | without_empty(
        {
            "total_duration": duration(total_seconds),
            "load_duration": duration(load_seconds),
            "prompt_eval_count": embedded.prompt_tokens,
            "truncated_tokens": embedded.truncated_tokens,
        }
    )


def embeddings_reply(embedded: Embedded) -> Reply:
    """The answer of the older embeddings: one vector, or an empty one."""
    return {"embedding": numbers(embedded.vectors[0]) if embedded.vectors else []}


def rerank_reply(
    model: str, ranked: Ranked, top_n: int, total_seconds: float, load_seconds: float
) -> Reply:
    """The answer of rerank: the best documents first."""
    best = sorted(enumerate(ranked.scores), key=lambda one: one[1], reverse=True)
    results = [{"index": index, "relevance_score": score} for index, score in best]
    counts = {
        "total_duration": duration(total_seconds),
        "load_duration": duration(load_seconds),
        "prompt_eval_count": ranked.prompt_tokens,
    }
    shown = results[:top_n] if top_n > 0 else results
    return {"model": model, "results": shown, **without_empty(counts)}


def numbers(vector: "array[float]") -> list[float]:
    """A float32 has nine digits; the float64 that equals it would be written with seventeen."""
    return [float(f"{number:.9g}") for number in vector]


class Replies(ABC):
    """What an endpoint answers for ``model``, the client's own spelling."""

    framing: Framing = NDJSON

    def __init__(self, model: str) -> None:
        self._model = model

    def write(self, event: Event) -> Iterable[Reply]:
        """As Ollama has it, nothing tells of an answer that was broken off because it loops."""
        if not isinstance(event, End) or not event.loops:
            yield self._written(event)

    def whole(self, events: Sequence[Event]) -> Reply:
        replies = [reply for event in events for reply in self.write(event)]
        logprobs = [one for reply in replies for one in reply.get("logprobs", ())]
        return replies[-1] | self._joined(replies) | without_empty({"logprobs": logprobs})

    def _written(self, event: Event) -> Reply:
        match event:
            case Part(piece, logprobs):
                return self.chunk(piece, logprobs)
            case Echo(text, logprobs):
                return self.chunk(Piece(text), logprobs)
            case End(metrics, context):
                return self.final(metrics, context)
            case Loaded(reason):
                return self.loaded(reason)
            case Rendered(prompt, n_images):
                return self.rendered(prompt, n_images)
        assert_never(event)

    def chunk(self, piece: Piece, logprobs: Sequence[Logprob] = ()) -> Reply:
        reply = self._reply(piece, done=False)
        return reply | without_empty({"logprobs": logprobs_to_json(logprobs)})

    def final(self, metrics: Metrics, context: list[int] | None = None) -> Reply:
        reply = self._reply(Piece(), done=True, done_reason=metrics.finish.reason)
        return reply | without_empty({"context": context}) | metrics_to_json(metrics)

    def loaded(self, reason: LoadReason) -> Reply:
        return self._reply(Piece(), done=True, done_reason=reason)

    def rendered(self, prompt: str, n_images: int = 0) -> Reply:
        shown = {"rendered_template": prompt} | without_empty({"image_count": n_images})
        return self._reply(Piece(), done=False, _debug_info=shown)

    def _reply(self, piece: Piece, **fields: Any) -> Reply:
        head = {"model": self._model, "created_at": timestamp()}
        return head | self._piece(piece) | fields

    @abstractmethod
    def _piece(self, piece: Piece) -> Reply:
        """The keys that carry ``piece``."""

    @abstractmethod
    def _joined(self, replies: list[Reply]) -> Reply:
        """The keys that carry all of what :meth:`_piece` made."""


class GenerateReplies(Replies):
    """Calls of tools are told at the end, as Ollama tells them."""

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self._calls: list[ToolCall] = []

    def write(self, event: Event) -> Iterable[Reply]:
        if isinstance(event, Part):
            self._calls += event.piece.tool_calls
            if event.piece.tool_calls and event.is_silent:
                return
        yield from super().write(event)

    def final(self, metrics: Metrics, context: list[int] | None = None) -> Reply:
        calls = [tool_call_to_json(call) for call in self._calls]
        return super().final(metrics, context) | without_empty({"tool_calls": calls})

    def _piece(self, piece: Piece) -> Reply:
        return {"response": piece.text} | without_empty({"thinking": piece.thinking})

    def _joined(self, replies: list[Reply]) -> Reply:
        return _concatenated(replies, "response")


class ChatReplies(Replies):
    def _piece(self, piece: Piece) -> Reply:
        calls = [tool_call_to_json(call) for call in piece.tool_calls]
        message: Reply = {"role": "assistant", "content": piece.text}
        extra = without_empty({"thinking": piece.thinking, "tool_calls": calls})
        return {"message": message | extra}

    def _joined(self, replies: list[Reply]) -> Reply:
        messages = [reply["message"] for reply in replies]
        calls = [call for message in messages for call in message.get("tool_calls", ())]
        joined = _concatenated(messages, "content") | without_empty({"tool_calls": calls})
        return {"message": {"role": "assistant"} | joined}


def tool_call_to_json(call: ToolCall) -> Reply:
    """The call as Ollama writes it."""
    function = {"index": call.index, "name": call.name, "arguments": call.arguments}
    return without_empty({"id": call.id}) | {"function": function}


def _concatenated(replies: list[Reply], key: str) -> Reply:
    """The texts under ``key``, and the thoughts beside them if there are any."""
    thinking = "".join(reply.get("thinking", "") for reply in replies)
    text = "".join(reply[key] for reply in replies)
    return {key: text} | without_empty({"thinking": thinking})
