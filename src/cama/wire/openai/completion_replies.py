"""POST /v1/completions: our answers as its replies."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from cama.core.generation import Logprob
from cama.wire.accounts import accounts_to_json
from cama.wire.answers import Echo, End, Event, Part
from cama.wire.framing import OPENAI_EVENTS, Framing, Reply
from cama.wire.openai.completions import CompletionRequest
from cama.wire.openai.head import Head, Usage
from cama.wire.openai.logprobs import CompletionLogprobs, joined

_KIND = "text_completion"


class Completion:
    """The dialect of one answer."""

    framing: Framing = OPENAI_EVENTS

    def __init__(self, request: CompletionRequest) -> None:
        generate = request.generate
        self._head = Head.new("cmpl-", generate.model)
        self._has_usage = request.include_usage
        self._has_logprobs = generate.logprobs
        self._is_mute = request.is_mute
        self._usage = Usage(n_choices=request.n_answers, per_prompt=generate.choices)
        self._logprobs: defaultdict[int, CompletionLogprobs] = defaultdict(CompletionLogprobs)

    def write(self, event: Event) -> Iterable[Reply]:
        if isinstance(event, Part | Echo):
            text, listed = self._text(event), self._listed(event)
            if text or listed:
                yield self._reply(event.choice, text, listed)
        elif isinstance(event, End):
            self._count(event)
            reason, accounts = event.metrics.finish.reason, accounts_to_json(event.metrics)
            yield self._reply(event.choice, "", None, reason, accounts)
            if self._has_usage and self._usage.is_complete:
                yield self._head.reply(_KIND, []) | {"usage": self._usage.to_json()}

    def whole(self, events: Sequence[Event]) -> Reply:
        ends = sorted((e for e in events if isinstance(e, End)), key=lambda end: end.choice)
        parts = [event for event in events if isinstance(event, Part | Echo)]
        for end in ends:
            self._count(end)
        choices = [self._choice([p for p in parts if p.choice == end.choice], end) for end in ends]
        return self._head.reply(_KIND, choices) | {"usage": self._usage.to_json()}

    def _choice(self, parts: Sequence[Part | Echo], end: End) -> Reply:
        lists = [listed for part in parts if (listed := self._listed(part)) is not None]
        return {
            "text": "".join(map(self._text, parts)),
            "index": end.choice,
            "logprobs": joined(lists) if self._has_logprobs else None,
            "finish_reason": end.metrics.finish.reason,
            **accounts_to_json(end.metrics),
        }

    def _reply(
        self,
        choice: int,
        text: str,
        logprobs: Reply | None,
        reason: str | None = None,
        accounts: Reply | None = None,
    ) -> Reply:
        fields = {"text": text, "index": choice, "logprobs": logprobs, "finish_reason": reason}
        fields |= accounts or {}
        usage = {"usage": None} if self._has_usage else {}
        return self._head.reply(_KIND, [fields]) | usage

    def _text(self, part: Part | Echo) -> str:
        if isinstance(part, Echo):
            return part.text
        return "" if self._is_mute else part.piece.text

    def _listed(self, part: Part | Echo) -> Reply | None:
        """The log-probabilities of what is shown of ``part``."""
        if not self._has_logprobs or (self._is_mute and isinstance(part, Part)):
            return None
        lists = self._logprobs[part.choice]
        if isinstance(part, Part):
            return lists.rest(part.logprobs)
        first = _first_piece(part.text, part.logprobs)
        begun = [lists.first(first)] if first else []
        return joined([*begun, lists.rest(part.logprobs)])

    def _count(self, end: End) -> None:
        self._usage.add(end)
        if self._is_mute:
            self._usage.completion_tokens = 0


def _first_piece(text: str, rest: Sequence[Logprob]) -> bytes:
    """What of ``text`` is no part of ``rest``: empty when the first token was only a BOS."""
    whole = text.encode()
    n_first = len(whole) - sum(len(one.piece) for one in rest)
    return whole[: max(n_first, 0)]
