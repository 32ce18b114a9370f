"""Structured answers as a user of the loop sees them, with an engine that says what it is told."""

import json
import re
import threading

import pytest

from cama.core.errors import EngineError, InvalidConstraint
from cama.core.generation import Constraint, Sampling
from cama.engine.loop import Loop
from tests.engine.fake import FakeEngine, after
from tests.engine.sinks import Sink, answer, drain, generation, submit

JSON = Constraint(kind="json")
WARM = Sampling(temperature=1.0, top_k=0, top_p=1.0, seed=3)


@pytest.mark.parametrize("text", ['{"a": [1, "ü"]}', "{}"])
def test_model_that_keeps_the_form_says_what_it_would_have_said(text: str) -> None:
    engine = FakeEngine(favourite=after("Say", text.encode()))
    assert answer(engine, "Say", constraint=JSON, sampling=WARM).text == text


@pytest.mark.parametrize("seed", range(5))
def test_constraint_that_is_kept_anyway_leaves_the_random_numbers(seed: int) -> None:
    sampling = Sampling(temperature=1.0, top_k=0, min_p=0.01, seed=seed)
    free = answer(FakeEngine(), "Say", sampling=sampling, num_predict=40).text
    constraint = Constraint(kind="regex", text=f"(?s:{re.escape(free)}.*)")
    options = {"sampling": sampling, "num_predict": 40}
    assert answer(FakeEngine(), "Say", constraint=constraint, **options).text == free


def test_answer_does_not_go_on_behind_its_end() -> None:
    engine = FakeEngine(favourite=after("Say", b'{"a": 1} and more'))
    sink = answer(engine, "Say", constraint=JSON)
    assert (sink.text, sink.finish.reason, sink.finish.eval_tokens) == ('{"a": 1}', "stop", 8)


def test_model_may_not_end_before_the_answer_is_whole() -> None:
    engine = FakeEngine(favourite=after("Say", b'{"a'))
    constraint = Constraint(kind="regex", text='\\{"a": [0-9]\\}')
    assert re.fullmatch(constraint.text, answer(engine, "Say", constraint=constraint).text)


def test_model_may_end_an_answer_that_is_whole() -> None:
    engine = FakeEngine(favourite=after("Say", b"aaa"))
    sink = answer(engine, "Say", constraint=Constraint(kind="regex", text="a+"))
    assert (sink.text, sink.finish.reason, sink.finish.eval_tokens) == ("aaa", "stop", 4)


def test_what_was_held_back_for_a_stop_string_goes_out_at_the_end() -> None:
    engine = FakeEngine(favourite=after("Say", b'{"a": 1}'))
    sink = answer(engine, "Say", constraint=JSON, stop=("1}!",))
    assert sink.text == '{"a": 1}'


def test_thinking_is_free_and_the_answer_is_not() -> None:
    said = b"<think>Hm: 1 + 1?</think>\n\nTwo"
    constraint = Constraint(kind="regex", text="[0-9]", after="</think>")
    sink = answer(FakeEngine(favourite=after("Say", said)), "Say", constraint=constraint)
    assert re.fullmatch(r"<think>Hm: 1 \+ 1\?</think>[0-9]", sink.text)


def test_answer_that_never_comes_to_its_constraint_is_free() -> None:
    engine = FakeEngine(favourite=after("Say", b"no answer"))
    sink = answer(engine, "Say", constraint=Constraint(kind="json", after="</think>"))
    assert (sink.text, sink.finish.reason) == ("no answer", "stop")


def test_bad_constraint_stops_nobody_else() -> None:
    engine = FakeEngine(favourite=after("Say", b"hello"))
    loop = Loop(engine)
    good = submit(loop, engine, "good", "Say")
    bad = submit(loop, engine, "bad", "Say", constraint=Constraint(kind="regex", text="("))
    drain(loop)
    assert isinstance(bad.error, InvalidConstraint)
    assert good.text == "hello"


def test_answer_that_outgrows_the_limits_fails_alone() -> None:
    schema = {"type": "object", "properties": {f"p{n}": {"type": "null"} for n in range(3000)}}
    engine = FakeEngine()
    loop = Loop(engine)
    constraint = Constraint(kind="json_schema", text=json.dumps(schema))
    bad = submit(loop, engine, "bad", "Say", constraint=constraint)
    good = submit(loop, engine, "good", "Other", num_predict=20)
    drain(loop)
    assert isinstance(bad.error, EngineError)
    assert "cannot be held to the wanted form" in bad.error.message
    assert good.finish.eval_tokens == 20


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_answer_that_is_guessed_ahead_keeps_its_form(temperature: float) -> None:
    said = b"[" + b'{"n": 1}, ' * 12 + b"0]"
    schema = {"type": "array", "items": {"type": "object", "required": ["n"]}, "maxItems": 9}
    constraint = Constraint(kind="json_schema", text=json.dumps(schema))
    sampling = Sampling(temperature=temperature, seed=1)
    guessed, plain = (
        answer(
            FakeEngine(favourite=after("Say", said)),
            "Say",
            constraint=constraint,
            sampling=sampling,
            speculate=speculate,
        )
        for speculate in (True, False)
    )
    assert guessed.finish.accepted_tokens  # how many is decided by measured times
    assert guessed.text == plain.text
    assert json.loads(guessed.text) == [{"n": 1}] * 9


def test_constraints_are_compiled_while_the_engine_runs() -> None:
    """Many threads hand in requests at once; one vocabulary table serves them all."""
    engine = FakeEngine(n_seq_max=16)
    loop = Loop(engine)
    sinks = [Sink() for _ in range(16)]

    def hand_in(n: int) -> None:
        constraint = Constraint(kind="regex", text=f"x{n % 4}y{{{n}}}")
        loop.submit(str(n), [65, n], generation(constraint=constraint), sinks[n])

    threads = [threading.Thread(target=hand_in, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        loop.step()
    drain(loop)
    assert [sink.text for sink in sinks] == [f"x{n % 4}{'y' * n}" for n in range(16)]
