"""Messages survive their way over the wire."""

import json

import pytest

from cama.core.generation import Chunk, Event, Logprob
from cama.runner.protocol import event_from_json, event_to_json
from tests.api.fakes import finish

BEST = Logprob(token=2, piece=bytes(range(256)), logprob=-0.25)
SCORED = Logprob(token=1, piece=b"", logprob=-9999.0, top=(BEST,))


@pytest.mark.parametrize(
    "event",
    [
        Chunk(text="é", n_tokens=2),
        Chunk(text="é", n_tokens=2, logprobs=(SCORED, BEST)),
        Chunk(text="", n_tokens=0, prompt_logprobs=(SCORED,)),
        finish(),
    ],
)
def test_event_comes_back_as_it_was(event: Event) -> None:
    assert event_from_json(json.loads(json.dumps(event_to_json(event)))) == event
