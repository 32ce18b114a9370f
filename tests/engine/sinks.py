"""What tests of the loop share: a sink that remembers, and short ways to run requests."""

from collections.abc import Sequence
from typing import Any

from cama.core.errors import CamaError
from cama.core.generation import Chunk, Event, Finish, Generation, Sampling
from cama.engine.base import Engine
from cama.engine.loop import Loop

GREEDY = Sampling(temperature=0.0)


class Sink:
    """Remembers all that a request got."""

    def __init__(self) -> None:
        self.events: list[Event | CamaError] = []

    def __call__(self, event: Event | CamaError) -> None:
        assert not self.is_over
        self.events.append(event)

    @property
    def is_over(self) -> bool:
        return bool(self.events) and not isinstance(self.events[-1], Chunk)

    @property
    def chunks(self) -> list[Chunk]:
        return [event for event in self.events if isinstance(event, Chunk)]

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)

    @property
    def finish(self) -> Finish:
        last = self.events[-1]
        assert isinstance(last, Finish), last
        return last

    @property
    def error(self) -> CamaError:
        last = self.events[-1]
        assert isinstance(last, CamaError), last
        return last


def generation(prompt: str = "", *, sampling: Sampling = GREEDY, **options: Any) -> Generation:
    return Generation(prompt=prompt, sampling=sampling, **options)


def encode(engine: Engine, prompt: str) -> Sequence[int]:
    return engine.tokenizer.encode(prompt, add_special=False, parse_special=False)


def submit(loop: Loop, engine: Engine, request_id: str, prompt: str, **options: Any) -> Sink:
    """Hand a request to the loop; its events come with the loop's next steps."""
    sink = Sink()
    loop.submit(request_id, encode(engine, prompt), generation(prompt, **options), sink)
    return sink


def drain(loop: Loop, *, most: int = 20_000) -> int:
    """Run until idle; returns the number of passes."""
    for n_steps in range(most):
        if not loop.step():
            return n_steps
    raise AssertionError("the loop does not come to rest")


def answer(engine: Engine, prompt: str, **options: Any) -> Sink:
    """One request, alone on a fresh loop."""
    loop = Loop(engine)
    sink = submit(loop, engine, "only", prompt, **options)
    drain(loop)
    return sink
