"""What all replies of one answer begin with, and how the tokens of its choices are counted."""

import secrets
import time
from dataclasses import dataclass, field
from typing import Self

from cama import __version__
from cama.wire.answers import End
from cama.wire.framing import Reply

_FINGERPRINT = f"fp_cama_{__version__}"


def new_id(prefix: str) -> str:
    return prefix + secrets.token_hex(12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """``created`` is in seconds since 1970; ``model`` is the client's own spelling."""

    id: str
    created: int
    model: str

    @classmethod
    def new(cls, prefix: str, model: str) -> Self:
        return cls(id=new_id(prefix), created=int(time.time()), model=model)

    def reply(self, kind: str, choices: list[Reply]) -> Reply:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": _FINGERPRINT,
            "choices": choices,
        }


@dataclass(slots=True, kw_only=True)
class Usage:
    """Tokens of an answer with ``n_choices`` in all; ``per_prompt`` of them share a prompt."""

    n_choices: int = 1
    per_prompt: int = 1
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    _n_ended: int = field(default=0)

    def add(self, end: End) -> None:
        """A prompt counts once: what its later choices have in the cache is its own."""
        finish = end.metrics.finish
        if end.choice % self.per_prompt == 0:
            self.prompt_tokens += finish.prompt_tokens
            self.cached_tokens += finish.cached_tokens
        self.completion_tokens += finish.eval_tokens
        self._n_ended += 1

    @property
    def is_complete(self) -> bool:
        return self._n_ended == self.n_choices

    def to_json(self) -> Reply:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }
