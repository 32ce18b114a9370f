"""``pull`` and ``push``, in a pipe."""

import pytest

from cama.cli.push import destination
from cama.store.names import ModelName
from tests.unit.cli.conftest import Cama, Outcome
from tests.unit.client.tiny_server import TinyServer

DIGEST = "sha256:" + "ab" * 32
PULL = (
    {"status": "pulling manifest"},
    {"status": "pulling abababababab", "digest": DIGEST, "total": 10},
    {"status": "pulling abababababab", "digest": DIGEST, "total": 10, "completed": 4},
    {"status": "pulling abababababab", "digest": DIGEST, "total": 10, "completed": 10},
    {"status": "success"},
)


def test_pull_writes_a_line_for_each_status(server: TinyServer, cama: Cama) -> None:
    server.answer("/api/pull", *PULL)
    lines = "pulling manifest\npulling abababababab\nsuccess\n"
    assert cama("pull", "m") == Outcome(0, "", lines)
    assert server.bodies("/api/pull") == [{"model": "m", "insecure": False}]


def test_pull_says_why_it_failed(server: TinyServer, cama: Cama) -> None:
    error = "pull model manifest: file does not exist"
    server.answer("/api/pull", PULL[0], {"error": error})
    assert cama("pull", "m", "--insecure") == Outcome(1, "", f"pulling manifest\nError: {error}\n")
    assert server.bodies("/api/pull") == [{"model": "m", "insecure": True}]


def test_text_of_a_registry_does_not_reach_the_terminal_raw(server: TinyServer, cama: Cama) -> None:
    server.answer("/api/pull", {"status": "\x1b[2Jpulling"}, {"error": "404: \x1b]0;x\x07"})
    assert cama("pull", "m") == Outcome(1, "", "[2Jpulling\nError: 404: ]0;x\n")


def test_push_tells_where_the_model_is(server: TinyServer, cama: Cama) -> None:
    server.answer("/api/push", {"status": "retrieving manifest"}, {"status": "success"})
    outcome = cama("push", "me/m")
    assert outcome == Outcome(
        0,
        "\nYou can find your model at:\n\n\thttps://ollama.com/me/m\n",
        "retrieving manifest\nsuccess\n",
    )


def test_push_explains_a_namespace_of_somebody_else(server: TinyServer, cama: Cama) -> None:
    server.answer("/api/push", {"error": "unauthorized: access denied"})
    text = (
        "you are not authorized to push to this namespace, "
        "create the model under a namespace you own"
    )
    assert cama("push", "m") == Outcome(1, "", f"Error: {text}\n")


@pytest.mark.parametrize("words", [["pull"], ["push"], ["pull", "a", "b"]])
def test_one_model_is_needed(cama: Cama, words: list[str]) -> None:
    outcome = cama(*words)
    assert outcome.status == 1
    assert "accepts 1 arg(s), received " in outcome.err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m", "https://ollama.com/m"),
        ("me/m:latest", "https://ollama.com/me/m"),
        ("me/m:q4", "https://ollama.com/me/m:q4"),
        ("localhost:5000/me/m", "localhost:5000/me/m:latest"),
    ],
)
def test_destination_is_where_people_look(name: str, text: str) -> None:
    assert destination(ModelName.parse(name)) == text
