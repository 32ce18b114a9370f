"""The official OpenAI client talks to the server and notices nothing."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import httpx
import openai
import pydantic
import pytest

from tests.e2e.conftest import IMPORT, LOADED, World

pytestmark = [pytest.mark.e2e, pytest.mark.native]

MODEL = "guide"


@pytest.fixture
def client(server: World) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def test_client_chats(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "developer", "content": "You are a helpful assistant."},
            {"role": "user", "content": [{"type": "text", "text": LOADED.question}]},
        ],
    )
    (choice,) = answer.choices
    assert LOADED.key in (choice.message.content or "")
    assert choice.finish_reason == "stop"
    assert answer.usage
    assert answer.usage.prompt_tokens > 4
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_client_sees_what_was_cached(client: openai.OpenAI) -> None:
    def cached() -> int:
        answer = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": IMPORT.question}], max_tokens=1
        )
        assert answer.usage
        assert answer.usage.prompt_tokens_details
        return answer.usage.prompt_tokens_details.cached_tokens or 0

    cached()
    assert cached() > 0


def test_client_streams_what_it_gets_whole(client: openai.OpenAI) -> None:
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [
        {"role": "user", "content": IMPORT.question}
    ]
    whole = client.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    *chunks, last = client.chat.completions.create(
        model=MODEL,
        messages=messages,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert IMPORT.key in text
    assert len(chunks) > 10
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert last.usage
    assert whole.usage
    assert last.usage.completion_tokens == whole.usage.completion_tokens


def test_client_gets_several_choices(client: openai.OpenAI, endless: str) -> None:
    def texts(n: int, seed: int) -> list[str]:
        answer = client.chat.completions.create(
            model=endless,
            messages=[{"role": "user", "content": "Tell me"}],
            n=n,
            seed=seed,
            max_tokens=12,
        )
        assert [choice.index for choice in answer.choices] == list(range(n))
        assert all(choice.finish_reason == "length" for choice in answer.choices)
        return [choice.message.content or "" for choice in answer.choices]

    three = texts(3, seed=5)
    assert len(set(three)) == 3
    assert [texts(1, seed=seed)[0] for seed in (5, 6, 7)] == three


def test_client_streams_several_choices(client: openai.OpenAI) -> None:
    texts = ["", "", ""]
    for chunk in client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": IMPORT.question}],
        n=3,
        temperature=0,
        stream=True,
    ):
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
    assert len(set(texts)) == 1
    assert IMPORT.key in texts[0]


def test_client_gets_log_probabilities(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": IMPORT.question}],
        temperature=0,
        max_tokens=5,
        logprobs=True,
        top_logprobs=3,
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs
    assert logprobs.content
    assert answer.usage
    assert len(logprobs.content) == answer.usage.completion_tokens == 5
    for one in logprobs.content:
        assert len(one.top_logprobs) == 3
        assert one.token == one.top_logprobs[0].token
        assert one.logprob == one.top_logprobs[0].logprob <= 0
    text = b"".join(bytes(one.bytes or []) for one in logprobs.content).decode()
    assert text == answer.choices[0].message.content


def test_client_forbids_a_token(client: openai.OpenAI) -> None:
    def first(bias: dict[str, int]) -> str:
        answer = client.completions.create(
            model=MODEL, prompt="cama", max_tokens=1, temperature=0, logit_bias=bias
        )
        return answer.choices[0].text

    most_likely = first({})
    assert first({str(token): -100 for token in range(1000)}) != most_likely


class Cat(pydantic.BaseModel):
    mood: Literal["calm", "wild"]
    is_fed: bool


def test_client_parses_an_answer_of_a_form(client: openai.OpenAI, endless: str) -> None:
    answer = client.chat.completions.parse(
        model=endless,
        messages=[{"role": "user", "content": "Describe a cat."}],
        response_format=Cat,
        n=3,
    )
    assert all(isinstance(choice.message.parsed, Cat) for choice in answer.choices)


def test_client_completes(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model=MODEL, prompt=["cama", "cama"], max_tokens=4, temperature=0, n=2
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert len({choice.text for choice in answer.choices}) == 1
    assert answer.usage
    assert answer.usage.completion_tokens == 16
    parts = list(
        client.completions.create(
            model=MODEL, prompt="cama", max_tokens=4, temperature=0, stream=True
        )
    )
    assert "".join(part.choices[0].text for part in parts) == answer.choices[0].text


def test_client_scores_a_prompt(client: openai.OpenAI) -> None:
    """As evaluations do: the prompt's own tokens, with nothing or one token behind them."""

    text = "How do I import"

    def scored(max_tokens: int) -> openai.types.completion_choice.Logprobs:
        answer = client.completions.create(
            model=MODEL, prompt=text, echo=True, logprobs=1, temperature=0, max_tokens=max_tokens
        )
        (choice,) = answer.choices
        assert choice.text.startswith(text)
        assert choice.logprobs
        return choice.logprobs

    alone = scored(0)
    assert alone.tokens
    assert "".join(alone.tokens) == text
    assert alone.token_logprobs
    assert alone.token_logprobs[1:]
    assert all(value <= 0 for value in alone.token_logprobs[1:])
    assert alone.text_offset
    assert alone.text_offset[0] == 0
    followed = scored(1)
    assert followed.token_logprobs
    assert followed.token_logprobs[1:-1] == pytest.approx(alone.token_logprobs[1:], abs=1e-3)


