"""What an answer took reaches the client in every dialect, streamed or not."""

import json
from typing import Any

import httpx
import pytest

from cama.core.generation import Chunk, Finish
from tests.api.fakes import FakeRunner

FINISH = Finish(
    reason="stop", prompt_tokens=70, cached_tokens=40, truncated_tokens=5, shifted_tokens=3,
    eval_tokens=9, prompt_seconds=0.25, eval_seconds=0.5, restored_tokens=30,
    miss_reason="diverged", diverged_at=40, queue_seconds=0.1, prefill_seconds=0.2,
    decode_seconds=0.4, sampling_seconds=0.05, decode_passes=5, proposed_tokens=6,
    accepted_tokens=4,
)  # fmt: skip

FACTS = {
    "restored_count": 30, "miss_reason": "diverged", "diverged_at": 40,
    "queue_duration": 100_000_000, "prefill_duration": 200_000_000,
    "decode_duration": 400_000_000, "sampling_duration": 50_000_000,
    "proposed_count": 6, "accepted_count": 4,
}  # fmt: skip
COUNTS = {
    "prompt_eval_count": 70, "prompt_cached_count": 40, "truncated_tokens": 5,
    "shifted_tokens": 3, "eval_count": 9, "prompt_eval_duration": 250_000_000,
    "eval_duration": 500_000_000,
}  # fmt: skip

MESSAGES = [{"role": "user", "content": "Hi"}]
BODIES: dict[str, dict[str, Any]] = {
    "/api/generate": {"prompt": "Hi"},
    "/api/chat": {"messages": MESSAGES},
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/responses": {"input": "Hi"},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 9},
}


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The objects of an answer, of a stream in any framing."""
    lines = [line.removeprefix("data: ") for line in response.text.splitlines()]
    return [json.loads(line) for line in lines if line.startswith("{")]


def accounts(path: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """All that Cama tells, wherever the dialect has it."""
    if path.startswith("/api"):
        last = found[-1]
        return {**last, **last["cama"]}
    places = [*found, *(choice for one in found for choice in one.get("choices", ()))]
    places += [one["response"] for one in found if "response" in one]
    (told,) = (place["cama"] for place in places if "cama" in place)
    return dict(told)


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("stream", [True, False])
async def test_accounts_are_told(
    api: httpx.AsyncClient, runner: FakeRunner, path: str, stream: bool
) -> None:
    runner.script = [Chunk(text="Hello", n_tokens=2), FINISH]
    body = {"model": "chatty", "stream": stream, **BODIES[path]}
    response = await api.post(path, json=body)
    assert response.status_code == 200
    told = accounts(path, events(response))
    assert {key: told[key] for key in FACTS | COUNTS} == FACTS | COUNTS
    assert told["total_duration"] >= told["load_duration"] > 0
