from collections.abc import AsyncIterator

import httpx
import pytest

from cama.api.app import create_app
from cama.api.cors import Origins
from cama.core.errors import InvalidSetting
from cama.core.settings import Settings
from cama.store.store import Store
from tests.api.fakes import FakeScheduler

ALLOWED = [
    "http://localhost",
    "https://localhost",
    "http://localhost:3000",
    "https://127.0.0.1:8443",
    "http://0.0.0.0:1",
    "app://anything",
    "file://",
    "tauri://localhost",
    "vscode-webview://abc",
    "vscode-file://x",
]
REFUSED = [
    "http://evil.example",
    "http://localhost.evil.example",
    "https://127.0.0.1.evil.example",
    "chrome-extension://abc",
    "null",
]


@pytest.fixture
async def listed(store: Store, scheduler: FakeScheduler) -> AsyncIterator[httpx.AsyncClient]:
    """An application that lets one more site call."""
    settings = Settings(models=store.root, origins=("https://site.example",))
    transport = httpx.ASGITransport(create_app(settings, store, scheduler))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize("origin", ALLOWED)
async def test_cors_lets_local_pages_call(api: httpx.AsyncClient, origin: str) -> None:
    response = await api.get("/api/version", headers={"Origin": origin})
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == origin
    assert response.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize("origin", REFUSED)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_cors_refuses_other_pages(api: httpx.AsyncClient, origin: str, method: str) -> None:
    response = await api.request(method, "/api/tags", headers={"Origin": origin})
    complaint = f"the origin {origin} may not call: list it in CAMA_ORIGINS"
    assert (response.status_code, response.json()) == (403, {"error": complaint})


async def test_cors_answers_a_preflight(api: httpx.AsyncClient) -> None:
    response = await api.options("/api/chat", headers={"Origin": "http://localhost:3000"})
    headers = response.headers
    assert response.status_code == 204
    assert headers["access-control-allow-origin"] == "http://localhost:3000"
    assert headers["access-control-allow-methods"] == "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
    allowed = headers["access-control-allow-headers"].split(",")
    assert {"x-stainless-runtime-version", "X-Api-Key", "Anthropic-Version"} <= set(allowed)
    assert headers["access-control-max-age"] == "43200"


async def test_cors_leaves_requests_without_an_origin_alone(api: httpx.AsyncClient) -> None:
    response = await api.get("/api/version")
    assert "access-control-allow-origin" not in response.headers


async def test_cors_leaves_the_servers_own_pages_alone(api: httpx.AsyncClient) -> None:
    response = await api.get("/api/version", headers={"Origin": "https://127.0.0.1:11434"})
    assert response.status_code == 200
    own = {"Origin": "https://my-machine.local:1", "Host": "my-machine.local:1"}
    response = await api.get("/api/version", headers=own)
    assert response.status_code == 200
    assert "access-control-allow-origin" not in response.headers


async def test_cors_marks_refusals_of_the_api_too(api: httpx.AsyncClient) -> None:
    response = await api.post("/api/show", json={}, headers={"Origin": "http://localhost"})
    assert response.status_code == 400
    assert response.headers["access-control-allow-origin"] == "http://localhost"


async def test_cors_lets_listed_sites_call(listed: httpx.AsyncClient) -> None:
    for origin, status in (("https://site.example", 200), ("https://other.example", 403)):
        response = await listed.get("/api/version", headers={"Origin": origin})
        assert response.status_code == status


async def test_cors_answers_a_star_when_all_are_allowed(
    store: Store, scheduler: FakeScheduler
) -> None:
    settings = Settings(models=store.root, origins=("*",))
    transport = httpx.ASGITransport(create_app(settings, store, scheduler))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        response = await client.get("/", headers={"Origin": "https://any.example"})
    assert response.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "entry", ["*", "http://*.example", "chrome-extension://abc", "https://site.example"]
)
def test_origins_accept_entries_that_can_be_origins(entry: str) -> None:
    assert Origins([entry]).allow(entry.replace("*", "x"))


@pytest.mark.parametrize("entry", ["site.example", "ftp://site", "http://*.*.example"])
def test_origins_refuse_entries_that_cannot(entry: str) -> None:
    with pytest.raises(InvalidSetting, match="CAMA_ORIGINS"):
        Origins([entry])


def test_origins_take_other_characters_literally() -> None:
    assert not Origins(["https://a.example"]).allow("https://aXexample")
