"""POST /api/plan: what a model would take."""

from typing import Any

import httpx
import pytest

from cama.core.errors import NotEnoughMemory
from tests.api.fakes import FakeScheduler


async def plan(api: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await api.post("/api/plan", json={"model": "chatty", **body})


async def test_plan_answers_without_loading(
    api: httpx.AsyncClient, scheduler: FakeScheduler
) -> None:
    found = (await plan(api)).json()
    assert found["model"] == "chatty"
    assert found["fits"] is True
    assert found["required"] == sum(item["bytes"] for item in found["items"])
    assert found["devices"][0]["name"] == "CPU"
    assert not scheduler.leases


@pytest.mark.parametrize("memory", [1000, "1KB"])
async def test_plan_takes_an_amount_of_memory(api: httpx.AsyncClient, memory: object) -> None:
    found = (await plan(api, memory=memory)).json()
    assert (found["fits"], found["available"], found["max_context_length"]) == (False, 1000, 0)


async def test_plan_takes_options(api: httpx.AsyncClient) -> None:
    found = (await plan(api, options={"num_ctx": 64}, parallel=3, cache_type="f32")).json()
    assert (found["context_length"], found["parallel"], found["cache_type"]) == (64, 3, "f32")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"memory": "a lot"}, "memory must be a size"),
        ({"memory": -1}, "memory must be a number of bytes"),
        ({"memory": True}, "memory must be a number of bytes"),
        ({"devices": [{"name": "GPU"}]}, "free must be a number of bytes"),
        ({"parallel": -1}, "parallel must be between 0 and 1024"),
        ({"cache_type": "q3_k"}, "unknown cache_type"),
    ],
)
async def test_plan_refuses_what_it_cannot_mean(
    api: httpx.AsyncClient, body: dict[str, Any], text: str
) -> None:
    response = await plan(api, **body)
    assert response.status_code == 400
    assert text in response.json()["error"]


async def test_plan_of_no_model(api: httpx.AsyncClient) -> None:
    response = await plan(api, model="nobody")
    assert (response.status_code, response.json()["error"]) == (404, "model 'nobody' not found")


async def test_a_model_that_is_too_large_is_an_error_as_ollama_has_it(
    api: httpx.AsyncClient, scheduler: FakeScheduler
) -> None:
    text = "model requires more system memory (9.5 GiB) than is available (8.0 GiB)"
    scheduler.error = NotEnoughMemory(text, needed=1, available=0)
    response = await api.post("/api/generate", json={"model": "chatty", "prompt": "Hi"})
    assert (response.status_code, response.json()) == (500, {"error": text})


async def test_a_load_says_what_it_will_take(
    api: httpx.AsyncClient, scheduler: FakeScheduler
) -> None:
    await api.post("/api/generate", json={"model": "chatty", "prompt": "Hi"})
    planned = (await plan(api)).json()["required"]
    assert scheduler.leases[0][0].memory_bytes == planned > 0
