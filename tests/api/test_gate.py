"""API keys: who is let in, and what follows from a key."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from cama.api.app import create_app
from cama.core.errors import InvalidSetting
from cama.core.keys import parse_keys
from cama.core.settings import Settings
from cama.store.store import Store
from tests.api.fakes import FakeRunner, FakeScheduler

KEY, OTHER = "sk-0123456789", "sk-9876543210"
MISSING = "an API key is missing: send the header 'Authorization: Bearer KEY', or set CAMA_API_KEY"
WRONG = "the API key is not one of this server's"


@pytest.fixture
async def guarded(
    store: Store, scheduler: FakeScheduler, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    """A server with a key in a setting, and one in a file."""
    file = tmp_path / "keys"
    file.write_text(f"{OTHER} robot batch team\n")
    settings = Settings(models=store.root, api_keys=parse_keys(KEY), api_key_file=file)
    transport = httpx.ASGITransport(create_app(settings, store, scheduler))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json"])
async def test_anybody_may_ask_whether_a_server_is_there_and_how_to_ask_it(
    guarded: httpx.AsyncClient, method: str, path: str
) -> None:
    assert (await guarded.request(method, path)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("GET", "/api/version"),
        ("HEAD", "/api/tags"),
        ("POST", "/api/generate"),
        ("DELETE", "/api/delete"),
        ("GET", "/nope"),
        ("GET", "/%2f"),
    ],
)
async def test_all_else_needs_a_key(guarded: httpx.AsyncClient, method: str, path: str) -> None:
    response = await guarded.request(method, path)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    if method != "HEAD":
        assert response.json() == {"error": MISSING}


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {OTHER} "},
        {"x-api-key": KEY},
        {"X-API-Key": OTHER, "Authorization": "Basic eDp5"},
        {"x-api-key": KEY, "Authorization": "Bearer something-else"},
    ],
)
async def test_a_key_opens(guarded: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert (await guarded.get("/api/version", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "complaint"),
    [
        ({"Authorization": f"Bearer {KEY}x"}, WRONG),
        ({"Authorization": f"Bearer {KEY} {OTHER}"}, WRONG),
        ({"x-api-key": KEY[:-1]}, WRONG),
        ({"Authorization": KEY}, MISSING),
        ({"Authorization": f"Basic {KEY}"}, MISSING),
        ({"Authorization": "Bearer"}, MISSING),
        ({"x-api-key": ""}, MISSING),
    ],
)
async def test_what_is_no_key_does_not_open(
    guarded: httpx.AsyncClient, headers: dict[str, str], complaint: str
) -> None:
    response = await guarded.get("/api/version", headers=headers)
    assert (response.status_code, response.json()) == (401, {"error": complaint})


async def test_other_dialects_hear_it_in_their_own_shape(guarded: httpx.AsyncClient) -> None:
    openai = (await guarded.post("/v1/chat/completions")).json()
    assert openai["error"]["type"] == "authentication_error"
    anthropic = (await guarded.post("/v1/messages")).json()
    assert anthropic["type"] == "error"
    assert anthropic["error"] == {"type": "authentication_error", "message": MISSING}


async def test_pages_are_told_before_they_are_asked_for_a_key(guarded: httpx.AsyncClient) -> None:
    response = await guarded.options("/api/chat", headers={"Origin": "http://localhost:3000"})
    assert response.status_code == 204


def test_a_bad_file_of_keys_keeps_the_server_from_starting(
    store: Store, scheduler: FakeScheduler, tmp_path: Path
) -> None:
    settings = Settings(models=store.root, api_key_file=tmp_path / "nowhere")
    with pytest.raises(InvalidSetting, match="CAMA_API_KEY_FILE"):
        create_app(settings, store, scheduler)


@pytest.mark.parametrize(
    ("key", "asked", "tenant", "priority"),
    [
        (KEY, None, parse_keys(KEY)[0].tenant, "interactive"),
        (KEY, "batch", parse_keys(KEY)[0].tenant, "batch"),
        (OTHER, None, "team", "batch"),
        (OTHER, "interactive", "team", "batch"),
    ],
)
async def test_a_key_has_its_own_cache_and_its_turn(
    guarded: httpx.AsyncClient, runner: FakeRunner, key: str, asked: str | None, tenant: str,
    priority: str,
) -> None:  # fmt: skip
    body = {"model": "chatty", "prompt": "Hi", "input": "Hi", "priority": asked}
    headers = {"x-api-key": key}
    assert (await guarded.post("/api/generate", json=body, headers=headers)).status_code == 200
    assert (await guarded.post("/api/embed", json=body, headers=headers)).status_code == 200
    assert runner.generations[0].tenant == tenant
    assert runner.generations[0].priority == runner.embeddings[0].priority == priority


async def test_without_keys_all_share_a_cache(api: httpx.AsyncClient, runner: FakeRunner) -> None:
    await api.post("/api/generate", json={"model": "chatty", "prompt": "Hi"})
    assert runner.generations[0].tenant == ""