def test_client_embeds(client: openai.OpenAI, shared_data: Path) -> None:
    (path, *_) = sorted((shared_data / "embedding").rglob("*.gguf"))
    texts = ["The cat sits outside.", "A cat is in the garden.", "Stocks fell sharply."]
    packed = client.embeddings.create(model=str(path), input=texts)  # the client asks for base64
    plain = client.embeddings.create(model=str(path), input=texts, encoding_format="float")
    vectors = [one.embedding for one in packed.data]
    for one, other in zip(vectors, plain.data, strict=True):
        assert one == pytest.approx(other.embedding)
        assert math.hypot(*one) == pytest.approx(1, abs=1e-4)
    assert packed.usage.prompt_tokens > 3
    short = client.embeddings.create(model=str(path), input=texts[0], dimensions=8).data[0]
    assert len(short.embedding) == 8


def test_client_embeds_with_any_model(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model=MODEL, input=["a", "b"])
    assert [one.index for one in answer.data] == [0, 1]
    assert len(answer.data[0].embedding) == 512
    ids = client.embeddings.create(model=MODEL, input=[[5, 6, 7]])
    assert ids.usage.prompt_tokens == 3


def test_client_lists_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["guide:latest"]
    assert client.models.retrieve(MODEL).id == MODEL


def test_client_gets_responses(client: openai.OpenAI) -> None:
    first = client.responses.create(model=MODEL, input=IMPORT.question, temperature=0)
    assert IMPORT.key in first.output_text
    assert first.status == "completed"
    assert client.responses.retrieve(first.id).output_text == first.output_text
    second = client.responses.create(
        model=MODEL, input=LOADED.question, previous_response_id=first.id, temperature=0
    )
    assert second.usage
    assert first.usage
    assert second.usage.input_tokens > first.usage.total_tokens
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)


def test_client_streams_responses(client: openai.OpenAI) -> None:
    with client.responses.stream(
        model=MODEL, input=IMPORT.question, temperature=0, store=False
    ) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(deltas) == final.output_text
    assert IMPORT.key in final.output_text
    assert len(deltas) > 10


def test_errors_are_the_clients_own(client: openai.OpenAI) -> None:
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [
        {"role": "user", "content": "x"}
    ]
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="nobody", messages=messages)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model=MODEL, messages=messages, temperature=9)
    assert wrong.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "many words " * 3000}]
        )
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError):
        client.files.list()


def test_a_client_that_leaves_cancels_its_answer(
    client: openai.OpenAI, server: World, endless: str
) -> None:
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [
        {"role": "user", "content": "x"}
    ]
    with client.chat.completions.create(
        model=endless, messages=messages, n=4, stream=True
    ) as stream:
        next(iter(stream))
    log = server.home / "server.log"
    deadline = time.monotonic() + 30
    while "/v1/chat/completions: the client went away" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_fields_without_effect_are_told(client: openai.OpenAI, server: World) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL,
        messages=[{"role": "user", "content": "x"}],
        max_tokens=1,
        metadata={"a": "b"},
        user="me",
    )
    assert raw.headers["x-cama-ignored"] == "metadata, user"
    assert isinstance(httpx.get(f"{server.url}/v1/models", trust_env=False).json()["data"], list)
