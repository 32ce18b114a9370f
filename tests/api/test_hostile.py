"""Thousands of requests that nobody should send: refused, never a bug, and nothing is left behind.

They are made from a sound body for each route, each of its fields replaced by each odd value, and
of bodies that are no sound JSON at all.
"""

import copy
import gc
import json
import logging
from collections.abc import Iterator
from itertools import islice, product
from typing import Any

import httpx
import psutil
import pytest
from starlette.types import ASGIApp

from cama.api.app import ROUTES, create_app
from cama.core.settings import Settings
from cama.store.store import Store
from tests.api.describing import check
from tests.api.direct import Answered, ask
from tests.api.fakes import FakeRunner, FakeScheduler

MESSAGE = {
    "role": "user", "content": "Hi", "thinking": "", "images": [], "tool_name": "t",
    "tool_call_id": "1", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {}}}],
}  # fmt: skip
OPTIONS = {
    "num_ctx": 64, "num_batch": 8, "num_gpu": 0, "main_gpu": 0, "use_mmap": True, "num_thread": 1,
    "draft_num_predict": 1, "num_keep": 1, "seed": 1, "num_predict": 1, "top_k": 1, "top_p": 0.5,
    "min_p": 0.1, "typical_p": 0.5, "repeat_last_n": 1, "temperature": 0.1, "repeat_penalty": 1,
    "presence_penalty": 0, "frequency_penalty": 0, "stop": ["x"],
}  # fmt: skip
MODEL = {"model": "chatty", "keep_alive": "1m", "options": OPTIONS, "priority": "batch"}
COMMON = MODEL | {
    "stream": True, "format": {"type": "object"}, "think": False, "truncate": True, "shift": True,
    "logprobs": True, "top_logprobs": 1, "_debug_render_only": False,
}  # fmt: skip
FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": FUNCTION}
BLOCKS = [
    {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
    {"type": "tool_result", "tool_use_id": "1", "content": "x", "is_error": True},
]
ANTHROPIC = {
    "model": "chatty", "system": [{"type": "text", "text": "S"}],
    "messages": [
        {"role": "user", "content": BLOCKS[:1]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "x"},
            {"type": "tool_use", "id": "1", "name": "f", "input": {}},
        ]},
        {"role": "user", "content": BLOCKS[1:]},
    ],
    "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "disabled"}, "output_config": {"effort": "low"},
}  # fmt: skip
SAMPLING = {
    "temperature": 1, "top_p": 1, "top_k": 1, "seed": 1, "stop": ["x"], "n": 1, "stream": True,
    "frequency_penalty": 0, "presence_penalty": 0, "logit_bias": {"1": 1}, "max_tokens": 9,
    "stream_options": {"include_usage": True},
}  # fmt: skip
OPENAI = {"model": "chatty", "user": "u", "service_tier": "auto"} | SAMPLING
BODIES: dict[str, dict[str, Any]] = {
    "/api/generate": COMMON | {
        "prompt": "Hi", "suffix": "", "system": "s", "template": "", "context": [1], "raw": False,
        "images": [],
    },
    "/api/chat": COMMON | {"messages": [MESSAGE], "tools": [TOOL], "tool_choice": "auto"},
    "/api/embed": MODEL | {"input": ["a"], "truncate": True, "dimensions": 1},
    "/api/embeddings": MODEL | {"prompt": "a"},
    "/api/rerank": MODEL | {"query": "q", "documents": ["a"], "top_n": 1},
    "/api/tokenize": MODEL | {
        "text": "a", "add_special": True, "parse_special": True, "with_pieces": True,
    },
    "/api/detokenize": MODEL | {"tokens": [99]},
    "/api/plan": MODEL | {
        "parallel": 1, "cache_type": "f16", "memory": "8GB", "devices": [{"name": "G", "free": 9}],
    },
    "/api/show": {"model": "chatty", "verbose": True, "system": "", "options": {"seed": 1}},
    "/api/copy": {"source": "chatty", "destination": "other"},
    "/api/pull": {"model": "nobody", "insecure": False, "stream": False},
    "/api/push": {"model": "chatty", "insecure": False, "stream": False},
    "/api/delete": {"model": "nobody", "name": "nobody"},
    "/api/create": {
        "model": "made", "from": "chatty", "files": {"a": "sha256:0"}, "adapters": {}, "info": {},
        "template": "", "system": "s", "license": ["MIT"], "parameters": {"top_k": 1},
        "messages": [{"role": "user", "content": "Hi"}], "quantize": "", "requires": "",
    },
    "/v1/messages": ANTHROPIC | {
        "max_tokens": 9, "stop_sequences": ["x"], "stream": True, "temperature": 1, "top_k": 1,
        "top_p": 1, "metadata": {"user_id": "u"},
    },
    "/v1/messages/count_tokens": ANTHROPIC,
    "/v1/chat/completions": OPENAI | {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "tools": [TOOL], "tool_choice": "auto", "response_format": {"type": "json_object"},
        "logprobs": True, "top_logprobs": 1, "reasoning_effort": "none",
    },
    "/v1/completions": OPENAI | {"prompt": ["a"], "echo": True, "logprobs": 1, "best_of": 1},
    "/v1/embeddings": {
        "model": "chatty", "input": ["a"], "dimensions": 1, "encoding_format": "base64",
    },
    "/v1/responses": OPENAI | {
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "1", "output": "x"},
        ],
        "instructions": "S", "tool_choice": "auto", "tools": [
            {"type": "function", **FUNCTION},
            {"type": "namespace", "name": "n", "tools": [{"type": "function", **FUNCTION}]},
        ],
        "max_output_tokens": 9, "text": {"format": {"type": "text"}}, "store": True,
        "reasoning": {"effort": "none"}, "previous_response_id": "x", "metadata": {"a": "b"},
    },
    "/v1/rerank": {"model": "chatty", "query": "q", "documents": ["a"], "top_n": 1},
}  # fmt: skip
REFUSED = {
    "/api/delete", "/api/chat", "/v1/chat/completions", "/v1/completions", "/v1/responses",
    "/v1/messages", "/v1/messages/count_tokens", "/api/pull", "/api/push",
}  # fmt: skip
"""Sound in form, and yet refused: they ask for tools, for several choices in a stream, or for what
is on other machines."""

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, -(2**63), 2**64, 10**4000, 0.5, -0.0, 1e308, "", " ", "x",
    "\x00", "\ud800", "../../etc/passwd", "{{ 7 * 7 }}", "x" * 5000, [], [None], [[]], [{}], [0],
    ["\x00"], {}, {"": ""}, {"type": "x"}, {"a": {"b": [1]}},
)  # fmt: skip
RAW: tuple[bytes, ...] = (
    b"", b" ", b"\x00", b"{", b"}", b"[", b"null", b"[]", b"7", b'"x"', b"{}", b"{]", b"{'a': 1}",
    b'{"model": NaN}', b'{"options": {"seed": Infinity}}', b'{"options": {"seed": -1e999}}',
    b'{"model": "x"', b'{"model": "\\ud800"}', b'{"model": "\xff\xfe"}', b"\xef\xbb\xbf{}",
    '{"model": "x"}'.encode("utf-16"), '{"model": "x"}'.encode("utf-32"),
    b'{"model": "chatty", "model": 7}', b'{"MODEL": "chatty", "model": 7}', b"\x1f\x8b\x08\x00",
    b'{"a":' * 99 + b"1" + b"}" * 99, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000,
    b'{"x": ' + b"[" * 5000 + b"]" * 5000 + b"}", b"{" + b'"k":1,' * 20_000 + b'"k":1}',
    b'{"model": ' + b"9" * 100_000 + b"}", b'{"model": "' + b"\\u0000" * 1000 + b'"}',
)  # fmt: skip
HEADERS: tuple[dict[str, str], ...] = (
    {"content-encoding": "gzip"}, {"content-type": "application/json; charset=utf-16"},
    {"content-type": "multipart/form-data"}, {"content-type": "x" * 9000}, {"host": "x" * 9000},
    {"host": "[::1"}, {"host": ":"}, {"origin": "null"}, {"origin": "http://[::1"},
    {"origin": "x" * 9000}, {"authorization": "Bearer \x7f"}, {"x-request-id": "\x7f" * 100},
    {"accept": "text/html"}, {"anthropic-version": "x" * 9000}, {"cookie": "x" * 9000},
)  # fmt: skip
PATHS = (
    "/%00", "/%ff", "/" + "a" * 5000, "/api/%2e%2e/x", "/api/chat%0a", "/v1/models/%00",
    "/v1/models/" + "x/" * 500, "/v1/models/..%2f..%2fetc%2fpasswd", "/api/blobs/sha256:..%2f",
    "/v1//messages", "/api/generate/", "/API/CHAT",
)  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
MAX_GROWTH_BYTES = 16 << 20
N_REQUESTS = 10_000


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value in a body, in objects and arrays too."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


