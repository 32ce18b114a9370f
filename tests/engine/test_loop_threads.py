"""The loop between threads: cancelling, interrupting, stopping, sleeping."""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from cama.core.errors import CamaError, Interrupted, RunnerError
from cama.core.generation import Chunk, Event, Finish
from cama.engine.base import Plan
from cama.engine.loop import Loop
from tests.engine.fake import FakeEngine, after
from tests.engine.sinks import Sink, answer, drain, encode, generation, submit

PROMPT = "Count the camels of the caravan, please: "


@contextmanager
def _running(loop: Loop) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield thread
    finally:
        loop.stop()
        thread.join()


def test_cancel_while_the_prompt_is_read_leaves_the_others_alone() -> None:
    engine = FakeEngine(n_batch=8)
    loop = Loop(engine)
    cancelled = submit(loop, engine, "a", PROMPT)
    other = submit(loop, engine, "b", "x" + PROMPT, num_predict=5)
    loop.step()
    loop.cancel("a")
    drain(loop)
    assert not cancelled.events
    assert other.text == answer(FakeEngine(), "x" + PROMPT, num_predict=5).text


def test_cancel_while_generating_ends_the_events() -> None:
    engine = FakeEngine()
    loop = Loop(engine)
    sink = submit(loop, engine, "a", PROMPT)
    for _ in range(3):
        loop.step()
    loop.cancel("a")
    drain(loop)
    assert [type(event) for event in sink.events] == [Chunk] * 3


def test_cancel_before_the_first_pass_costs_nothing() -> None:
    engine = FakeEngine()
    loop = Loop(engine)
    sink = submit(loop, engine, "a", PROMPT)
    loop.cancel("a")
    assert not loop.step()
    assert (sink.events, engine.plans) == ([], [])


def test_cancel_of_a_waiting_request_lets_the_next_one_in() -> None:
    engine = FakeEngine(n_seq_max=1)
    loop = Loop(engine)
    submit(loop, engine, "a", PROMPT, num_predict=20)
    loop.step()
    submit(loop, engine, "b", PROMPT)
    last = submit(loop, engine, "c", PROMPT, num_predict=3)
    loop.step()
    loop.cancel("b")
    drain(loop)
    assert last.finish.eval_tokens == 3


def test_cancel_of_an_unknown_request_does_nothing() -> None:
    loop = Loop(FakeEngine())
    loop.cancel("nobody")
    assert not loop.step()


def test_sink_may_cancel_its_own_request() -> None:
    engine = FakeEngine()
    loop = Loop(engine)
    events: list[Event | CamaError] = []

    def sink(event: Event | CamaError) -> None:
        events.append(event)
        loop.cancel("a")

    loop.submit("a", encode(engine, PROMPT), generation(), sink)
    drain(loop)
    assert len(events) == 1


def test_cancel_aborts_the_chunk_that_is_computed() -> None:
    engine = FakeEngine(n_batch=16)
    loop = Loop(engine)
    cancelled = submit(loop, engine, "a", PROMPT)
    other = submit(loop, engine, "b", "x" + PROMPT, num_predict=5)
    _once(engine, lambda: loop.cancel("a"))
    loop.step()
    assert not engine.plans  # the pass was aborted
    drain(loop)
    assert not cancelled.events
    assert other.text == answer(FakeEngine(), "x" + PROMPT, num_predict=5).text


def test_cancel_of_one_token_does_not_abort_the_pass_of_others() -> None:
    engine = FakeEngine(n_batch=128)
    loop = Loop(engine)
    submit(loop, engine, "a", PROMPT)
    submit(loop, engine, "b", "x" + PROMPT, num_predict=5)
    loop.step()
    _once(engine, lambda: loop.cancel("a"))
    loop.step()
    assert len(engine.plans) == 2
    drain(loop)


def test_interruption_that_nobody_asked_for_is_an_error() -> None:
    engine = FakeEngine()
    loop = Loop(engine)
    sink = submit(loop, engine, "a", PROMPT)
    _once(engine, engine.interrupt)
    drain(loop)
    assert isinstance(sink.error, Interrupted)


def _once(engine: FakeEngine, action: Callable[[], None]) -> None:
    """Call ``action`` within the next pass."""

    def on_forward(plan: Plan) -> None:
        engine.on_forward = None
        action()

    engine.on_forward = on_forward


def test_run_answers_and_sleeps_and_answers_again() -> None:
    engine = FakeEngine(favourite=after(PROMPT, b"seven"))
    loop = Loop(engine)
    with _running(loop):
        for name in ("a", "b"):
            events: queue.SimpleQueue[Event | CamaError] = queue.SimpleQueue()
            loop.submit(name, encode(engine, PROMPT), generation(), events.put)
            texts = []
            while isinstance(event := events.get(timeout=30), Chunk):
                texts.append(event.text)
            assert "".join(texts) == "seven"
            assert isinstance(event, Finish)


def test_run_serves_many_threads() -> None:
    engine = FakeEngine(n_ctx=128, n_seq_max=4)
    loop = Loop(engine)
    expected = {f"{i} {PROMPT}": "" for i in range(12)}
    for prompt in expected:
        expected[prompt] = answer(FakeEngine(n_ctx=128), prompt, num_predict=20).text
    texts: dict[str, str] = {}

    def client(prompt: str) -> None:
        events: queue.SimpleQueue[Event | CamaError] = queue.SimpleQueue()
        loop.submit(prompt, encode(engine, prompt), generation(num_predict=20), events.put)
        text = ""
        while isinstance(event := events.get(timeout=30), Chunk):
            text += event.text
        texts[prompt] = text

    threads = [threading.Thread(target=client, args=(prompt,)) for prompt in expected]
    with _running(loop):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert texts == expected


def test_stop_gives_unfinished_requests_an_error() -> None:
    engine = FakeEngine(n_seq_max=1)
    loop = Loop(engine)
    running = submit(loop, engine, "running", PROMPT)
    waiting = submit(loop, engine, "waiting", PROMPT)
    loop.step()
    loop.stop()
    loop.run()
    for sink in (running, waiting):
        assert isinstance(sink.error, RunnerError)
        assert "unloaded" in sink.error.message


def test_submit_after_the_end_gives_an_error_at_once() -> None:
    engine = FakeEngine()
    loop = Loop(engine)
    loop.stop()
    loop.run()
    late, bad = Sink(), Sink()
    loop.submit("late", [1, 2], generation(), late)
    loop.submit("bad", [], generation(), bad)
    loop.cancel("late")
    assert isinstance(late.error, RunnerError)
    assert bad.error.message == "no input provided"


def test_stop_aborts_the_pass_that_is_computed() -> None:
    engine = FakeEngine()
    loop = Loop(engine)
    submit(loop, engine, "a", PROMPT)
    _once(engine, loop.stop)
    loop.run()
    assert not engine.plans


def test_run_that_fails_tells_every_request_and_its_caller() -> None:
    engine = FakeEngine()
    loop = Loop(engine)
    sink = submit(loop, engine, "a", PROMPT)

    def fail() -> None:
        raise ZeroDivisionError

    _once(engine, fail)
    with pytest.raises(ZeroDivisionError):
        loop.run()
    assert "log" in sink.error.message
