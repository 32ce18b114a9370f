"""How a growing answer looks on the wire: its replies, an error in their midst, and its end."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from cama.wire.encode import encode
from cama.wire.problems import Problem, Shape, anthropic_problem, ollama_problem, openai_problem

Reply = dict[str, Any]


class Framing(Protocol):
    """``end`` follows the last reply of an answer that no error broke off."""

    @property
    def media_type(self) -> str: ...

    @property
    def end(self) -> bytes: ...

    def reply(self, reply: Reply) -> bytes: ...

    def problem(self, problem: Problem) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Problems written as replies are: ``shape`` makes a reply of one, ``frame`` writes it."""

    media_type: str
    frame: Callable[[Reply], bytes]
    shape: Shape
    end: bytes = b""

    def reply(self, reply: Reply) -> bytes:
        return self.frame(reply)

    def problem(self, problem: Problem) -> bytes:
        return self.frame(self.shape(problem))


def line(reply: Reply) -> bytes:
    return encode(reply) + b"\n"


def event(reply: Reply) -> bytes:
    """A server-sent event without a name."""
    return b"data: " + encode(reply) + b"\n\n"


def named_event(reply: Reply) -> bytes:
    """A server-sent event with the name that ``type`` gives."""
    return b"event: " + str(reply["type"]).encode() + b"\ndata: " + encode(reply) + b"\n\n"


NDJSON = Frames(media_type="application/x-ndjson", frame=line, shape=ollama_problem)
"""Ollama's: an error is the last line."""

OPENAI_EVENTS = Frames(
    media_type="text/event-stream", frame=event, shape=openai_problem, end=b"data: [DONE]\n\n"
)
"""An error is the last event, and nothing says that the answer is done."""

ANTHROPIC_EVENTS = Frames(
    media_type="text/event-stream", frame=named_event, shape=anthropic_problem
)
"""Every reply has a ``type``; so has an error, which is the last event."""
