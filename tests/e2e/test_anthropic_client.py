"""The official Anthropic client talks to the server and notices nothing."""

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.e2e import test_tools
from tests.e2e.conftest import IMPORT, LOADED, PORT, World

caller = test_tools.caller

pytestmark = [pytest.mark.e2e, pytest.mark.native]

MODEL = "guide"


@pytest.fixture
def client(server: World) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=server.url,
        api_key="none-is-needed",
        max_retries=0,
        http_client=anthropic.DefaultHttpxClient(trust_env=False),
    ) as client:
        yield client


def ask(text: str) -> anthropic.types.MessageParam:
    return {"role": "user", "content": text}


def text_of(message: anthropic.types.Message) -> str:
    (block,) = message.content
    assert isinstance(block, anthropic.types.TextBlock)
    return block.text


def test_client_creates_a_message(client: anthropic.Anthropic) -> None:
    message = client.messages.create(model=MODEL, max_tokens=200, messages=[ask(IMPORT.question)])
    assert IMPORT.key in text_of(message)
    assert (message.role, message.model, message.stop_reason) == ("assistant", MODEL, "end_turn")
    assert message.stop_sequence is None
    assert message.usage.output_tokens > 5


def test_client_holds_a_conversation(client: anthropic.Anthropic) -> None:
    turns = [ask(LOADED.question)]
    first = client.messages.create(model=MODEL, max_tokens=200, messages=turns)
    assert LOADED.key in text_of(first)
    turns += [first.to_param(), ask(PORT.question)]
    second = client.messages.create(model=MODEL, max_tokens=200, messages=turns)
    assert PORT.key in text_of(second)
    assert (second.usage.cache_read_input_tokens or 0) > 5


def test_client_of_any_version_chooses_how_tokens_are_chosen(
    client: anthropic.Anthropic, endless: str
) -> None:
    """The newest version of the API has no temperature of its own; a model here has one."""
    texts = [
        text_of(
            client.messages.create(
                model=endless, max_tokens=8, messages=[ask("Hi")], extra_body={"temperature": 0},
                extra_headers={"anthropic-version": version},
            )
        )
        for version in ("2023-06-01", "2026-10-21")
    ]  # fmt: skip
    assert texts[0] == texts[1]


def test_client_streams_what_it_creates_whole(client: anthropic.Anthropic) -> None:
    whole = client.messages.create(model=MODEL, max_tokens=200, messages=[ask(IMPORT.question)])
    kinds: list[str] = []
    with client.messages.stream(
        model=MODEL, max_tokens=200, messages=[ask(IMPORT.question)]
    ) as stream:
        for event in stream:
            kinds.append(event.type)
        final = stream.get_final_message()
    assert text_of(final) == text_of(whole)
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert kinds.count("text") > 5
    n_prompt = final.usage.input_tokens + (final.usage.cache_read_input_tokens or 0)
    counted = client.messages.count_tokens(model=MODEL, messages=[ask(IMPORT.question)])
    assert counted.input_tokens == n_prompt


def test_client_is_told_why_an_answer_ended(client: anthropic.Anthropic) -> None:
    cut = client.messages.create(model=MODEL, max_tokens=3, messages=[ask(IMPORT.question)])
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 3)
    stopped = client.messages.create(
        model=MODEL, max_tokens=200, stop_sequences=["never", "model"],
        messages=[ask(IMPORT.question)],
    )  # fmt: skip
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "model")
    assert all("model" not in block.text for block in stopped.content if block.type == "text")


def test_client_counts_tokens(client: anthropic.Anthropic) -> None:
    short = client.messages.count_tokens(model=MODEL, messages=[ask("Hi")])
    long = client.messages.count_tokens(
        model=MODEL, system="Be kind to everybody.", messages=[ask("Hi there, how are you?")]
    )
    assert 0 < short.input_tokens < long.input_tokens


def test_client_counts_what_a_message_takes(client: anthropic.Anthropic, caller: str) -> None:
    system = [
        anthropic.types.TextBlockParam(type="text", text=text) for text in ("Be kind.", "Do.")
    ]
    tool = anthropic.types.ToolParam(name="weather", input_schema=test_tools.PARAMETERS)
    for thinking in ({"type": "adaptive"}, {"type": "disabled"}):
        asked: Any = {
            "model": caller, "messages": [ask("Weather?")], "system": system, "tools": [tool],
            "thinking": thinking,
        }  # fmt: skip
        counted = client.messages.count_tokens(**asked).input_tokens
        usage = client.messages.create(**asked, max_tokens=1).usage
        assert counted == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_client_gets_an_answer_of_a_schema(client: anthropic.Anthropic) -> None:
    schema = {
        "type": "object",
        "properties": {"ready": {"type": "boolean"}},
        "required": ["ready"],
        "additionalProperties": False,
    }
    message = client.messages.create(
        model=MODEL, max_tokens=50, messages=[ask("Hi")],
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )  # fmt: skip
    assert text_of(message).replace(" ", "") in ('{"ready":true}', '{"ready":false}')


def test_client_gets_errors_of_its_own_types(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="model 'nobody' not found") as missing:
        client.messages.create(model="nobody", max_tokens=5, messages=[ask("Hi")])
    assert missing.value.request_id
    with pytest.raises(anthropic.BadRequestError, match="'messages' must have"):
        client.messages.create(model=MODEL, max_tokens=5, messages=[])
    with pytest.raises(anthropic.BadRequestError, match="exceeds the context"):
        client.messages.create(model=MODEL, max_tokens=5, messages=[ask("word " * 5000)])


def test_client_gets_an_error_before_a_stream(client: anthropic.Anthropic) -> None:
    with (
        pytest.raises(anthropic.NotFoundError, match="model 'nobody' not found"),
        client.messages.stream(model="nobody", max_tokens=5, messages=[ask("Hi")]),
    ):
        pass


def test_client_that_leaves_a_stream_frees_the_server(
    client: anthropic.Anthropic, endless: str
) -> None:
    with client.messages.stream(model=endless, max_tokens=100_000, messages=[ask("Hi")]) as stream:
        for _ in zip(range(5), stream.text_stream, strict=False):
            pass
    after = client.messages.create(model=endless, max_tokens=2, messages=[ask("Hi")])
    assert after.usage.output_tokens == 2


def test_client_gets_a_forced_call_of_a_tool(client: anthropic.Anthropic, caller: str) -> None:
    with client.messages.stream(
        model=caller, max_tokens=300, messages=[ask("Weather?")],
        tools=[{"name": "weather", "input_schema": test_tools.PARAMETERS}],
        tool_choice={"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        thinking={"type": "disabled"}, extra_body={"temperature": 1.5, "options": {"seed": 1}},
    ) as stream:  # fmt: skip
        message = stream.get_final_message()
    (block,) = message.content
    assert isinstance(block, anthropic.types.ToolUseBlock)
    assert (block.name, message.stop_reason) == ("weather", "tool_use")
    assert isinstance(block.input, dict)
    assert block.input.keys() >= set(test_tools.PARAMETERS["required"])
