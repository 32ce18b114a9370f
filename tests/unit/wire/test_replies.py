from typing import Any

from cama.core.answer import Piece
from cama.core.generation import Finish
from cama.wire.accounts import metrics_to_json
from cama.wire.answers import End, Metrics, Part
from cama.wire.replies import ChatReplies, GenerateReplies


def metrics(**counts: Any) -> Metrics:
    zero: dict[str, Any] = {
        "reason": "stop",
        "prompt_tokens": 0,
        "cached_tokens": 0,
        "truncated_tokens": 0,
        "shifted_tokens": 0,
        "eval_tokens": 0,
        "prompt_seconds": 0.0,
        "eval_seconds": 0.0,
    }
    return Metrics(finish=Finish(**(zero | counts)), total_seconds=2.0, load_seconds=0.0)


def test_metrics_leave_out_what_is_zero() -> None:
    assert metrics_to_json(metrics()) == {"total_duration": 2_000_000_000}


def test_metrics_count_in_nanoseconds() -> None:
    found = metrics(prompt_tokens=3, prompt_seconds=0.001, eval_tokens=4, eval_seconds=0.5)
    assert metrics_to_json(found) == {
        "total_duration": 2_000_000_000,
        "prompt_eval_count": 3,
        "prompt_eval_duration": 1_000_000,
        "eval_count": 4,
        "eval_duration": 500_000_000,
    }


def test_metrics_say_what_became_of_the_prompt() -> None:
    accounts = metrics(
        cached_tokens=5,
        restored_tokens=4,
        miss_reason="diverged",
        diverged_at=5,
        queue_seconds=0.1,
        prefill_seconds=0.2,
        decode_seconds=0.3,
        sampling_seconds=0.01,
    )
    found = metrics_to_json(accounts)
    assert found["prompt_cached_count"] == 5
    assert found["cama"] == {
        "restored_count": 4,
        "miss_reason": "diverged",
        "diverged_at": 5,
        "queue_duration": 100_000_000,
        "prefill_duration": 200_000_000,
        "decode_duration": 300_000_000,
        "sampling_duration": 10_000_000,
    }


def test_generate_replies_fold_into_one() -> None:
    replies = GenerateReplies("m")
    whole = replies.whole([Part(Piece("a")), Part(Piece("b")), End(metrics(), [1])])
    assert (whole["response"], whole["done"], whole["context"]) == ("ab", True, [1])
    assert list(whole)[:4] == ["model", "created_at", "response", "done"]


def test_generate_replies_without_a_context_have_no_such_key() -> None:
    assert "context" not in GenerateReplies("m").final(metrics())


def test_chat_replies_fold_into_one() -> None:
    replies = ChatReplies("m")
    whole = replies.whole([Part(Piece("a")), Part(Piece("b")), End(metrics())])
    assert whole["message"] == {"role": "assistant", "content": "ab"}
    assert whole["done_reason"] == "stop"


def test_replies_tell_of_loads() -> None:
    reply = GenerateReplies("m").loaded("load")
    assert (reply["response"], reply["done"], reply["done_reason"]) == ("", True, "load")
