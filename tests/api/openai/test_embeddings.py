"""POST /v1/embeddings, POST /v1/rerank and GET /v1/models in process."""

import struct
from base64 import b64decode
from typing import Any

import httpx
import pytest

from tests.api.conftest import Create
from tests.api.fakes import FakeRunner

PATH = "/v1/embeddings"


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": "embedder", "input": "four", **fields}


async def test_a_text_becomes_a_vector(api: httpx.AsyncClient) -> None:
    body = (await api.post(PATH, json=ask())).json()
    assert body == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [4.0, 2.0]}],
        "model": "embedder",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }


async def test_vectors_can_be_packed(api: httpx.AsyncClient) -> None:
    for form in ("base64", "BASE64"):
        body = (await api.post(PATH, json=ask(input=["a", "bb"], encoding_format=form))).json()
        found = [struct.unpack("<2f", b64decode(one["embedding"])) for one in body["data"]]
        assert found == [(1.0, 0.5), (2.0, 1.0)]


async def test_token_ids_are_taken_as_they_are(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    await api.post(PATH, json=ask(input=[1, 2]))
    await api.post(PATH, json=ask(input=[[1], [2, 3]], dimensions=2))
    assert [asked.texts for asked in runner.embeddings] == [((1, 2),), ((1,), (2, 3))]
    assert runner.embeddings[1].dimensions == 2


async def test_a_text_that_does_not_fit_is_not_cut_unless_told(
    api: httpx.AsyncClient, runner: FakeRunner
) -> None:
    await api.post(PATH, json=ask())
    await api.post(PATH, json=ask(truncate=True))
    assert [asked.truncate for asked in runner.embeddings] == [False, True]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [None]}, "input"),
        ({"input": 1}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"model": None}, "model"),
    ],
)
async def test_what_is_wrong_is_named(
    api: httpx.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    response = await api.post(PATH, json=ask(**fields))
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_documents_are_ranked(api: httpx.AsyncClient) -> None:
    ask = {
        "model": "embedder",
        "query": "q",
        "documents": ["a", {"text": "ccc"}, "bb"],
        "top_n": 2,
        "return_documents": True,
    }
    body = (await api.post("/v1/rerank", json=ask)).json()
    assert body["results"] == [
        {"index": 1, "relevance_score": 1.5, "document": {"text": "ccc"}},
        {"index": 2, "relevance_score": 1.0, "document": {"text": "bb"}},
    ]
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"query": ""}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": [{"title": "x"}]}, "documents[0]"),
        ({"top_n": 0}, "top_n"),
    ],
)
async def test_what_is_wrong_with_a_ranking_is_named(
    api: httpx.AsyncClient, fields: dict[str, Any], param: str
) -> None:
    ask = {"model": "embedder", "query": "q", "documents": ["a"], **fields}
    response = await api.post("/v1/rerank", json=ask)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_models_are_listed(api: httpx.AsyncClient, create: Create) -> None:
    create("me/mine:tag", "")
    body = (await api.get("/v1/models")).json()
    assert body["object"] == "list"
    owners = {one["id"]: one["owned_by"] for one in body["data"]}
    assert owners["chatty:latest"] == "library"
    assert owners["me/mine:tag"] == "me"
    assert all(one["object"] == "model" and one["created"] > 0 for one in body["data"])


@pytest.mark.parametrize("name", ["chatty", "chatty:latest", "me/mine:tag"])
async def test_a_model_has_the_name_it_was_asked_by(
    api: httpx.AsyncClient, create: Create, name: str
) -> None:
    create("me/mine:tag", "")
    body = (await api.get(f"/v1/models/{name}")).json()
    assert (body["id"], body["object"]) == (name, "model")


async def test_an_unknown_model_is_a_404(api: httpx.AsyncClient) -> None:
    response = await api.get("/v1/models/nobody")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"
