"""POST /api/tokenize and /api/detokenize."""

from typing import Any

import httpx
import pytest


async def tokenize(api: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    response = await api.post("/api/tokenize", json={"model": "chatty", **body})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


@pytest.mark.parametrize("key", ["text", "content", "prompt"])
async def test_tokenize_takes_a_text_by_any_name(api: httpx.AsyncClient, key: str) -> None:
    found = await tokenize(api, **{key: "ab"})
    assert found == {"model": "chatty", "tokens": [99, 100], "count": 2}


async def test_tokenize_adds_special_tokens_only_when_asked(api: httpx.AsyncClient) -> None:
    assert (await tokenize(api, text="a", add_special=True))["tokens"] == [1, 99]
    assert (await tokenize(api, text=""))["tokens"] == []


async def test_tokenize_shows_parts_of_characters_as_bytes(api: httpx.AsyncClient) -> None:
    found = await tokenize(api, text="aé", with_pieces=True)
    assert found["pieces"] == ["a", [0xC3], [0xA9]]


async def test_detokenize_is_the_way_back(api: httpx.AsyncClient) -> None:
    tokens = (await tokenize(api, text="aé🐪"))["tokens"]
    response = await api.post("/api/detokenize", json={"model": "chatty", "tokens": tokens})
    assert response.json() == {"model": "chatty", "text": "aé🐪"}


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("tokenize", {}, 400, "tokenize needs one of text, content and prompt"),
        ("tokenize", {"text": "a", "content": "a"}, 400, "needs one of text"),
        ("tokenize", {"text": 3}, 400, "cannot unmarshal number"),
        ("detokenize", {"tokens": [300]}, 400, "a token id that the model does not have"),
        ("detokenize", {"tokens": [-1]}, 400, "a token id that the model does not have"),
        ("detokenize", {"tokens": ["a"]}, 400, "cannot unmarshal string"),
        ("detokenize", {"model": "nobody", "tokens": []}, 404, "model 'nobody' not found"),
        ("tokenize", {"model": "", "text": "a"}, 400, "model is required"),
    ],
)
async def test_tokens_that_cannot_be(
    api: httpx.AsyncClient, path: str, body: dict[str, Any], status: int, text: str
) -> None:
    response = await api.post(f"/api/{path}", json={"model": "chatty", **body})
    assert response.status_code == status
    assert text in response.json()["error"]
