"""Embeddings in the loop: batches across requests, beside generations, cancelled, failing."""

import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from cama.core.errors import (
    CamaError,
    EngineError,
    Interrupted,
    InvalidRequest,
    PromptTooLong,
    RunnerError,
    Unsupported,
)
from cama.engine.base import Plan, Pooling, Vectors
from cama.engine.loop import Loop
from tests.engine.fake import FakeEngine
from tests.engine.sinks import answer, drain, submit

WIDTH = 4


def vector(text: Sequence[int]) -> Vectors:
    """What stands for a text: its tokens and their places change it."""
    values = np.array([(i + 1) * token for i, token in enumerate(text)], np.float32)
    return np.array([values.sum(), len(text), text[0], text[-1]], np.float32)


class EmbeddingEngine(FakeEngine):
    """Remembers its batches; ``on_embed`` runs within one, as another thread would meanwhile."""

    on_embed: Callable[[], None] | None = None
    pooling: Pooling = "mean"
    is_interrupted = False
    seconds = 0.0

    def __init__(self, n_batch: int = 64) -> None:
        super().__init__(n_batch=n_batch, on_forward=self._forwards)
        self.batches: list[list[Sequence[int]]] = []
        self.now = 0.0
        self.order: list[str] = []

    def embed(self, texts: Sequence[Sequence[int]]) -> Vectors:
        self.batches.append(list(texts))
        self.order.append("embed")
        self.is_interrupted = False
        self.now += self.seconds
        if self.on_embed is not None:
            self.on_embed()
        if self.is_interrupted:
            raise Interrupted("the pass was aborted")
        return np.array([vector(text) for text in texts])

    def interrupt(self) -> None:
        self.is_interrupted = True
        super().interrupt()

    def _forwards(self, plan: Plan) -> None:
        self.order.append("forward")
        self.now += 1.0


class Vessel:
    """A sink of one embedding."""

    def __init__(self) -> None:
        self.results: list[Vectors | CamaError] = []

    def __call__(self, result: Vectors | CamaError) -> None:
        self.results.append(result)

    @property
    def rows(self) -> Vectors:
        (result,) = self.results
        assert isinstance(result, np.ndarray), result
        return result

    @property
    def error(self) -> CamaError:
        (result,) = self.results
        assert isinstance(result, CamaError), result
        return result


def embed(loop: Loop, job_id: str, texts: Sequence[Sequence[int]]) -> Vessel:
    vessel = Vessel()
    loop.submit_embedding(job_id, texts, vessel)
    return vessel


def random_texts(n: int, longest: int, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, rng.integers(1, longest + 1)).tolist() for _ in range(n)]


def test_each_request_gets_the_vectors_of_its_texts_in_order() -> None:
    engine = EmbeddingEngine()
    loop = Loop(engine)
    asked = [random_texts(1 + 7 * i, 100, seed=i) for i in range(8)]
    vessels = [embed(loop, str(i), texts) for i, texts in enumerate(asked)]
    drain(loop)
    for texts, vessel in zip(asked, vessels, strict=True):
        assert np.array_equal(vessel.rows, [vector(text) for text in texts])
    for batch in engine.batches:
        assert len(batch) == 1 or sum(map(len, batch)) <= engine.info.n_batch
    assert sum(map(len, engine.batches)) == sum(map(len, asked))


def test_requests_share_batches_and_a_small_one_does_not_wait_for_a_large_one() -> None:
    engine = EmbeddingEngine()
    loop = Loop(engine)
    large = embed(loop, "large", [[1] * 10] * 100)
    small = embed(loop, "small", [[2] * 10])
    loop.step()
    assert len(small.results) == 1
    assert [1] * 10 in engine.batches[0]
    assert not large.results
    drain(loop)
    assert large.rows.shape == (100, WIDTH)


def test_a_long_text_is_not_passed_over_for_ever() -> None:
    engine = EmbeddingEngine()
    loop = Loop(engine)
    embed(loop, "many", [[1] * 10] * 1000)
    long = embed(loop, "long", [[2] * 200])
    loop.step()
    loop.step()
    assert len(long.results) == 1


def test_answers_and_embeddings_share_the_time() -> None:
    engine = EmbeddingEngine()
    engine.seconds = 5.0  # a step of the answer takes one
    loop = Loop(engine, clock=lambda: engine.now)
    sink = submit(loop, engine, "answer", "hello", num_predict=30)
    vessel = embed(loop, "texts", [[1] * 60] * 4)
    for _ in range(12):
        loop.step()
    assert engine.order[:13] == ["embed", *["forward"] * 5] * 2 + ["embed"]
    drain(loop)
    assert sink.text == answer(FakeEngine(), "hello", num_predict=30).text
    assert vessel.rows.shape == (4, WIDTH)


