"""The field ``priority``, on every endpoint that makes a model work."""

from typing import Any

import httpx
import pytest

from tests.api.fakes import FakeRunner, FakeScheduler

REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("generate", {"model": "chatty", "prompt": "Hi"}),
    ("chat", {"model": "chatty", "messages": [{"role": "user", "content": "Hi"}]}),
    ("embed", {"model": "chatty", "input": "Hi"}),
    ("embeddings", {"model": "chatty", "prompt": "Hi"}),
    ("rerank", {"model": "chatty", "query": "Hi", "documents": ["Ho"]}),
]


@pytest.mark.parametrize(("path", "body"), REQUESTS)
@pytest.mark.parametrize(
    ("given", "priority"),
    [
        ({}, "interactive"),
        ({"priority": "interactive"}, "interactive"),
        ({"priority": "batch"}, "batch"),
    ],
)
async def test_priority_reaches_the_queue_for_the_model(
    api: httpx.AsyncClient,
    scheduler: FakeScheduler,
    path: str,
    body: dict[str, Any],
    given: dict[str, str],
    priority: str,
) -> None:
    response = await api.post(f"/api/{path}", json=body | given)
    assert response.status_code == 200, response.text
    assert scheduler.priorities == [priority]


async def test_priority_reaches_the_runner(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    for path, body in REQUESTS[:3]:
        await api.post(f"/api/{path}", json={**body, "priority": "batch", "stream": False})
    assert [one.priority for one in runner.generations] == ["batch", "batch"]
    assert [one.priority for one in runner.embeddings] == ["batch"]


@pytest.mark.parametrize("value", ["high", "BATCH", 1, ["batch"]])
@pytest.mark.parametrize(("path", "body"), REQUESTS[:3])
async def test_other_priorities_are_refused(
    api: httpx.AsyncClient, path: str, body: dict[str, Any], value: Any
) -> None:
    response = await api.post(f"/api/{path}", json={**body, "priority": value})
    assert response.status_code == 400
    assert "priority" in response.json()["error"]
