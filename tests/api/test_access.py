"""Request ids, and the line in the log for each request."""

import logging
import re

import httpx
import pytest

from cama.api.app import create_app
from cama.core.keys import parse_keys
from cama.core.settings import Settings
from cama.store.store import Store
from tests.api.fakes import FakeRunner, FakeScheduler

GIVEN = "abc.DEF_1-2"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "cama.api.access")
    return caplog


def line(log: pytest.LogCaptureFixture) -> str:
    """The only line about a request."""
    (found,) = [one.getMessage() for one in log.records if one.name == "cama.api.access"]
    return found


async def test_an_id_comes_back(api: httpx.AsyncClient) -> None:
    response = await api.get("/api/version", headers={"X-Request-Id": GIVEN})
    assert response.headers["x-request-id"] == GIVEN
    assert response.headers["request-id"] == GIVEN


@pytest.mark.parametrize("given", ["", "a b", "a\tb", "ü", "x" * 129, "a/b", "<script>"])
async def test_an_id_of_odd_characters_is_replaced(api: httpx.AsyncClient, given: str) -> None:
    headers = {b"x-request-id": given.encode()}
    ids = [
        (await api.get("/api/version", headers=headers)).headers["x-request-id"] for _ in range(2)
    ]
    assert all(re.fullmatch("req_[0-9a-f]{24}", one) for one in ids)
    assert ids[0] != ids[1]


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/nope", {}),
        ("PUT", "/api/chat", {}),
        ("GET", "/", {"Origin": "http://evil.example"}),
        ("GET", "/", {"Host": "evil.example"}),
        ("OPTIONS", "/", {"Origin": "http://localhost"}),
    ],
)
async def test_refusals_have_ids_and_lines_too(
    api: httpx.AsyncClient, log: pytest.LogCaptureFixture, method: str, path: str,
    headers: dict[str, str],
) -> None:  # fmt: skip
    response = await api.request(method, path, headers=headers | {"x-request-id": GIVEN})
    assert response.headers["x-request-id"] == GIVEN
    assert f"id={GIVEN} method={method} path={path} status={response.status_code} " in line(log)


async def test_a_line_tells_sizes_and_time_and_not_what_was_said(
    api: httpx.AsyncClient, log: pytest.LogCaptureFixture
) -> None:
    body = b'{"model": "chatty", "prompt": "the secret"}'
    response = await api.post("/api/generate?token=hidden", content=body)
    sizes = f"received={len(body)} sent={len(response.content)}"
    assert re.fullmatch(
        rf"id=req_\w+ method=POST path=/api/generate status=200 {sizes} key=- ms=\d+\.\d", line(log)
    )
    assert "secret" not in log.text
    assert "hidden" not in log.text


async def test_a_line_names_a_key_and_does_not_tell_it(
    store: Store, scheduler: FakeScheduler, log: pytest.LogCaptureFixture
) -> None:
    keys = parse_keys("sk-0123456789")
    settings = Settings(models=store.root, api_keys=keys)
    transport = httpx.ASGITransport(create_app(settings, store, scheduler))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        await client.get("/api/version", headers={"x-api-key": "sk-0123456789"})
    assert f" key={keys[0].name} " in line(log)
    assert "0123456789" not in log.text


async def test_a_path_cannot_write_lines(
    api: httpx.AsyncClient, log: pytest.LogCaptureFixture
) -> None:
    await api.get("/a%0aid=forged%20status=200/" + "x" * 300)
    assert "\n" not in line(log)
    assert " status=404 " in line(log)
    assert len(line(log)) < 400


async def test_a_bug_has_an_id_and_a_line_too(
    api: httpx.AsyncClient, scheduler: FakeScheduler, log: pytest.LogCaptureFixture
) -> None:
    del scheduler.rows
    response = await api.get("/api/ps", headers={"x-request-id": GIVEN})
    assert response.status_code == 500
    assert response.headers["x-request-id"] == GIVEN
    assert " status=500 " in line(log)


async def test_a_stream_is_counted_to_its_end(
    api: httpx.AsyncClient, runner: FakeRunner, log: pytest.LogCaptureFixture
) -> None:
    runner.script = runner.script[:-1] * 50 + runner.script[-1:]
    response = await api.post("/api/generate", json={"model": "chatty", "prompt": "x"})
    assert f" sent={len(response.content)} " in line(log)
