"""POST /api/embed and /api/embeddings: what is asked of the runner, and how it is answered."""

import asyncio
from array import array
from typing import Any

import httpx
import pytest

from cama.core.embedding import Embedded, Embedding
from cama.core.errors import EngineError, PromptTooLong
from tests.api.fakes import FakeRunner, FakeScheduler


async def post(
    api: httpx.AsyncClient, path: str = "/api/embed", **body: Any
) -> tuple[int, dict[str, Any]]:
    response = await api.post(path, json={"model": "embedder", **body})
    return response.status_code, response.json()


async def test_embed_answers_with_a_vector_for_each_text(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    status, reply = await post(api, input=["a", "", "three"])
    assert status == 200
    assert list(reply) == [
        "model", "embeddings", "total_duration", "load_duration", "prompt_eval_count",
    ]  # fmt: skip
    assert reply["model"] == "embedder"
    assert reply["embeddings"] == [[1, 0.5], [0, 0], [5, 2.5]]
    assert reply["prompt_eval_count"] == 6
    assert runner.embeddings == [Embedding(texts=("a", "", "three"))]


async def test_embed_passes_on_how(
    api: httpx.AsyncClient, runner: FakeRunner, scheduler: FakeScheduler
) -> None:
    asked: dict[str, Any] = {
        "truncate": False,
        "dimensions": 1,
        "keep_alive": "7m",
        "options": {"num_ctx": 64},
    }
    status, reply = await post(api, input="text", **asked)
    assert (status, reply["embeddings"]) == (200, [[4, 2]])
    assert runner.embeddings == [Embedding(texts=("text",), truncate=False, dimensions=1)]
    ((spec, keep_alive),) = scheduler.leases
    assert (spec.load.n_ctx, keep_alive) == (64, 420)


async def test_embeddings_answers_with_one_vector_as_the_model_made_it(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    assert await post(api, "/api/embeddings", prompt="four") == (200, {"embedding": [4, 2]})
    assert runner.embeddings == [Embedding(texts=("four",), normalise=False)]


@pytest.mark.parametrize(
    ("path", "body", "reply"),
    [
        ("/api/embed", {"input": ""}, {"model": "embedder", "embeddings": []}),
        ("/api/embed", {"input": []}, {"model": "embedder", "embeddings": []}),
        ("/api/embed", {"input": None}, {"model": "embedder", "embeddings": []}),
        ("/api/embed", {}, {"model": "embedder", "embeddings": []}),
        ("/api/embeddings", {"prompt": ""}, {"embedding": []}),
        ("/api/embeddings", {}, {"embedding": []}),
    ],
)
async def test_without_text_the_model_is_loaded(
    api: httpx.AsyncClient,
    scheduler: FakeScheduler,
    runner: FakeRunner,
    path: str,
    body: dict[str, Any],
    reply: dict[str, Any],
) -> None:
    assert await post(api, path, **body) == (200, reply)
    assert len(scheduler.leases) == 1
    assert not runner.embeddings


@pytest.mark.parametrize("wrong", [5, True, {"a": 1}, ["a", 1], [["a"]], ["a", None]])
async def test_input_of_another_type_is_refused_before_the_model_is_looked_for(
    api: httpx.AsyncClient, scheduler: FakeScheduler, wrong: Any
) -> None:
    status, reply = await post(api, model="nobody", input=wrong)
    assert (status, reply) == (400, {"error": "invalid input type"})
    assert not scheduler.leases


@pytest.mark.parametrize(
    ("field", "value"),
    [("truncate", "yes"), ("dimensions", "4"), ("dimensions", 1.5), ("options", []), ("model", 1)],
)
async def test_fields_of_a_wrong_type_are_refused(
    api: httpx.AsyncClient, field: str, value: Any
) -> None:
    status, reply = await post(api, **{"input": "x", field: value})
    assert status == 400
    assert f"EmbedRequest.{field}" in reply["error"]


@pytest.mark.parametrize(
    ("path", "name", "status", "error"),
    [
        ("/api/embed", "", 404, "model '' not found"),
        ("/api/embeddings", "", 400, "model is required"),
        ("/api/embed", "a b", 400, "invalid model name"),
        ("/api/embeddings", "a b", 400, "invalid model name"),
        ("/api/embed", "nobody", 404, 'model "nobody" not found, try pulling it first'),
        ("/api/embeddings", "nobody", 404, 'model "nobody" not found, try pulling it first'),
    ],
)
async def test_names_are_complained_about_in_the_words_of_ollama(
    api: httpx.AsyncClient, path: str, name: str, status: int, error: str
) -> None:
    assert await post(api, path, model=name) == (status, {"error": error})


async def test_errors_of_the_runner_are_answers(
    api: httpx.AsyncClient, scheduler: FakeScheduler
) -> None:
    text = "the input length exceeds the context length"
    for error, status in ((PromptTooLong(text), 400), (EngineError(text), 500)):
        scheduler.error = error
        assert await post(api, input="x") == (status, {"error": text})


async def test_a_model_that_generates_may_be_asked_to_embed(api: httpx.AsyncClient) -> None:
    status, reply = await post(api, model="chatty", input="four")
    assert (status, reply["embeddings"]) == (200, [[4, 2]])


async def test_numbers_are_written_with_the_digits_that_they_have(
    api: httpx.AsyncClient, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = array("f", [0.1, -1e-7, 1 / 3])

    async def embed(embedding: Embedding) -> Embedded:
        return Embedded(vectors=[values], prompt_tokens=1, truncated_tokens=3)

    monkeypatch.setattr(runner, "embed", embed)
    response = await api.post("/api/embed", json={"model": "embedder", "input": "x"})
    assert b'"embeddings":[[0.100000001,-1.00000001e-07,0.333333343]]' in response.content
    assert array("f", response.json()["embeddings"][0]) == values
    assert response.json()["truncated_tokens"] == 3


async def test_the_work_ends_when_the_request_does(
    api: httpx.AsyncClient, runner: FakeRunner, scheduler: FakeScheduler
) -> None:
    runner.going.clear()
    task = asyncio.create_task(post(api, input="x"))
    while not runner.embeddings:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (runner.n_ended, scheduler.n_active) == (1, 0)
