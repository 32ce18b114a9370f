"""Anthropic's requests as ours, and our answers as its replies."""

from dataclasses import replace
from typing import Any

import pytest

from cama.core.answer import Piece, ToolCall
from cama.core.errors import InvalidRequest, Unsupported
from cama.core.generation import Constraint, FinishReason
from cama.wire.answers import End, Event, Metrics, Part
from cama.wire.anthropic.replies import MessageReplies
from cama.wire.anthropic.request import CountRequest, MessagesRequest, check_version
from cama.wire.framing import Reply
from cama.wire.requests import Message
from cama.wire.tools import Tool, ToolChoice
from tests.api.fakes import finish

HI = {"role": "user", "content": "Hi"}
TOOL = {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}
CALL = {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def request(**fields: Any) -> MessagesRequest:
    return MessagesRequest.read({"model": "m", "max_tokens": 9, "messages": [HI], **fields})


def messages(*turns: Any, **fields: Any) -> tuple[Message, ...]:
    return request(messages=list(turns), **fields).chat.messages


def user(text: str) -> Message:
    return Message(role="user", content=text)


def test_a_request_becomes_a_chat() -> None:
    read = request(
        model=" m ", stream=True, temperature=0.5, top_p=0.9, top_k=7, stop_sequences=["END"],
        metadata={"user_id": "u"}, service_tier="standard_only", cache_control={"type": "x"},
        priority="batch", keep_alive="1m", options={"seed": 7, "num_predict": 1},
    )  # fmt: skip
    chat = read.chat
    assert (chat.model, chat.stream, chat.priority, chat.keep_alive) == ("m", True, "batch", 60)
    assert chat.messages == (user("Hi"),)
    assert chat.options == {
        "seed": 7, "num_predict": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 7, "stop": ["END"],
    }  # fmt: skip
    assert (chat.truncate, chat.shift) == (False, False)
    assert read.stop_sequences == ("END",)


def test_what_nobody_asked_for_is_left_to_the_model() -> None:
    chat = request(temperature=None, tools=None).chat
    assert chat.options == {"num_predict": 9}
    assert (chat.think, chat.format, chat.tools, chat.stream) == (None, None, (), False)


@pytest.mark.parametrize(
    ("system", "text"),
    [
        ("Be kind.", "Be kind."),
        ([{"type": "text", "text": "A"}, {"type": "text", "text": "B"}], "A\nB"),
    ],
)
def test_a_system_text_comes_first(system: Any, text: str) -> None:
    assert messages(HI, system=system) == (Message(role="system", content=text), user("Hi"))


@pytest.mark.parametrize("system", ["", [], None])
def test_an_empty_system_text_is_none(system: Any) -> None:
    assert messages(HI, system=system) == (user("Hi"),)


def test_blocks_and_turns_of_one_role_become_one_message() -> None:
    blocks = [
        {"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "B", "citations": []},
    ]
    assert messages({"role": "user", "content": blocks}, HI) == (user("A\nB\nHi"),)
    begun = [{"type": "text", "text": "The "}, {"type": "text", "text": "sky"}]
    answered = messages(HI, {"role": "assistant", "content": begun})
    assert answered[1] == Message(role="assistant", content="The sky")


def test_thoughts_calls_and_results_are_messages_as_ours() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "x"}
    second = {"type": "tool_use", "id": "t2", "name": "sub", "input": {}}
    text = {"type": "text", "text": "Let me see."}
    results = [
        {"type": "tool_result", "tool_use_id": "t1", "content": "3"},
        {"type": "tool_result", "tool_use_id": "t2", "is_error": True,
         "content": [{"type": "text", "text": "no"}, {"type": "text", "text": "way"}]},
        {"type": "text", "text": "Go on."},
    ]  # fmt: skip
    read = messages(
        HI,
        {"role": "assistant", "content": [thought, text, CALL, second]},
        {"role": "user", "content": results},
    )
    calls = (ToolCall("add", {"a": 1}, "t1", 0), ToolCall("sub", {}, "t2", 1))
    assert read[1:] == (
        Message(role="assistant", content="Let me see.", thinking="Hm.", tool_calls=calls),
        Message(role="tool", content="3", tool_name="add", tool_call_id="t1"),
        Message(role="tool", content="Error: no\nway", tool_name="sub", tool_call_id="t2"),
        user("Go on."),
    )


def test_a_result_may_be_empty() -> None:
    turns = [
        {"role": "assistant", "content": [CALL]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1"}]},
    ]
    assert messages(HI, *turns)[2].content == ""


def test_images_are_handed_on() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "aGk="}
    image = {"type": "image", "source": source}
    assert messages({"role": "user", "content": [image]})[0].images == ("aGk=",)


@pytest.mark.parametrize(
    ("choice", "expected", "parallel"),
    [
        (None, ToolChoice(), True),
        ({"type": "auto"}, ToolChoice("auto"), True),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("required"), False),
        ({"type": "tool", "name": "add"}, ToolChoice("required", "add"), True),
        ({"type": "none"}, ToolChoice("none"), True),
    ],
)
def test_tools_and_the_choice_among_them(choice: Any, expected: ToolChoice, parallel: bool) -> None:
    tool = {**TOOL, "input_schema": SCHEMA, "type": "custom", "cache_control": {}}
    chat = request(tools=[tool], tool_choice=choice).chat
    assert chat.tools == (Tool(name="add", description="Adds.", parameters=SCHEMA),)
    assert (chat.tool_choice, chat.parallel_tool_calls) == (expected, parallel)


