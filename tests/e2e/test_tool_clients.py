"""Thoughts, a call of a tool and the answer behind it, through every client's own package.

The model is told what to say, for clients of Ollama's API cannot demand a call.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anthropic
import ollama
import openai
import pytest
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_ollama import ChatOllama

from tests.e2e.conftest import LOCAL
from tests.e2e.speaker import MODEL, Speaker

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore")]

CALL = (
    "<think>",
    "hm",
    "</think>",
    "<tool_call>",
    '{"name": "weather", ',
    '"arguments": {"city": "Bern"}}',
    "</tool_call>",
)
QUESTION = "Is it cold in Bern?"
FOUND = "minus three"
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": PARAMETERS,
    },
}


@dataclass(frozen=True)
class Called:
    """What a client made of the first answer; ``again`` brings it what the tool gave."""

    thinking: str
    name: str
    arguments: dict[str, Any]
    again: Callable[[], str]


def weather(city: str) -> str:
    """The weather of a city.

    Args:
        city: Its name.
    """
    return FOUND


def ask_ollama(speaker: Speaker) -> Called:
    client = ollama.Client(speaker.url, **LOCAL)
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    parts = list(client.chat(MODEL, messages, tools=[weather], think=True, stream=True))
    (call,) = [call for part in parts for call in part.message.tool_calls or ()]
    thinking = "".join(part.message.thinking or "" for part in parts)
    messages += [
        ollama.Message(role="assistant", thinking=thinking, tool_calls=[call]),
        {"role": "tool", "content": FOUND, "tool_name": "weather"},
    ]

    def again() -> str:
        return client.chat(MODEL, messages, tools=[weather]).message.content or ""

    return Called(thinking, call.function.name, dict(call.function.arguments), again)


def openai_client(speaker: Speaker) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{speaker.url}/v1",
        api_key="any",
        max_retries=0,
        http_client=openai.DefaultHttpxClient(**LOCAL),
    )


def ask_openai(speaker: Speaker) -> Called:
    client = openai_client(speaker)
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    tools: Any = [TOOL]
    thinking = ""
    with client.chat.completions.stream(model=MODEL, messages=messages, tools=tools) as stream:
        for event in stream:
            if event.type == "chunk":
                thinking += getattr(event.chunk.choices[0].delta, "reasoning_content", "")
        message = stream.get_final_completion().choices[0].message
    (call,) = message.tool_calls or []
    messages += [message, {"role": "tool", "content": FOUND, "tool_call_id": call.id}]

    def again() -> str:
        answer = client.chat.completions.create(model=MODEL, messages=messages, tools=tools)
        return answer.choices[0].message.content or ""

    return Called(thinking, call.function.name, json.loads(call.function.arguments), again)


def ask_openai_responses(speaker: Speaker) -> Called:
    client = openai_client(speaker)
    tools: Any = [{"type": "function", **TOOL["function"], "strict": False}]
    with client.responses.stream(model=MODEL, input=QUESTION, tools=tools) as stream:
        deltas = [
            event.delta for event in stream if event.type == "response.reasoning_summary_text.delta"
        ]
        response = stream.get_final_response()
    (call,) = [item for item in response.output if item.type == "function_call"]

    def again() -> str:
        output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": FOUND}
        answer = client.responses.create(
            model=MODEL, input=[output], previous_response_id=response.id, tools=tools
        )
        return answer.output_text

    return Called("".join(deltas), call.name, json.loads(call.arguments), again)


def ask_anthropic(speaker: Speaker) -> Called:
    client = anthropic.Anthropic(
        base_url=speaker.url,
        api_key="any",
        max_retries=0,
        http_client=anthropic.DefaultHttpxClient(**LOCAL),
    )
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    fields: Any = {
        "model": MODEL, "max_tokens": 2000,
        "tools": [{"name": "weather", "input_schema": PARAMETERS}],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }  # fmt: skip
    with client.messages.stream(messages=messages, **fields) as stream:
        message = stream.get_final_message()
    thought, call = message.content
    assert isinstance(thought, anthropic.types.ThinkingBlock)
    assert isinstance(call, anthropic.types.ToolUseBlock)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": FOUND}
    messages += [message.to_param(), {"role": "user", "content": [result]}]

    def again() -> str:
        (block,) = client.messages.create(messages=messages, **fields).content
        return str(getattr(block, "text", ""))

    return Called(thought.thinking, call.name, dict(call.input), again)


def ask_langchain(speaker: Speaker) -> Called:
    model = ChatOllama(
        model=MODEL, base_url=speaker.url, reasoning=True, client_kwargs=LOCAL
    ).bind_tools([TOOL])
    messages: list[BaseMessage] = [HumanMessage(QUESTION)]
    whole: Any = AIMessageChunk(content="")
    for chunk in model.stream(messages):
        whole += chunk
    (call,) = whole.tool_calls
    messages += [whole, ToolMessage(FOUND, tool_call_id=call["id"], name="weather")]

    def again() -> str:
        return str(model.invoke(messages).content)

    return Called(whole.additional_kwargs["reasoning_content"], call["name"], call["args"], again)


def ask_litellm(speaker: Speaker) -> Called:
    import litellm  # the fixture closes what it keeps

    fields: dict[str, Any] = {
        "model": f"ollama_chat/{MODEL}",
        "api_base": speaker.url,
        "tools": [TOOL],
    }
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    chunks = list(litellm.completion(messages=messages, stream=True, **fields))
    answer: Any = litellm.stream_chunk_builder(chunks, messages=messages)
    message = answer.choices[0].message
    (call,) = message.tool_calls
    messages += [
        message.model_dump(),
        {"role": "tool", "content": FOUND, "tool_call_id": call.id, "name": "weather"},
    ]

    def again() -> str:
        answer: Any = litellm.completion(messages=messages, **fields)
        return str(answer.choices[0].message.content)

    arguments = json.loads(call.function.arguments)
    return Called(message.reasoning_content, call.function.name, arguments, again)


@pytest.mark.parametrize(
    "ask",
    [ask_ollama, ask_openai, ask_openai_responses, ask_anthropic, ask_langchain, ask_litellm],
)
@pytest.mark.usefixtures("litellm")
def test_client_calls_a_tool_and_brings_what_it_gave(
    speaker: Speaker, ask: Callable[[Speaker], Called]
) -> None:
    speaker.says(*CALL)
    called = ask(speaker)
    assert (called.thinking, called.name, called.arguments) == ("hm", "weather", {"city": "Bern"})
    assert "<tool_call>weather" in speaker.heard
    speaker.says("It ", "is.")
    assert called.again() == "It is."
    assert f"[user]{QUESTION}" in speaker.heard
    assert f"[tool]{FOUND}" in speaker.heard