def test_a_cancelled_request_gets_nothing_and_others_all() -> None:
    engine = EmbeddingEngine()
    loop = Loop(engine)
    gone = embed(loop, "gone", [[1] * 40] * 5)
    stays = embed(loop, "stays", [[2] * 10] * 5)
    loop.step()
    loop.cancel("gone")
    loop.cancel("unknown")
    drain(loop)
    assert not gone.results
    assert stays.rows.shape == (5, WIDTH)
    assert sum([1] * 40 in batch for batch in engine.batches) == 1


def test_the_batch_of_a_cancelled_request_is_aborted() -> None:
    engine = EmbeddingEngine()
    loop = Loop(engine)
    vessel = embed(loop, "gone", [[1] * 200] * 5)
    engine.on_embed = lambda: loop.cancel("gone")
    drain(loop)
    assert not vessel.results
    assert len(engine.batches) == 1


def test_a_batch_is_not_aborted_while_somebody_wants_it() -> None:
    engine = EmbeddingEngine()
    loop = Loop(engine)
    embed(loop, "gone", [[1] * 10])
    stays = embed(loop, "stays", [[2] * 10])
    engine.on_embed = lambda: loop.cancel("gone")
    drain(loop)
    assert np.array_equal(stays.rows, [vector([2] * 10)])
    assert len(engine.batches) == 1


def test_a_batch_that_was_aborted_for_another_reason_is_done_again() -> None:
    engine = EmbeddingEngine()
    loop = Loop(engine)
    texts = random_texts(9, 30)
    first, second = embed(loop, "first", texts[:4]), embed(loop, "second", texts[4:])
    engine.on_embed = lambda: loop._interrupt() if len(engine.batches) == 1 else None
    drain(loop)
    assert np.array_equal(first.rows, [vector(text) for text in texts[:4]])
    assert np.array_equal(second.rows, [vector(text) for text in texts[4:]])


def test_a_failure_ends_the_requests_of_its_batch() -> None:
    engine = EmbeddingEngine()
    loop = Loop(engine)

    def fail() -> None:
        raise EngineError("the device is gone")

    engine.on_embed = fail
    vessel = embed(loop, "first", [[1] * 40] * 3)
    drain(loop)
    assert vessel.error.message == "the device is gone"
    engine.on_embed = None
    again = embed(loop, "first", [[1] * 40] * 3)
    drain(loop)
    assert again.rows.shape == (3, WIDTH)


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        ([], InvalidRequest),
        ([[1], []], InvalidRequest),
        ([[-1]], InvalidRequest),
        ([[10_000]], InvalidRequest),
        ([["a"]], InvalidRequest),
        ([[1] * 257], PromptTooLong),
    ],
)
def test_what_cannot_be_embedded_is_refused(texts: list[list[int]], kind: type[CamaError]) -> None:
    loop = Loop(EmbeddingEngine())
    vessel = embed(loop, "wrong", texts)
    assert not drain(loop)
    assert type(vessel.error) is kind


def test_an_engine_that_cannot_embed_says_so() -> None:
    loop = Loop(FakeEngine())
    vessel = embed(loop, "any", [[1]])
    drain(loop)
    assert isinstance(vessel.error, Unsupported)
    assert vessel.error.message == "this model does not support embeddings"


def test_the_end_of_the_loop_ends_requests() -> None:
    engine = EmbeddingEngine()
    loop = Loop(engine)
    engine.on_embed = loop.stop
    waiting = embed(loop, "waiting", [[1] * 200] * 9)
    thread = threading.Thread(target=loop.run)
    thread.start()
    thread.join(20)
    late = embed(loop, "late", [[1]])
    for vessel in (waiting, late):
        assert isinstance(vessel.error, RunnerError)
        assert "unloaded" in vessel.error.message


def test_a_sink_that_fails_harms_nobody() -> None:
    engine = EmbeddingEngine()
    loop = Loop(engine)

    def fail(result: Vectors | CamaError) -> None:
        raise ValueError("a bug")

    loop.submit_embedding("bad", [[1]], fail)
    good = embed(loop, "good", [[1]])
    drain(loop)
    assert len(good.rows) == 1
