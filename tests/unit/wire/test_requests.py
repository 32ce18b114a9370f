import math
from typing import Any

import pytest

from cama.core.answer import ToolCall
from cama.core.errors import InvalidOption, InvalidRequest
from cama.wire.decode import Fields
from cama.wire.requests import (
    ChatRequest,
    CopyRequest,
    DeleteRequest,
    GenerateRequest,
    Message,
    ShowRequest,
)


def generate(**data: Any) -> GenerateRequest:
    return GenerateRequest.read(Fields(data, "GenerateRequest"))


def chat(**data: Any) -> ChatRequest:
    return ChatRequest.read(Fields(data, "ChatRequest"))


def test_generate_request_has_ollamas_defaults() -> None:
    found = generate()
    assert (found.model, found.prompt, found.raw) == ("", "", False)
    assert (found.stream, found.truncate, found.shift) == (True, True, True)
    assert (found.keep_alive, found.think, found.context) == (None, None, ())


def test_generate_request_trims_the_name() -> None:
    assert generate(model="  a:b ").model == "a:b"


def test_stream_is_off_only_when_it_is_false() -> None:
    assert [generate(stream=value).stream for value in (None, True, False)] == [True, True, False]


@pytest.mark.parametrize(
    ("value", "seconds"), [(0, 0.0), (1.5, 1.5), (-1, math.inf), ("1m", 60.0), ("-1s", math.inf)]
)
def test_keep_alive_is_in_seconds(value: object, seconds: float) -> None:
    assert generate(keep_alive=value).keep_alive == seconds


@pytest.mark.parametrize("value", ["5", "x", [], False])
def test_keep_alive_refuses_what_is_no_duration(value: object) -> None:
    with pytest.raises(InvalidOption):
        generate(keep_alive=value)


@pytest.mark.parametrize("value", [None, True, False, "low", "medium", "high", "max"])
def test_think_keeps_its_value(value: object) -> None:
    assert generate(think=value).think == value


@pytest.mark.parametrize("value", ["", "yes", 1, []])
def test_think_refuses_other_values(value: object) -> None:
    with pytest.raises(InvalidRequest, match="think"):
        generate(think=value)


def test_generate_request_refuses_a_context_of_other_things() -> None:
    with pytest.raises(InvalidRequest, match=r"GenerateRequest\.context"):
        generate(context=[1, "2"])


def test_chat_request_reads_messages() -> None:
    call = {"id": "x", "function": {"name": "f", "arguments": {"a": 1}}}
    (message,) = chat(
        messages=[
            {
                "Role": "Assistant",
                "content": None,
                "thinking": "hm",
                "tool_calls": [call],
                "tool_name": "n",
                "tool_call_id": "i",
            }
        ]
    ).messages
    assert message == Message(
        role="assistant",
        content="",
        thinking="hm",
        tool_calls=(ToolCall("f", {"a": 1}, "x"),),
        tool_name="n",
        tool_call_id="i",
    )


def test_chat_request_refuses_messages_that_are_no_list() -> None:
    with pytest.raises(InvalidRequest, match=r"ChatRequest\.messages"):
        chat(messages={"role": "user"})


@pytest.mark.parametrize("kind", [ShowRequest, DeleteRequest])
def test_requests_accept_the_old_key_when_model_is_empty(
    kind: type[ShowRequest] | type[DeleteRequest],
) -> None:
    assert kind.read(Fields({"model": "", "name": "a"}, kind.struct)).model == "a"
    assert kind.read(Fields({"model": "b", "name": "a"}, kind.struct)).model == "b"


def test_copy_request_has_two_names() -> None:
    found = CopyRequest.read(Fields({"source": "a", "destination": "b"}, "CopyRequest"))
    assert (found.source, found.destination) == ("a", "b")
