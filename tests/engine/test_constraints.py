"""Structured answers of the real engines: whatever the model would say, the form is kept."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from benchmarks.make_model import TINY, make_model
from cama.core.errors import InvalidConstraint
from cama.core.generation import Constraint, ConstraintKind, Sampling
from cama.core.load import LoadOptions
from cama.engine.base import Engine, Logits, Plan
from cama.engine.llama.engine import LlamaEngine
from cama.engine.loop import Loop
from cama.engine.native.engine import NativeEngine
from tests.engine.schemas import AGE, SCHEMAS, thing
from tests.engine.sinks import GREEDY, Sink, drain, submit

pytestmark = pytest.mark.native

ENGINES: dict[str, Callable[..., Engine]] = {"native": NativeEngine.open, "llama": LlamaEngine.open}
DRAWS = [GREEDY, *(Sampling(temperature=1.0, top_k=0, top_p=1.0, seed=seed) for seed in (1, 2))]

CLOSING = {b'"', b"}", b"]", b":", b"{}"}


@dataclass
class Desk:
    """An engine with a loop for all requests of a test."""

    engine: Engine
    loop: Loop

    def answers(self, constraints: Mapping[str, Constraint | None], **options: Any) -> list[Sink]:
        """One request for each, its name the prompt; as many at once as fit."""
        sinks = [
            submit(self.loop, self.engine, name, name, constraint=constraint, **options)
            for name, constraint in constraints.items()
        ]
        drain(self.loop)
        return sinks

    def answer(self, constraint: Constraint | None, **options: Any) -> Sink:
        return self.answers({"Say": constraint}, **options)[0]


class Brief:
    """An engine whose model likes to close what it has opened."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        n_vocab = engine.info.n_vocab
        liking = math.log(n_vocab / 15)
        pieces = map(engine.tokenizer.piece, range(n_vocab))
        self._bias = np.array([liking * (piece in CLOSING) for piece in pieces], np.float32)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def forward(self, plan: Plan) -> Logits:
        return self._engine.forward(plan) + self._bias


OpenDesk = Callable[..., Desk]


