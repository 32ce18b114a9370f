"""The official Ollama client talks to the server and notices nothing."""

from collections.abc import Iterator

import ollama
import pytest

from tests.e2e.conftest import IMPORT, LOADED, PORT, World

pytestmark = [pytest.mark.e2e, pytest.mark.native]

OPTIONS = {"temperature": 0, "num_predict": 12}
MODEL = "guide"


@pytest.fixture
def client(server: World) -> Iterator[ollama.Client]:
    with ollama.Client(server.url, trust_env=False) as client:
        yield client


def test_client_generates(client: ollama.Client) -> None:
    answer = client.generate(MODEL, IMPORT.question)
    assert IMPORT.key in (answer.response or "")
    assert answer.done
    assert answer.done_reason == "stop"
    assert answer.prompt_eval_count
    assert answer.prompt_eval_count > 4
    assert answer.total_duration
    assert answer.context


def test_client_limits_an_answer(client: ollama.Client) -> None:
    answer = client.generate(MODEL, IMPORT.question, options=OPTIONS)
    assert answer.done_reason == "length"
    assert answer.eval_count == 12


def test_client_streams_what_it_generates_whole(client: ollama.Client) -> None:
    whole = client.generate(MODEL, IMPORT.question)
    parts = list(client.generate(MODEL, IMPORT.question, stream=True))
    assert "".join(part.response or "" for part in parts) == whole.response
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert len(parts) > 10


def test_client_chats(client: ollama.Client) -> None:
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": LOADED.question},
    ]
    whole = client.chat(MODEL, messages)
    assert whole.message.role == "assistant"
    assert LOADED.key in (whole.message.content or "")
    messages += [
        {"role": "assistant", "content": whole.message.content or ""},
        {"role": "user", "content": PORT.question},
    ]
    parts = list(client.chat(MODEL, messages, stream=True))
    assert PORT.key in "".join(part.message.content or "" for part in parts)


def test_client_sees_the_loaded_model(client: ollama.Client) -> None:
    client.generate(MODEL, "x", options={"num_predict": 1}, keep_alive="10m")
    (loaded,) = client.ps().models
    assert loaded.model == "guide:latest"
    assert loaded.context_length == 2048
    assert loaded.expires_at


def test_client_unloads(client: ollama.Client) -> None:
    client.generate(MODEL, "x", options={"num_predict": 1})
    client.generate(MODEL, keep_alive=0)
    assert client.ps().models == []


def test_client_lists_copies_shows_and_deletes(client: ollama.Client, server: World) -> None:
    modelfile = server.home / "Modelfile"
    modelfile.write_text(f'FROM {MODEL}\nSYSTEM "Be kind."\nPARAMETER temperature 0\n')
    created = server.cama("create", "mine", "-f", str(modelfile))
    assert created.returncode == 0, created.stderr
    client.copy("mine", "yours")
    assert {m.model for m in client.list().models} == {
        "mine:latest",
        "yours:latest",
        "guide:latest",
    }
    shown = client.show("yours")
    assert shown.details
    assert shown.details.family == "llama"
    assert shown.capabilities == ["completion"]
    assert shown.modelinfo
    assert shown.modelinfo["llama.embedding_length"] == 512
    assert "Be kind." in (shown.modelfile or "")
    assert client.generate("mine", "Hello", options={"num_predict": 3}).eval_count == 3
    client.delete("mine")
    client.delete("yours")
    assert [m.model for m in client.list().models] == ["guide:latest"]


def test_client_gets_the_error_of_an_unknown_model(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="model 'nobody' not found") as caught:
        client.chat("nobody", [{"role": "user", "content": "x"}])
    assert caught.value.status_code == 404


def test_same_seed_gives_the_same_answer(client: ollama.Client, endless: str) -> None:
    options = {"seed": 7, "temperature": 1.2, "num_predict": 20}
    texts = {client.generate(endless, "Tell me", options=options).response for _ in range(3)}
    other = client.generate(endless, "Tell me", options=options | {"seed": 8}).response
    assert len(texts) == 1
    assert other not in texts
