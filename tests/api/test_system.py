import httpx
import pytest

from cama import __version__


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_root_says_that_a_server_is_there(api: httpx.AsyncClient, method: str) -> None:
    response = await api.request(method, "/")
    assert response.status_code == 200
    assert response.text == ("Ollama is running" if method == "GET" else "")
    assert response.headers["content-type"].startswith("text/plain")


async def test_version_is_one_that_clients_talk_to(api: httpx.AsyncClient) -> None:
    found = (await api.get("/api/version")).json()
    assert found["cama"] == __version__
    numbers = tuple(map(int, found["version"].split(".")))
    assert numbers >= (0, 6, 4), "else Copilot refuses"


async def test_status_tells_that_there_is_no_cloud(api: httpx.AsyncClient) -> None:
    assert (await api.get("/api/status")).json() == {"cloud": {"disabled": True, "source": "none"}}


@pytest.mark.parametrize("path", ["/nope", "/api", "/api/tags/", "/api/generate/x"])
async def test_an_unknown_path_is_a_404(api: httpx.AsyncClient, path: str) -> None:
    response = await api.get(path)
    assert (response.status_code, response.json()) == (404, {"error": "404 page not found"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/generate"),
        ("POST", "/api/tags"),
        ("HEAD", "/api/ps"),
        ("POST", "/api/delete"),
        ("OPTIONS", "/api/chat"),
    ],
)
async def test_a_wrong_method_is_a_405(api: httpx.AsyncClient, method: str, path: str) -> None:
    # An address, for OPTIONS on a local name is answered by the host check.
    response = await api.request(method, path)
    assert response.status_code == 405
    if method != "HEAD":
        assert response.json() == {"error": "405 method not allowed"}


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/api/me", 401, "unauthorized"),
        ("/api/signout", 401, "you are not currently signed in"),
        (
            "/api/experimental/web_search",
            403,
            "ollama cloud is disabled: web search is unavailable",
        ),
        ("/api/experimental/web_fetch", 403, "ollama cloud is disabled: web fetch is unavailable"),
    ],
)
async def test_there_is_no_cloud(
    api: httpx.AsyncClient, path: str, status: int, error: str
) -> None:
    response = await api.post(path, json={})
    assert (response.status_code, response.json()) == (status, {"error": error})
    found = await api.get("/api/experimental/model-recommendations")
    assert found.json() == {"recommendations": []}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "missing request body"),
        (b" \n", "missing request body"),
        (b'{"model": ', "unexpected EOF"),
        (b"{x", "invalid character 'x' looking for beginning of object key string"),
        (b"[]", "json: cannot unmarshal array into Go value of type object"),
        (b"null", "model is required"),
        (b'{"model": 5}', "ChatRequest.model of type string"),
    ],
)
async def test_a_bad_body_is_a_400(api: httpx.AsyncClient, body: bytes, text: str) -> None:
    response = await api.post("/api/chat", content=body)
    assert response.status_code == 400
    assert text in response.json()["error"]


async def test_a_body_counts_whatever_its_type_and_what_follows(api: httpx.AsyncClient) -> None:
    response = await api.post(
        "/api/show",
        content=b'{"MODEL": "chatty", "unknown": [1]} and more',
        headers={"Content-Type": "text/plain"},
    )
    assert response.status_code == 200


async def test_a_huge_body_is_a_413(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cama.api.body.MAX_BODY_BYTES", 10)
    response = await api.post("/api/show", json={"model": "chatty"})
    assert response.status_code == 413
    assert response.json() == {"error": "the request body is larger than 10 bytes"}


async def test_a_long_body_is_decoded_like_a_short_one(api: httpx.AsyncClient) -> None:
    response = await api.post("/api/show", json={"model": "chatty", "padding": "x" * (1 << 20)})
    assert response.status_code == 200


async def test_json_can_be_put_into_html(api: httpx.AsyncClient) -> None:
    response = await api.request("DELETE", "/api/delete", json={"model": "<b>&"})
    assert b'name \\"\\u003cb\\u003e\\u0026\\" is invalid' in response.content


@pytest.mark.parametrize(
    ("request_", "status", "expected"),
    [
        (
            ("POST", "/v1/audio/transcriptions"),
            400,
            {
                "error": {
                    "message": "audio is not supported by this version of Cama",
                    "type": "invalid_request_error",
                    "param": "file",
                    "code": "unsupported_parameter",
                }
            },
        ),
        (
            ("POST", "/v1/files"),
            404,
            {
                "error": {
                    "message": "unknown URL: POST /v1/files",
                    "type": "not_found_error",
                    "param": None,
                    "code": None,
                }
            },
        ),
        (
            ("PUT", "/v1/audio/transcriptions"),
            405,
            {
                "error": {
                    "message": "/v1/audio/transcriptions is not for PUT",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": None,
                }
            },
        ),
        (
            ("POST", "/v1/messages/nope"),
            404,
            {
                "type": "error",
                "error": {
                    "type": "not_found_error",
                    "message": "unknown URL: POST /v1/messages/nope",
                },
                "request_id": "mine",
            },
        ),
    ],
)
async def test_errors_of_other_dialects_have_their_shape(
    api: httpx.AsyncClient, request_: tuple[str, str], status: int, expected: dict[str, object]
) -> None:
    response = await api.request(*request_, headers={"x-request-id": "mine"})
    assert (response.status_code, response.json()) == (status, expected)
    assert response.headers["content-type"].startswith("application/json")
