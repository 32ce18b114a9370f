"""Nothing that a request says is dropped silently: a header names what has no effect."""

from typing import Any

import httpx
import pytest

TURN = {"role": "user", "content": "Hi"}
TURNS = {"model": "chatty", "messages": [TURN]}
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {}}}
HEADER = "x-cama-ignored"


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/api/chat", {"options": {"mirostat": 1, "top_k": 3, "main_gpu": 0}},
         "options.mirostat, options.main_gpu"),
        ("/api/chat", {"MESSAGES": [TURN | {"name": "Eva"}], "width": 3, "messages": None},
         "messages[0].name, width"),
        ("/api/chat", {"KEEP_ALIVE": "5m", "Options": {"Top_K": 3}}, "options.Top_K"),
        ("/v1/chat/completions", {"stream_options": {"include_obfuscation": True}},
         "stream_options.include_obfuscation"),
        ("/v1/chat/completions", {"reasoning": {"effort": "low", "exclude": True}},
         "reasoning.exclude"),
        ("/v1/chat/completions", {"options": {"mirostat": 1, "top_k": 3}}, "options.mirostat"),
        ("/v1/chat/completions", {"think": True, "reasoning_effort": "none"}, "think"),
        ("/v1/chat/completions",
         {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "odd": 1}]}]},
         "messages[0].content[0].odd"),
        ("/v1/messages", {"max_tokens": 9, "options": {"mirostat": 1}}, "options.mirostat"),
        ("/v1/embeddings", {"messages": None, "input": "x", "user": "me"}, "user"),
        ("/v1/rerank", {"messages": None, "query": "x", "documents": ["y"], "rank_fields": ["z"]},
         "rank_fields"),
    ],
)  # fmt: skip
async def test_what_has_no_effect_is_named(
    api: httpx.AsyncClient, path: str, body: dict[str, Any], expected: str
) -> None:
    sent = {key: value for key, value in (TURNS | body).items() if value is not None}
    response = await api.post(path, json=sent)
    assert response.headers[HEADER] == expected
    assert response.status_code in (200, 400)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {"stream": False, "options": {"top_k": 3}, "tools": [], "think": False}),
        ("/v1/chat/completions", {"seed": 1, "stream_options": {"include_usage": True}}),
        ("/v1/messages", {"max_tokens": 9, "metadata": {"user_id": "x"}, "system": "S"}),
    ],
)
async def test_nothing_is_named_where_all_has_an_effect(
    api: httpx.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    response = await api.post(path, json=TURNS | body)
    assert response.status_code == 200
    assert HEADER not in response.headers


async def test_errors_name_it_too(api: httpx.AsyncClient) -> None:
    body = {"model": "nobody", "messages": [TURN], "user": "me"}
    response = await api.post("/v1/chat/completions", json=body)
    assert (response.status_code, response.headers[HEADER]) == (404, "user")


async def test_a_strict_tool_is_strict_only_when_it_must_be_called(api: httpx.AsyncClient) -> None:
    chat = {"tools": [{"type": "function", "function": FUNCTION | {"strict": True}}]}
    claude = {
        "max_tokens": 9,
        "tools": [{"name": "f", "input_schema": {"type": "object"}, "strict": True}],
    }
    for path, body, must, name in (
        ("/v1/chat/completions", chat, "required", "tools[0].function.strict"),
        ("/v1/messages", claude, {"type": "any"}, "tools[0].strict"),
    ):
        response = await api.post(path, json=TURNS | body)
        assert response.headers[HEADER] == name
        response = await api.post(path, json=TURNS | body | {"tool_choice": must})
        assert HEADER not in response.headers


async def test_a_response_names_what_it_never_includes(api: httpx.AsyncClient) -> None:
    include = ["reasoning.encrypted_content", "file_search_call.results"]
    body = {"model": "chatty", "input": "Hi", "include": include, "text": {"verbosity": "low"}}
    response = await api.post("/v1/responses", json=body)
    assert response.headers[HEADER] == "text.verbosity, include[1]"


async def test_a_call_in_an_old_form_is_not_lost(api: httpx.AsyncClient) -> None:
    call = {"name": "f", "arguments": "{}"}
    turns = [TURN, {"role": "assistant", "content": None, "function_call": call}]
    response = await api.post("/v1/chat/completions", json=TURNS | {"messages": turns})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "messages[1].function_call"