@pytest.mark.parametrize(
    ("thinking", "effort", "think"),
    [
        (None, None, None),
        (None, "xhigh", "high"),
        (None, "max", "max"),
        ({"type": "disabled"}, "high", False),
        ({"type": "adaptive"}, None, None),
        ({"type": "adaptive"}, "low", "low"),
        ({"type": "enabled", "budget_tokens": 1024}, None, True),
        ({"type": "enabled", "budget_tokens": 1024, "display": "omitted"}, "high", "high"),
    ],
)
def test_how_to_think(thinking: Any, effort: Any, think: Any) -> None:
    config = {"effort": effort}
    read = request(max_tokens=2000, thinking=thinking, output_config=config)
    assert read.chat.think == think
    assert read.shows_thoughts == ("display" not in (thinking or {}))


def test_an_answer_can_be_held_to_a_schema() -> None:
    form = {"type": "json_schema", "schema": {"type": "string"}}
    chat = request(output_config={"format": form}).chat
    assert chat.format == Constraint(kind="json_schema", text='{"type": "string"}')


def block(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [fields]}]}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"model": ""}, "model"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [7]}, "messages[0]"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        (block(type="text"), "messages[0].content[0].text"),
        (block(type="text", text=7), "messages[0].content[0].text"),
        (block(type="document", source={}), "messages[0].content[0].type"),
        (block(type="tool_use", id="t", name="n"), "messages[0].content[0].type"),
        (block(type="tool_result", tool_use_id="t9"), "messages[0].content[0].tool_use_id"),
        (block(type="image", source={"type": "url", "url": "http://x"}),
         "messages[0].content[0].source.type"),
        ({"system": 7}, "system"),
        ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"top_k": 1.5}, "top_k"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"stop_sequences": [""]}, "stop_sequences"),
        ({"stream": 1}, "stream"),
        ({"tools": [{"type": "web_search_20260101", "name": "web"}]}, "tools[0].type"),
        ({"tools": [{"name": "x"}]}, "tools[0].input_schema"),
        ({"tools": [{**TOOL, "name": ""}]}, "tools[0]"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "x"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": "auto"}, "tool_choice"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "between_tools"}}, "thinking.type"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"metadata": {"user_id": 7}}, "metadata.user_id"),
        ({"service_tier": "fast"}, "service_tier"),
        ({"mcp_servers": [{"name": "x"}]}, "mcp_servers"),
        ({"priority": "urgent"}, "priority"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(fields: dict[str, Any], path: str) -> None:
    with pytest.raises((InvalidRequest, Unsupported)) as caught:
        request(**fields)
    assert caught.value.fields["field"] == path
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"mcp_servers": []}, None),
        ({"context_management": {"edits": [{}]}}, "context_management"),
        ({"speed": "standard"}, "speed"),
        ({"container": "c"}, "container"),
        ({"metadata": {"more": "x"}}, "metadata.more"),
        ({"messages": [{**HI, "name": "x"}]}, "messages[0].name"),
        ({"tools": [{**TOOL, "defer_loading": True}]}, "tools[0].defer_loading"),
        (block(type="text", text="x", more=1), "messages[0].content[0].more"),
        (block(type="text", text="x", citations=[{}]), "messages[0].content[0].citations"),
        (block(type="text", text="x", citations=None), None),
    ],
)
def test_what_has_no_effect_is_told(fields: dict[str, Any], path: str | None) -> None:
    assert request(**fields).ignored == ((path,) if path else ())


def test_thoughts_that_nobody_can_read_are_left_out() -> None:
    sealed = {"type": "redacted_thinking", "data": "xyz"}
    said = [sealed, {"type": "text", "text": "Hm."}]
    assert messages(HI, {"role": "assistant", "content": said})[1].content == "Hm."


def test_counting_needs_a_conversation_alone() -> None:
    body = {"model": "m", "messages": [HI], "system": "S", "tools": [TOOL], "max_tokens": 1}
    read = CountRequest.read(body)
    assert [message.role for message in read.chat.messages] == ["system", "user"]
    assert read.ignored == ("max_tokens",)


def test_versions_of_the_api() -> None:
    check_version("")
    check_version("2023-06-01")
    check_version("2026-10-21")
    with pytest.raises(InvalidRequest, match="2023-01-01 is not supported, 2023-06-01 and"):
        check_version("2023-01-01")


