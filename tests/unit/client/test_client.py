"""The client against a real server on loopback."""

import socket
import threading
from typing import Any

import pytest

from cama.client.client import Client
from cama.core.errors import (
    CamaError,
    InvalidRequest,
    ModelNotFound,
    QueueFull,
    ServerUnavailable,
    Unauthorized,
)
from tests.unit.client.tiny_server import Answer, TinyServer


def unused_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_is_up_is_true_where_a_server_answers(client: Client) -> None:
    assert client.is_up()


def test_is_up_is_false_where_nobody_listens() -> None:
    assert not Client(f"http://127.0.0.1:{unused_port()}").is_up()


def test_version_is_the_servers(server: TinyServer, client: Client) -> None:
    server.answer("/api/version", {"version": "0.9.9"})
    assert client.version() == "0.9.9"


def test_tags_are_the_models_of_the_answer(server: TinyServer, client: Client) -> None:
    server.answer("/api/tags", {"models": [{"name": "a:latest"}]})
    assert client.tags() == [{"name": "a:latest"}]


def test_show_names_the_model(server: TinyServer, client: Client) -> None:
    server.answer("/api/show", {"details": {}})
    assert client.show("m", verbose=True) == {"details": {}}
    assert server.bodies("/api/show") == [{"model": "m", "verbose": True}]


def test_chat_gives_events_in_order(server: TinyServer, client: Client) -> None:
    events = [{"message": {"content": text}, "done": False} for text in "ab"]
    server.answer("/api/chat", *events)
    assert list(client.chat({"model": "m"})) == events


def test_delete_uses_the_method_delete(server: TinyServer, client: Client) -> None:
    server.answers["/api/delete"] = Answer([])
    client.delete("m")
    assert [(r.method, r.body) for r in server.requests] == [("DELETE", {"model": "m"})]


def test_copy_sends_both_names(server: TinyServer, client: Client) -> None:
    server.answers["/api/copy"] = Answer([])
    client.copy("a", "b")
    assert server.bodies("/api/copy") == [{"source": "a", "destination": "b"}]


def test_request_says_who_asks(server: TinyServer, client: Client) -> None:
    server.answer("/api/ps", {"models": []})
    client.ps()
    assert server.requests[0].headers["User-Agent"].startswith("cama/")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, InvalidRequest), (404, ModelNotFound), (503, QueueFull), (500, CamaError)],
)
def test_refusal_becomes_its_error(
    server: TinyServer, client: Client, status: int, kind: type[CamaError]
) -> None:
    server.answer("/api/show", {"error": "the reason"}, status=status)
    with pytest.raises(CamaError) as caught:
        client.show("m")
    assert type(caught.value) is kind
    assert caught.value.message == "the reason"


def test_refusal_of_a_stream_keeps_its_status_line(server: TinyServer, client: Client) -> None:
    server.answer("/api/chat", {"error": "no"}, status=400)
    with pytest.raises(InvalidRequest) as caught:
        next(client.chat({}))
    assert caught.value.fields["status_line"] == "400 Bad Request"


def test_unknown_path_is_not_a_missing_model(client: Client) -> None:
    with pytest.raises(CamaError, match=r"^the server answered 404 Not Found$") as caught:
        client.tags()
    assert type(caught.value) is CamaError


def test_error_line_ends_a_stream(server: TinyServer, client: Client) -> None:
    server.answer("/api/chat", {"message": {}}, {"error": "the runner died"})
    events = client.chat({})
    assert next(events) == {"message": {}}
    with pytest.raises(CamaError, match=r"^the runner died$"):
        next(events)


def test_nobody_listening_is_server_unavailable() -> None:
    with pytest.raises(ServerUnavailable, match="no server answers at"):
        Client(f"http://127.0.0.1:{unused_port()}").tags()


def test_broken_stream_is_server_unavailable(server: TinyServer, client: Client) -> None:
    server.answers["/api/chat"] = Answer([b'{"done": false}\n'], is_cut=True)
    with pytest.raises(ServerUnavailable, match="broke"):
        list(client.chat({}))


def test_closed_stream_is_cancelled_at_the_server(server: TinyServer, client: Client) -> None:
    server.answers["/api/generate"] = Answer([b'{"response": "x"}\n'], is_endless=True)
    events = client.generate({})
    next(events)
    events.close()
    assert server.was_left.wait(20)


@pytest.mark.parametrize("body", [b"not json\n", b"[1]\n", b"[" * 100_000, b"\xff\n"])
def test_stream_that_is_not_objects_is_an_error(
    server: TinyServer, client: Client, body: bytes
) -> None:
    server.answers["/api/chat"] = Answer([body])
    with pytest.raises(CamaError, match="not the JSON object"):
        list(client.chat({}))


@pytest.mark.parametrize("models", [{"models": 3}, {"models": ["a"]}])
def test_models_of_the_wrong_type_are_an_error(
    server: TinyServer, client: Client, models: Any
) -> None:
    server.answer("/api/tags", models)
    with pytest.raises(CamaError, match="'models'"):
        client.tags()


def test_proxy_of_the_environment_is_not_used(
    server: TinyServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")
    server.answer("/api/ps", {"models": []})
    assert client.ps() == []


def test_server_that_does_not_speak_http_is_not_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_greet, args=(listener,))
        thread.start()
        assert not Client(f"http://127.0.0.1:{listener.getsockname()[1]}").is_up()
        thread.join()


def _greet(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b"220 ready\r\n")


def test_a_key_goes_out_with_every_request(server: TinyServer) -> None:
    server.answer("/api/tags", {"models": []})
    server.answer("/api/chat", {"done": True})
    client = Client(server.url, "sk-0123456789")
    client.tags()
    list(client.chat({"model": "x"}))
    sent = [request.headers.get("Authorization") for request in server.requests]
    assert sent == ["Bearer sk-0123456789"] * 2


def test_without_a_key_none_goes_out(server: TinyServer, client: Client) -> None:
    server.answer("/api/tags", {"models": []})
    client.tags()
    assert "Authorization" not in server.requests[0].headers


def test_a_server_that_wants_a_key_is_an_error_of_its_own(
    server: TinyServer, client: Client
) -> None:
    server.answer("/api/tags", {"error": "an API key is missing"}, status=401)
    with pytest.raises(Unauthorized, match="an API key is missing"):
        client.tags()
