"""Frameworks that know Ollama and OpenAI by their own packages: LangChain and LiteLLM."""

from typing import Any

import pydantic
import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM

from tests.e2e.conftest import IMPORT, LOADED, LOCAL, World

pytestmark = [pytest.mark.e2e, pytest.mark.native, pytest.mark.filterwarnings("ignore")]

MODEL = "guide"


class Cat(pydantic.BaseModel):
    """A cat."""

    is_fed: bool


def test_langchain_chats_and_streams(server: World) -> None:
    model = ChatOllama(
        model=MODEL, base_url=server.url, temperature=0, client_kwargs=LOCAL,
        validate_model_on_init=True,
    )  # fmt: skip
    question = [SystemMessage("You are a helpful assistant."), HumanMessage(IMPORT.question)]
    answer = model.invoke(question)
    assert IMPORT.key in answer.content
    assert answer.usage_metadata
    assert answer.usage_metadata["output_tokens"] > 5
    chunks = list(model.stream(question))
    assert "".join(str(chunk.content) for chunk in chunks) == answer.content
    assert len(chunks) > 10


async def test_langchain_streams_asynchronously(server: World) -> None:
    model = ChatOllama(model=MODEL, base_url=server.url, temperature=0, client_kwargs=LOCAL)
    text = ""
    async for chunk in model.astream(LOADED.question):
        text += str(chunk.content)
    assert LOADED.key in text


def test_langchain_gets_structured_output(server: World, endless: str) -> None:
    model = ChatOllama(model=endless, base_url=server.url, client_kwargs=LOCAL)
    structured = model.with_structured_output(Cat, method="json_schema")
    assert isinstance(structured.invoke("Describe a cat."), Cat)


def test_langchain_embeds_and_completes(server: World) -> None:
    vectors = OllamaEmbeddings(model=MODEL, base_url=server.url, client_kwargs=LOCAL)
    many, one = vectors.embed_documents(["a text", "another"]), vectors.embed_query("a text")
    assert one == pytest.approx(many[0], abs=1e-5)
    llm = OllamaLLM(model=MODEL, base_url=server.url, temperature=0, client_kwargs=LOCAL)
    assert IMPORT.key in llm.invoke(IMPORT.question)


@pytest.mark.parametrize(
    ("prefix", "path"),
    [("ollama_chat", ""), ("ollama", ""), ("openai", "/v1"), ("anthropic", "")],
)
def test_litellm_chats_and_streams(server: World, litellm: Any, prefix: str, path: str) -> None:
    fields: dict[str, Any] = {
        "model": f"{prefix}/{MODEL}", "api_base": server.url + path, "api_key": "any",
        "messages": [{"role": "user", "content": IMPORT.question}], "temperature": 0,
        "max_tokens": 200,
    }  # fmt: skip
    answer: Any = litellm.completion(**fields)
    # As "ollama" it writes a prompt of its own, which the model has not learnt.
    assert prefix == "ollama" or IMPORT.key in answer.choices[0].message.content
    assert answer.usage.completion_tokens > 5
    chunks: Any = litellm.completion(**fields, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == answer.choices[0].message.content


@pytest.mark.parametrize(("prefix", "path"), [("ollama_chat", ""), ("openai", "/v1")])
def test_litellm_gets_structured_output(
    server: World, litellm: Any, endless: str, prefix: str, path: str
) -> None:
    answer: Any = litellm.completion(
        model=f"{prefix}/{endless}", api_base=server.url + path, api_key="any",
        messages=[{"role": "user", "content": "Describe a cat."}], response_format=Cat,
    )  # fmt: skip
    Cat.model_validate_json(answer.choices[0].message.content)


@pytest.mark.parametrize(("prefix", "path"), [("ollama", ""), ("openai", "/v1")])
def test_litellm_embeds(server: World, litellm: Any, prefix: str, path: str) -> None:
    answer: Any = litellm.embedding(
        model=f"{prefix}/{MODEL}", api_base=server.url + path, api_key="any", input=["a", "b"]
    )
    assert [len(one["embedding"]) for one in answer.data] == [512, 512]