@pytest.fixture(scope="module")
def bpe_model(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """Random weights for the byte-level vocabulary of GPT-2."""
    path = tmp_path_factory.mktemp("bpe") / "model.gguf"
    source = shared_data / "tokenizers" / "ggml-vocab-gpt-2.gguf"
    make_model(path, replace(TINY, n_layer=1, n_ff=256), "Q8_0", vocabulary=source)
    return path


@pytest.fixture(
    scope="module",
    params=[(engine, vocabulary) for vocabulary in ("spm", "bpe") for engine in ENGINES],
    ids="-".join,
)
def open_desk(
    tiny_model: Callable[..., Path], request: pytest.FixtureRequest
) -> Iterator[OpenDesk]:
    name, vocabulary = request.param
    spm = vocabulary == "spm"
    path = tiny_model("llama") if spm else request.getfixturevalue("bpe_model")
    opened: list[Engine] = []

    def make(n_ctx: int = 512, n_cells: int = 4096) -> Desk:
        load = LoadOptions(n_ctx=n_ctx, n_batch=128, n_cells=n_cells, n_parallel=8, n_threads=1)
        engine = ENGINES[name](path, load, "test", lambda _: None)
        opened.append(engine)
        return Desk(engine, Loop(engine))

    yield make
    for engine in opened:
        engine.close()


@pytest.fixture(scope="module")
def desk(open_desk: OpenDesk) -> Desk:
    return open_desk()


def schema_of(value: Any) -> Constraint:
    return Constraint(kind="json_schema", text=json.dumps(value))


def check(sink: Sink, schema: Any) -> None:
    assert sink.finish.reason == "stop"
    Draft202012Validator(schema).validate(json.loads(sink.text))


@pytest.mark.parametrize("sampling", DRAWS, ids=["greedy", "seed 1", "seed 2"])
def test_answers_are_instances_of_their_schemas(desk: Desk, sampling: Sampling) -> None:
    constraints = {name: schema_of(schema) for name, schema in SCHEMAS.items()}
    sinks = desk.answers(constraints, sampling=sampling, num_predict=300)
    whole = [
        (sink, schema)
        for sink, schema in zip(sinks, SCHEMAS.values(), strict=True)
        if sink.finish.reason == "stop"
    ]
    for sink, schema in whole:
        check(sink, schema)
    assert len(whole) >= 0.9 * len(SCHEMAS)


@pytest.mark.parametrize(
    ("kind", "text", "pattern"),
    [
        ("regex", "[0-9]{3}-[a-f]{1,4}!", "[0-9]{3}-[a-f]{1,4}!"),
        ("regex", "(ja|nein|ü{2,3}|😀)", "(ja|nein|ü{2,3}|😀)"),
        ("regex", "[0-9]{1,8}", "[0-9]{1,8}"),
        ("lark", 'start: "<" b{1,3} ">"\nb: /[xy]/ | "ß"', "<[xyß]{1,3}>"),
        ("gbnf", 'root ::= "yes" | no\nno ::= "no" "!"{1,2}', "yes|no!{1,2}"),
    ],
)
def test_answers_match_their_grammars(
    desk: Desk, kind: ConstraintKind, text: str, pattern: str
) -> None:
    for sampling in DRAWS:
        sink = desk.answer(Constraint(kind=kind, text=text), sampling=sampling)
        assert sink.finish.reason == "stop"
        assert re.fullmatch(pattern, sink.text), sink.text


def test_json_mode_gives_objects(open_desk: OpenDesk) -> None:
    engine = cast(Engine, Brief(open_desk().engine))
    desk = Desk(engine, Loop(engine))
    draws = [Sampling(temperature=1.0, top_k=0, top_p=1.0, seed=seed) for seed in range(8)]
    sinks = [desk.answer(Constraint(kind="json"), sampling=s, num_predict=200) for s in draws]
    whole = [json.loads(sink.text) for sink in sinks if sink.finish.reason == "stop"]
    assert len(whole) > 3
    assert all(isinstance(value, dict) for value in whole)
    assert len({sink.text for sink in sinks}) > 3


def test_answer_cut_by_its_length_says_so(desk: Desk) -> None:
    constraint = schema_of(thing({"name": {"type": "string"}}))
    finish = desk.answer(constraint, num_predict=5).finish
    assert (finish.reason, finish.eval_tokens) == ("length", 5)


def test_answer_that_is_whole_at_its_limit_is_whole(desk: Desk) -> None:
    finish = desk.answer(Constraint(kind="regex", text="x"), num_predict=1).finish
    assert (finish.reason, finish.eval_tokens) == ("stop", 1)


def test_stop_string_ends_a_structured_answer(desk: Desk) -> None:
    constraint = schema_of(thing({"first": AGE, "second": AGE}))
    sink = desk.answer(constraint, stop=('"second"',))
    assert sink.finish.reason == "stop"
    assert re.fullmatch(r'\{\s*"first"\s*:\s*\d+\s*,\s*', sink.text)


def test_answer_is_free_until_the_constraint_begins(open_desk: OpenDesk) -> None:
    text = "".join(chunk.text for chunk in open_desk().answer(None, num_predict=60).chunks)
    # Random weights write bytes that are no text: those are not in the mark
    mark = next(found[0] for found in re.finditer(r"[!-~]{2,4}", text[8:]))
    begins = text.index(mark) + len(mark)
    constraint = Constraint(kind="regex", text="[0-9]{4}", after=mark)
    sink = open_desk().answer(constraint, num_predict=80)
    assert sink.text[:begins] == text[:begins]
    assert re.fullmatch(r"\s*[0-9]{4}", sink.text[begins:])
    assert sink.finish.reason == "stop"


def test_different_grammars_in_one_batch_do_not_mix(desk: Desk) -> None:
    names = ["person", "enum", "uuid", "tuple", "reference", "any of", "pattern", "unicode keys"]
    constraints = {name: schema_of(SCHEMAS[name]) for name in names}
    sinks = desk.answers(constraints, sampling=Sampling(temperature=1.0, seed=4, top_k=20))
    for name, sink in zip(names, sinks, strict=True):
        check(sink, SCHEMAS[name])


def test_request_that_waited_for_cells_goes_on_with_its_grammar(open_desk: OpenDesk) -> None:
    schema = {"type": "array", "items": AGE, "minItems": 25, "maxItems": 25}
    requests = {f"{n}": schema_of(schema) for n in range(6)}
    sampling = Sampling(temperature=1.0, seed=1)
    sinks = open_desk(n_ctx=256, n_cells=256).answers(requests, sampling=sampling)
    assert sum(sink.finish.eval_tokens for sink in sinks) > 256
    for sink in sinks:
        check(sink, schema)


def test_window_that_shifts_does_not_disturb_the_grammar(open_desk: OpenDesk) -> None:
    schema = {"type": "array", "items": {"enum": [11, 22, 33]}, "minItems": 60, "maxItems": 60}
    sink = open_desk(n_ctx=64, n_cells=64).answer(schema_of(schema))
    assert sink.finish.shifted_tokens > 0
    check(sink, schema)


def test_constraint_that_refuses_nothing_leaves_every_token(open_desk: OpenDesk) -> None:
    sampling = Sampling(temperature=1.0, top_k=0, top_p=1.0, repeat_penalty=1.2, seed=9)
    everything = Constraint(kind="lark", text="start: <[*]>*")
    (
        free,
        constrained,
    ) = (  # each of an engine that has seen nothing: the same logits to the last bit
        open_desk().answer(constraint, sampling=sampling, num_predict=60)
        for constraint in (None, everything)
    )
    assert constrained.text == free.text
    assert constrained.finish.eval_tokens == free.finish.eval_tokens


def test_constraint_that_cannot_be_kept_is_refused_before_a_token(desk: Desk) -> None:
    sink = desk.answer(schema_of({"type": "strin"}))
    assert isinstance(sink.error, InvalidConstraint)
    assert sink.error.message == "invalid JSON schema in format: Invalid type: strin"
    assert len(sink.events) == 1


def test_same_seed_gives_the_same_structured_answer(open_desk: OpenDesk) -> None:
    sampling = Sampling(temperature=1.5, seed=11)
    constraint = schema_of(SCHEMAS["person"])
    texts = [open_desk().answer(constraint, sampling=sampling).text for _ in range(2)]
    assert texts[0] == texts[1]