def spoiled(body: dict[str, Any], place: tuple[Any, ...], odd: Any) -> bytes:
    made = copy.deepcopy(body)
    holder: Any = made
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = odd
    return json.dumps(made).encode()


def bodies(path: str) -> Iterator[bytes]:
    yield from RAW
    # Two of three, to save time: as there are 31 odd values, each field meets others.
    for i, (place, odd) in enumerate(product(places(BODIES[path]), ODD)):
        if i % 3:
            yield spoiled(BODIES[path], place, odd)


def check_harmless(method: str, path: str, answer: Answered, asked: object) -> None:
    shown = f"{method} {path[:60]} {str(asked)[:300]}: {answer.status} {answer.text[:300]}"
    # 500 is said of an option of the wrong type, as Ollama does.
    is_option = answer.status == 500 and 'option \\"' in answer.text
    assert answer.status < 500 or answer.status == 503 or is_option, shown
    assert "Traceback" not in answer.text, shown
    if answer.status >= 400 and method != "HEAD":
        assert json.loads(answer.text)["error"], shown
    if answer.text:
        check(method, path, answer.status, answer.content_type, answer.text)


async def sent(app: ASGIApp, method: str, path: str, body: bytes) -> int:
    """The status of the answer to a request that must do no harm."""
    answer = await ask(app, method, path, [body])
    check_harmless(method, path, answer, body)
    return answer.status


