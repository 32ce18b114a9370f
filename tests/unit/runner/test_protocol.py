"""Messages survive their way over the wire."""

import json
from pathlib import Path

import pytest

from cama.core.generation import (
    Adapter,
    Chunk,
    Constraint,
    Event,
    Generation,
    Logprob,
    Sampling,
)
from cama.core.load import Draft, LoadOptions
from cama.runner.protocol import (
    RunnerConfig,
    event_from_json,
    event_to_json,
    generation_from_json,
    generation_to_json,
)
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


def test_generation_comes_with_its_adapters() -> None:
    adapter = Adapter(path=Path("/blobs/sha256-1"), digest="sha256:1", scale=0.5)
    sent = Generation(prompt="a", adapters=(adapter,))
    found = generation_from_json(json.loads(json.dumps(generation_to_json(sent))))
    assert found == sent
    assert found.adapters[0].path == adapter.path
    assert found.adapter == sent.adapter != Generation(prompt="a").adapter


@pytest.mark.parametrize(
    "generation",
    [
        Generation(prompt="é"),
        Generation(prompt=(1, 2), logprobs=3, echo=True, stop=("a",)),
        Generation(prompt="a", sampling=Sampling(logit_bias={0: -1.5, 31999: 100.0})),
        Generation(prompt="a", constraint=Constraint(kind="json")),
    ],
)
def test_generation_comes_back_as_it_was(generation: Generation) -> None:
    assert (
        generation_from_json(json.loads(json.dumps(generation_to_json(generation)))) == generation
    )


def test_configuration_comes_back_as_it_was() -> None:
    parts = (Path("/models/1"), Path("/models/2"))
    draft = Draft(path=Path("/models/small.gguf"), digest="ab", parts=parts)
    for load in (LoadOptions(n_ctx=7), LoadOptions(draft=draft), LoadOptions(parts=parts)):
        config = RunnerConfig(model_path=Path("/models/large.gguf"), load=load, secret="s")
        assert RunnerConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
