"""Whatever the schema and whatever the model: an answer that is finished is an instance."""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from jsonschema import Draft202012Validator

from cama.core.generation import Constraint, Sampling
from cama.core.load import LoadOptions
from cama.engine.base import Engine
from cama.engine.constraint.compiler import Compiler
from cama.engine.llama.engine import LlamaEngine
from cama.engine.loop import Loop
from cama.engine.native.engine import NativeEngine
from tests.engine.fake import N_VOCAB, ByteTokenizer
from tests.engine.random_schemas import Schema, Schemas
from tests.engine.sinks import GREEDY, Sink, drain, submit

pytestmark = [pytest.mark.native, pytest.mark.slow]

MODELS = [
    "native-llama", "native-qwen2", "native-qwen3", "llama-llama", "llama-qwen3",
    "toy-gemma3", "toy-granitehybrid", "toy-gpt-oss",
]  # fmt: skip
FEW = ["native-llama", "toy-gemma3", "toy-granitehybrid"]
EACH = 64
"""Schemas of each model: 512 in all."""

N_PREDICT = 100

BYTES = Compiler(ByteTokenizer(), N_VOCAB)


class Case(NamedTuple):
    engine: Engine
    schemas: list[Schema]


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest, tiny_model: Callable[..., Path]) -> Iterator[Case]:
    """A model, and schemas that no other one gets."""
    kind, name = request.param.split("-", 1)
    if kind == "toy":
        path = request.getfixturevalue("shared_data") / "toy" / f"{name}.gguf"
    else:
        path = tiny_model(name)
    open_engine: Callable[..., Engine] = NativeEngine.open if kind == "native" else LlamaEngine.open
    load = LoadOptions(n_ctx=512, n_cells=8192, n_batch=128, n_parallel=16, n_threads=1)
    engine = open_engine(path, load, "test", lambda _: None)
    source = Schemas(MODELS.index(request.param))
    yield Case(engine, [source.whole() for _ in range(EACH)])
    engine.close()


def constraint_of(schema: Schema, after: str = "") -> Constraint:
    text = json.dumps(schema, ensure_ascii=False)
    return Constraint(kind="json_schema", text=text, after=after)


def answers(case: Case, constraints: Sequence[Constraint | None], **options: Any) -> list[Sink]:
    """All in one loop; one half greedy, one half hot. Every pass takes a second."""
    ticks = count()
    loop = Loop(case.engine, clock=lambda: float(next(ticks)))
    sinks = []
    for n, constraint in enumerate(constraints):
        sampling = Sampling(temperature=1.2, top_k=0, top_p=1.0, seed=n) if n % 2 else GREEDY
        given = {"num_predict": N_PREDICT, "sampling": sampling, "constraint": constraint}
        sinks.append(submit(loop, case.engine, str(n), f"{n}. Say", **given | options))
    drain(loop)
    loop.check_integrity()
    while loop._cache.evict():
        pass
    return sinks


def is_whole(sink: Sink, schema: Schema) -> bool:
    """Whether the answer is finished; then it must be an instance."""
    if sink.finish.reason == "length":
        assert sink.finish.eval_tokens == N_PREDICT
        return False
    value = json.loads(sink.text)
    checker = Draft202012Validator.FORMAT_CHECKER
    Draft202012Validator(schema, format_checker=checker).validate(value)
    return True


def is_beginning(text: str, schema: Schema) -> bool:
    """Whether an answer may begin with ``text``; asked byte by byte, of another vocabulary."""
    guard = BYTES.guard(constraint_of(schema))
    for byte in text.encode():
        if not guard.allows(byte):
            return False
        guard.accept(byte)
    return True


@pytest.mark.parametrize("case", MODELS, indirect=True)
def test_finished_answers_are_instances(case: Case) -> None:
    sinks = answers(case, list(map(constraint_of, case.schemas)))
    n_whole = sum(map(is_whole, sinks, case.schemas))
    assert n_whole > EACH // 2


@pytest.mark.parametrize("case", FEW, indirect=True)
def test_guesses_do_not_break_the_form(case: Case) -> None:
    n_whole = n_proposed = 0
    for schema in case.schemas[:8]:  # few at once: more are not guessed ahead
        for sink in answers(case, [constraint_of(schema)] * 2, speculate=True):
            n_whole += is_whole(sink, schema)
            n_proposed += sink.finish.proposed_tokens
    assert n_whole > 6
    assert bool(n_proposed) == case.engine.info.can_cut


@pytest.mark.parametrize("case", FEW, indirect=True)
def test_answers_that_are_stopped_are_beginnings(case: Case) -> None:
    schemas = case.schemas[:24]
    sinks = answers(case, list(map(constraint_of, schemas)), stop=(",", '"a', "2"))
    for sink, schema in zip(sinks, schemas, strict=True):
        assert is_beginning(sink.text, schema), sink.text
    assert len({sink.text for sink in sinks}) > 8


@pytest.mark.parametrize("case", FEW, indirect=True)
def test_answers_behind_a_text_are_instances(case: Case) -> None:
    """The mark is what the model says anyway, as far as it is the same beside other requests."""
    free = answers(case, [None] * 16, num_predict=40)
    # Bytes that are no character, and an answer that ended, have no mark.
    marks = [sink.text[3:6] if sink.text[3:6].isascii() else "" for sink in free]
    constraints = [constraint_of(*pair) for pair in zip(case.schemas, marks, strict=False)]
    n_whole = 0
    for sink, schema, mark in zip(answers(case, constraints), case.schemas, marks, strict=False):
        begins = sink.text.find(mark) + len(mark)
        if sink.finish.reason == "stop" and mark in sink.text[:begins] and begins < len(sink.text):
            Draft202012Validator(schema).validate(json.loads(sink.text[begins:]))
            n_whole += 1
    assert n_whole > 1