@pytest.fixture
def app(settings: Settings, store: Store, scheduler: FakeScheduler) -> ASGIApp:
    return create_app(settings, store, scheduler)


@pytest.fixture(autouse=True)
def _brief(runner: FakeRunner) -> Iterator[None]:
    """A sound request costs little; nobody keeps the many lines in the log, as pytest would."""
    runner.script = runner.script[-1:]
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def forget(runner: FakeRunner, scheduler: FakeScheduler) -> None:
    """The fakes remember everything that they are asked."""
    for heard in (runner.generations, runner.embeddings, scheduler.leases, scheduler.unloaded):
        heard.clear()


@pytest.mark.timeout(300)
async def test_no_body_is_a_bug_and_none_leaves_anything_behind(
    app: ASGIApp, runner: FakeRunner, scheduler: FakeScheduler
) -> None:
    async def attack(stride: int) -> tuple[int, int]:
        """How many were sent, and how large the process is then."""
        n_sent = 0
        for path in BODIES:
            method = "DELETE" if path == "/api/delete" else "POST"
            made = islice(bodies(path), None, None, stride)
            statuses = [await sent(app, method, path, body) for body in made]
            assert 400 in statuses, path
            n_sent += len(statuses)
            forget(runner, scheduler)
        gc.collect()
        return n_sent, psutil.Process().memory_info().rss

    _, before = await attack(stride=8)  # what is loaded and cached once
    n_sent, after = await attack(stride=1)
    assert n_sent > N_REQUESTS
    assert after - before < MAX_GROWTH_BYTES
    assert scheduler.n_active == 0


async def test_the_bodies_that_are_spoiled_are_sound(app: ASGIApp) -> None:
    """Else all would be refused for the same reason."""
    for path, body in BODIES.items():
        if path not in REFUSED:
            assert (path, await sent(app, "POST", path, json.dumps(body).encode())) == (path, 200)


async def test_a_body_may_come_in_any_pieces(app: ASGIApp) -> None:
    for path, body in BODIES.items():
        whole = json.dumps(body).encode()
        method = "DELETE" if path == "/api/delete" else "POST"
        expected = await sent(app, method, path, whole)
        answer = await ask(app, method, path, [b"", *(whole[i : i + 1] for i in range(len(whole)))])
        assert answer.status == expected


async def test_no_header_path_or_method_is_a_bug(api: httpx.AsyncClient) -> None:
    known = [path.replace("{", "").replace("}", "").replace(":path", "") for path, _, _ in ROUTES]
    for path in (*known, *PATHS):
        for method in METHODS:
            await harmless(api, method, path)
    for headers in HEADERS:
        for path in ("/", "/api/tags", "/api/chat", "/v1/messages", "/v1/chat/completions"):
            for method in ("GET", "POST", "OPTIONS"):
                await harmless(api, method, path, headers=headers, content=b"{}")


async def harmless(api: httpx.AsyncClient, method: str, path: str, **fields: Any) -> None:
    response = await api.request(method, path, **fields)
    answer = Answered(response.status_code, "", [response.content])
    check_harmless(method, "", answer, (path, fields))


def test_every_route_that_reads_a_body_is_attacked() -> None:
    unread = {"/api/me", "/api/signout"}
    posted = {path for path, methods, _ in ROUTES if {"POST", "DELETE"} & set(methods)}
    missing = {path for path in posted if "{" not in path} - BODIES.keys() - unread
    refused = {"/v1/audio/transcriptions", "/api/experimental/web_search"}
    assert missing == {*refused, "/api/experimental/web_fetch"}
