"""Answers that are dictated: whatever the weights say, the next token of a script is raised.

It is raised behind the real pass. So any model does, also one of random weights, passes cost what
they cost, and all sides of a comparison write the same tokens.
"""

from collections.abc import Sequence
from typing import Any

from cama.core.errors import CamaError
from cama.core.generation import Chunk, Event, Finish, Generation
from cama.engine.base import Engine, Logits, Plan
from cama.engine.loop import Loop

DICTATED = 1e4
TEMPTING = 2e4


class Dictated:
    """An engine whose most probable token is the next one of ``script``, prompt and answer as one.

    It likes ``tempting`` better still, where there is such a token.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.script: Sequence[int] = ()
        self.tempting: int | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def forward(self, plan: Plan) -> Logits:
        rows = self._engine.forward(plan)
        row = 0
        for span in plan.spans:
            end = span.start + len(span.tokens)
            for place in range(end - span.n_outputs, end):
                rows[row, self.script[place + 1]] = DICTATED
                if self.tempting is not None:
                    rows[row, self.tempting] = TEMPTING
                row += 1
        return rows


def answer(loop: Loop, prompt: Sequence[int], generation: Generation) -> Finish:
    """How an answer of exactly ``num_predict`` tokens ended."""
    ended: list[Finish] = []

    def sink(event: Event | CamaError) -> None:
        if isinstance(event, CamaError):
            raise event
        if not isinstance(event, Chunk):
            ended.append(event)

    loop.submit("benchmark", list(prompt), generation, sink)
    while not ended:
        loop.step()
    assert ended[0].eval_tokens == generation.num_predict
    return ended[0]
