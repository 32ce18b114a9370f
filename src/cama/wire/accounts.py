"""What an answer took and what became of its prompt, as all dialects tell it.

Durations are in nanoseconds; what is zero is left out.
"""

from cama.core.generation import Finish
from cama.wire.answers import Metrics
from cama.wire.encode import duration, without_empty
from cama.wire.framing import Reply


def metrics_to_json(metrics: Metrics) -> Reply:
    """The accounts of an answer as Ollama has them, and in ``cama`` what is not Ollama's."""
    return without_empty({**_counts(metrics), "cama": _facts(metrics.finish)})


def accounts_to_json(metrics: Metrics) -> Reply:
    """``cama``, for dialects that have a place for nothing of it: all of the accounts."""
    return {"cama": without_empty(_counts(metrics)) | _facts(metrics.finish)}


def _counts(metrics: Metrics) -> Reply:
    finish = metrics.finish
    return {
        "total_duration": duration(metrics.total_seconds),
        "load_duration": duration(metrics.load_seconds),
        "prompt_eval_count": finish.prompt_tokens,
        "prompt_eval_duration": duration(finish.prompt_seconds),
        "eval_count": finish.eval_tokens,
        "eval_duration": duration(finish.eval_seconds),
        "prompt_cached_count": finish.cached_tokens,
        "truncated_messages": metrics.truncated_messages,
        "truncated_tokens": finish.truncated_tokens,
        "shifted_tokens": finish.shifted_tokens,
    }


def _facts(finish: Finish) -> Reply:
    """Why a prompt was not all cached, and where the time went."""
    return without_empty(
        {
            "restored_count": finish.restored_tokens,
            "miss_reason": finish.miss_reason,
            "diverged_at": finish.diverged_at,
            "queue_duration": duration(finish.queue_seconds),
            "prefill_duration": duration(finish.prefill_seconds),
            "decode_duration": duration(finish.decode_seconds),
            "sampling_duration": duration(finish.sampling_seconds),
            "proposed_count": finish.proposed_tokens,
            "accepted_count": finish.accepted_tokens,
        }
    )
