"""The official Ollama client talks to the server and notices nothing."""

import base64
import json
import math
from collections.abc import Iterator
from pathlib import Path

import ollama
import pydantic
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


def test_client_goes_on_from_the_context_of_an_answer(client: ollama.Client) -> None:
    first = client.generate(MODEL, LOADED.question)
    second = client.generate(MODEL, PORT.question, context=first.context)
    assert second.response
    assert (second.prompt_eval_count or 0) > len(first.context or ())


def test_client_sends_a_raw_prompt_and_stops_where_it_says(client: ollama.Client) -> None:
    raw = client.generate(MODEL, "cama", raw=True, options=OPTIONS)
    assert raw.context is None
    assert (raw.prompt_eval_count or 0) < 4
    whole = client.generate(MODEL, IMPORT.question, options={"temperature": 0}).response or ""
    stop = whole[10:14]
    cut = client.generate(MODEL, IMPORT.question, options={"temperature": 0, "stop": [stop]})
    assert cut.response == whole[: whole.index(stop)]


class Cat(pydantic.BaseModel):
    is_fed: bool


def test_client_gets_an_answer_of_a_schema(client: ollama.Client, endless: str) -> None:
    answer = client.chat(
        endless, [{"role": "user", "content": "x"}], format=Cat.model_json_schema()
    )
    Cat.model_validate_json(answer.message.content or "")
    form = client.generate(endless, "x", format="json", options={"num_predict": 200})
    if form.done_reason == "stop":
        assert isinstance(json.loads(form.response or ""), dict)


def test_client_gets_log_probabilities(client: ollama.Client) -> None:
    answer = client.chat(
        MODEL, [{"role": "user", "content": IMPORT.question}], logprobs=True, top_logprobs=2,
        options=OPTIONS,
    )  # fmt: skip
    logprobs = answer.logprobs or ()
    assert len(logprobs) == answer.eval_count
    assert "".join(one.token for one in logprobs) == answer.message.content
    assert all(len(one.top_logprobs or ()) == 2 for one in logprobs)


def test_client_gets_vectors(client: ollama.Client) -> None:
    texts = ["one text", "another one"]
    vectors = client.embed(MODEL, texts).embeddings
    assert [len(vector) for vector in vectors] == [512] * 2
    short = client.embed(MODEL, texts[0], dimensions=16).embeddings[0]
    assert math.hypot(*short) == pytest.approx(1, abs=1e-4)
    plain = client.embeddings(MODEL, texts[0]).embedding
    length = math.hypot(*plain)
    assert [number / length for number in plain] == pytest.approx(vectors[0], abs=1e-4)
    with pytest.raises(ollama.ResponseError, match="exceeds the context length") as caught:
        client.embed(MODEL, "word " * 5000, truncate=False)
    assert caught.value.status_code == 400


def test_client_makes_models(client: ollama.Client, endless: str) -> None:
    digest = client.create_blob(Path(endless))
    made = list(
        client.create(
            "tiny", files={"tiny.gguf": digest}, template="{{ .Prompt }}", system="Be brief.",
            parameters={"num_predict": 2, "stop": ["x"]}, license="MIT", stream=True,
            messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}],
        )
    )  # fmt: skip
    assert made[-1].status == "success"
    assert client.create("heir", from_="tiny", system="Be long.").status == "success"
    shown = client.show("heir")
    assert shown.template == "{{ .Prompt }}"
    assert "num_predict" in (shown.parameters or "")
    assert shown.license == "MIT"
    assert "Be long." in (shown.modelfile or "")
    assert client.generate("heir", "Hello").eval_count in (1, 2)
    client.delete("tiny")
    assert client.generate("heir", "Hello").done
    client.delete("heir")


def _shout(text: str) -> str:
    return text.upper()


def test_client_is_told_what_a_model_cannot(client: ollama.Client) -> None:
    messages = [{"role": "user", "content": "x"}]
    with pytest.raises(ollama.ResponseError, match="does not support thinking"):
        client.chat(MODEL, messages, think=True)
    assert client.chat(MODEL, messages, think=False, options=OPTIONS).message.thinking is None
    with pytest.raises(ollama.ResponseError, match="does not support tools"):
        client.chat(MODEL, messages, tools=[_shout])
    with pytest.raises(ollama.ResponseError, match="does not support insert"):
        client.generate(MODEL, "x", suffix="y")
    image = base64.b64encode(b"no picture").decode()
    with pytest.raises(ollama.ResponseError):
        client.generate(MODEL, "x", images=[image], options=OPTIONS)
    with pytest.raises(ollama.ResponseError, match="must be of type integer"):
        client.generate(MODEL, "x", options={"top_k": "many"})


async def test_asynchronous_client_streams(server: World) -> None:
    messages = [{"role": "user", "content": IMPORT.question}]
    text = ""
    async with ollama.AsyncClient(server.url, trust_env=False) as client:
        async for part in await client.chat(MODEL, messages, stream=True):
            text += part.message.content or ""
        names = [model.model for model in (await client.list()).models]
    assert IMPORT.key in text
    assert names == ["guide:latest"]