def end(reason: FinishReason = "stop", stop_string: str = "", **counts: int) -> End:
    made = replace(finish(reason, **counts), stop_string=stop_string)
    return End(Metrics(finish=made, total_seconds=1, load_seconds=0))


def replies(*events: Event, **fields: Any) -> list[Reply]:
    dialect = MessageReplies(request(**fields))
    return [reply for event in events for reply in dialect.write(event)]


def whole(*events: Event, **fields: Any) -> Reply:
    return MessageReplies(request(**fields)).whole(events)


def parts(*pieces: Piece) -> list[Event]:
    return [Part(piece) for piece in pieces]


ADD = ToolCall("add", {"a": 1, "b": "ü"}, "t1")


def test_a_whole_answer_has_its_blocks_in_order() -> None:
    pieces = parts(Piece(thinking="Hm"), Piece(thinking="."), Piece("Let "), Piece("me."))
    reply = whole(*pieces, *parts(Piece(tool_calls=(ADD,))), end(cached_tokens=4))
    assert reply["id"].startswith("msg_")
    assert reply["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": ""},
        {"type": "text", "text": "Let me."},
        {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1, "b": "ü"}},
    ]
    assert reply["stop_reason"] == "tool_use"
    assert reply["usage"] == {
        "input_tokens": 3,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 4,
        "output_tokens": 2,
    }


@pytest.mark.parametrize(
    ("ending", "reason", "sequence"),
    [
        (end(), "end_turn", None),
        (end(stop_string="END"), "stop_sequence", "END"),
        (end(stop_string="<model's own>"), "end_turn", None),
        (end("length", eval_tokens=9), "max_tokens", None),
        (end("length", eval_tokens=5), "model_context_window_exceeded", None),
        (end("length", eval_tokens=9, stop_string="END"), "stop_sequence", "END"),
    ],
)
def test_why_an_answer_ended_is_told_truly(ending: End, reason: str, sequence: str | None) -> None:
    said = Part(Piece("Hi"))
    reply = whole(said, ending, stop_sequences=["END"])
    delta = replies(said, ending, stop_sequences=["END"])[-2]["delta"]
    assert (reply["stop_reason"], reply["stop_sequence"]) == (reason, sequence)
    assert (delta["stop_reason"], delta["stop_sequence"]) == (reason, sequence)


def test_a_stream_has_its_events_in_order() -> None:
    events = replies(
        *parts(Piece(thinking="Hm"), Piece(thinking="."), Piece("Let "), Piece("me.")),
        *parts(Piece(tool_calls=(ADD, ToolCall("sub"))), Piece("Then.")),
        end(cached_tokens=4),
    )
    kinds = [(event["type"], event.get("index")) for event in events]
    start, delta, stop = "content_block_start", "content_block_delta", "content_block_stop"
    assert kinds == [
        ("message_start", None), ("ping", None),
        (start, 0), (delta, 0), (delta, 0), (stop, 0),
        (start, 1), (delta, 1), (delta, 1), (stop, 1),
        (start, 2), (delta, 2), (stop, 2),
        (start, 3), (delta, 3), (stop, 3),
        (start, 4), (delta, 4), (stop, 4),
        ("message_delta", None), ("message_stop", None),
    ]  # fmt: skip
    begun = events[0]["message"]
    assert (begun["content"], begun["stop_reason"], begun["model"]) == ([], None, "m")
    blocks = [event["content_block"] for event in events if event["type"] == start]
    assert blocks[0] == {"type": "thinking", "thinking": "", "signature": ""}
    assert blocks[2] == {"type": "tool_use", "id": "t1", "name": "add", "input": {}}
    assert blocks[3]["id"].startswith("toolu_")
    assert events[11]["delta"] == {
        "type": "input_json_delta",
        "partial_json": '{"a": 1, "b": "ü"}',
    }
    assert events[-2]["usage"]["cache_read_input_tokens"] == 4
    assert events[-2]["usage"]["output_tokens"] == 2


def test_an_empty_answer_has_no_blocks() -> None:
    assert whole(end())["content"] == []
    kinds = [event["type"] for event in replies(end())]
    assert kinds == ["message_start", "ping", "message_delta", "message_stop"]


def test_thoughts_that_nobody_wants_to_see_leave_their_block() -> None:
    thinking = {"type": "adaptive", "display": "omitted"}
    said = [*parts(Piece(thinking="Hm."), Piece("Hi")), end()]
    empty = {"type": "thinking", "thinking": "", "signature": ""}
    assert whole(*said, thinking=thinking)["content"] == [empty, {"type": "text", "text": "Hi"}]
    assert "Hm." not in str(replies(*said, thinking=thinking))


def test_a_stream_tells_the_tokens_of_its_prompt_at_once() -> None:
    dialect = MessageReplies(request())
    dialect.n_prompt_tokens = 7
    first, *_ = dialect.write(Part(Piece("Hi")))
    assert first["message"]["usage"]["input_tokens"] == 7
