"""POST /api/rerank: documents by how well they answer."""

from typing import Any

import httpx
import pytest


async def post(api: httpx.AsyncClient, **body: Any) -> tuple[int, dict[str, Any]]:
    asked = {"model": "embedder", "query": "who?", "documents": ["ab", "abcd", "a"], **body}
    response = await api.post("/api/rerank", json=asked)
    return response.status_code, response.json()


async def test_the_best_document_comes_first(api: httpx.AsyncClient) -> None:
    status, reply = await post(api)
    assert status == 200
    assert reply["model"] == "embedder"
    assert reply["results"] == [
        {"index": 1, "relevance_score": 2},
        {"index": 0, "relevance_score": 1},
        {"index": 2, "relevance_score": 0.5},
    ]
    assert reply["prompt_eval_count"] == 3


async def test_top_n_limits_the_results(api: httpx.AsyncClient) -> None:
    for top_n, n in ((1, 1), (2, 2), (9, 3), (0, 3), (-1, 3)):
        _, reply = await post(api, top_n=top_n)
        assert len(reply["results"]) == n
    assert (await post(api, documents=[]))[1]["results"] == []


@pytest.mark.parametrize(
    ("field", "value", "status", "error"),
    [
        ("query", "", 400, "query is required"),
        ("documents", ["a", 1], 400, "documents must be an array of strings"),
        ("documents", "a", 400, "RerankRequest.documents"),
        ("top_n", "1", 400, "RerankRequest.top_n"),
        ("model", "", 400, "model is required"),
        ("model", "nobody", 404, 'model "nobody" not found'),
    ],
)
async def test_wrong_requests_are_refused(
    api: httpx.AsyncClient, field: str, value: Any, status: int, error: str
) -> None:
    got, reply = await post(api, **{field: value})
    assert got == status
    assert error in reply["error"]
