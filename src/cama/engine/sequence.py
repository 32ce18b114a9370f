"""The state of one request: its tokens, its text so far, and its accounts."""

import math
from array import array
from bisect import bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from cama.core.errors import (
    CamaError,
    InvalidOption,
    InvalidRequest,
    PromptTooLong,
    Unsupported,
)
from cama.core.generation import Adapters, Chunk, Event, Finish, FinishReason, Generation, Logprob
from cama.engine.base import Adapts, Engine, EngineInfo, Image, Prompt, SeqId
from cama.engine.constraint.compiler import Compiler
from cama.engine.images import Images
from cama.engine.logprobs import Ledger, Piece
from cama.engine.output import Assembler
from cama.engine.prefix import Miss
from cama.engine.radix import Key, Tokens
from cama.engine.sampling.sampler import Sampler
from cama.engine.speculation.draft import DraftAccount
from cama.engine.speculation.lookup import Lookup
from cama.engine.speculation.pace import MOST
from cama.engine.speculation.speculator import Speculator
from cama.engine.visible import visible_pieces, with_visible

Sink = Callable[[Event | CamaError], None]
"""Where a request's events go; the engine thread calls it, so it must return at once."""

_MOST_SCORED = 32
"""Rows of logits of one prompt in one pass: they take half a megabyte each (128k vocabulary)."""

_MOST_LOGPROBS = 1024

_COLD = 0.3
"""Up to this temperature texts are guessed ahead, unless the request says otherwise.

A hotter text seldom repeats itself word for word: a guess is right as often as the token is drawn.
"""


def context_limit(info: EngineInfo) -> int:
    """Tokens of one sequence that always fit: its context, or the whole pool if that is smaller."""
    return min(info.n_ctx, info.n_cells)


def token_limit(num_predict: int, n_ctx: int) -> int:
    """Most tokens to generate: ten contexts unless fewer, but at least one, are asked for."""
    most = 10 * n_ctx
    return min(num_predict, most) if num_predict > 0 else most


def discarded(n_ctx: int, n_keep: int) -> int:
    """Tokens that a full window drops behind the first ``n_keep``: about half of the rest."""
    return max((n_ctx - n_keep) // 2, 1)


def fit_prompt(tokens: Tokens, n_keep: int, n_ctx: int, images: Images, *, shift: bool) -> Tokens:
    """The first ``n_keep`` tokens and the newest, cut to the window.

    When the window may shift, about half of it stays free for the answer. An image that would be
    cut goes whole. Raises PromptTooLong when nothing is left.
    """
    if len(tokens) <= n_ctx:
        return tokens
    n_newest = discarded(n_ctx, n_keep) if shift else n_ctx - n_keep
    start, end = images.floor(n_keep), images.ceil(len(tokens) - n_newest)
    images.drop(start, end)
    kept = np.concatenate((tokens[:start], tokens[end:]))
    if not len(kept):
        raise PromptTooLong(
            "entire prompt removed by truncation", n_tokens=len(tokens), n_ctx=n_ctx
        )
    return kept


def check_tokens(tokens: Sequence[int], n_vocab: int, images: Images | None = None) -> Tokens:
    """The prompt as an array. Raises InvalidRequest for what is not a token of the model, but for
    those of ``images``."""
    if not len(tokens):
        raise InvalidRequest("no input provided")
    try:
        prompt = np.asarray(tokens)
    except ValueError:  # nested lists of different lengths
        raise InvalidRequest("the prompt is not a list of token ids") from None
    if prompt.ndim != 1 or prompt.dtype.kind not in "iu":
        raise InvalidRequest("the prompt is not a list of token ids")
    is_wrong = (prompt < 0) | (prompt >= n_vocab)
    if images:
        is_wrong &= ~images.mask(len(prompt))
    wrong = prompt[is_wrong]
    if len(wrong):
        raise InvalidRequest(f"the model has no token {wrong[0]}", token=int(wrong[0]))
    return prompt.astype(np.int32)


@dataclass(slots=True, eq=False, kw_only=True)
class Request:
    """A prompt and the answer to it so far.

    ``tokens`` are prompt and answer; the first ``n_cached`` of them are in the engine's cache under
    ``seq``, the ``pending`` rest goes into the next passes. A request that generates has one
    pending token, one whose prompt is read has many: there is no other difference between them.

    ``n_top`` is ``Generation.logprobs``; of the prompt's tokens, ``n_scored`` need no
    log-probability any more. ``proposal`` are tokens that the next pass evaluates behind them;
    those that turn out to be right become tokens. ``marks`` are numbers of tokens behind which the
    state is to be remembered; a pass ends there where it can only be then (``ends_at_marks``).
    ``is_batch``: others go first.
    ``piece`` gives the text of a token where some control tokens are visible. Of ``images`` each is
    evaluated in a pass of its own, and kept or dropped as a whole.
    """

    id: str
    sink: Sink
    prompt: Tokens
    tokens: "array[int]"
    sampler: Sampler
    output: Assembler
    n_ctx: int
    n_keep: int
    n_predict: int
    may_shift: bool
    truncated_tokens: int
    key: Key
    adapters: Adapters = ()
    is_batch: bool = False
    n_top: int = -1
    piece: Piece | None = None
    ledger: Ledger = field(default_factory=Ledger)
    n_scored: int
    speculator: Speculator | None = None
    proposal: list[int] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    ends_at_marks: bool = False
    images: Images = field(default_factory=Images)

    arrival: int = 0
    seq: SeqId | None = None
    n_cached: int = 0
    cancelled: bool = False
    was_shifted: bool = False
    was_sought: bool = False
    cached_tokens: int = 0
    restored_tokens: int = 0
    miss: Miss = Miss()
    shifted_tokens: int = 0
    n_eval: int = 0
    n_unsent: int = 0
    submitted: float = 0.0
    started: float | None = None
    first_token: float = 0.0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    sampling_seconds: float = 0.0
    decode_passes: int = 0

    @property
    def arrived(self) -> float:
        return self.submitted

    @property
    def turn(self) -> tuple[bool, int]:
        """Orders requests: who is served first, and who gives way last."""
        return self.is_batch, self.arrival

    @property
    def pending(self) -> int:
        return len(self.tokens) - self.n_cached

    @property
    def is_scoring(self) -> bool:
        """Log-probabilities of the prompt are still to be given."""
        return self.n_scored < len(self.prompt)

    @property
    def next_pending(self) -> int:
        """How many of the pending tokens the next pass may evaluate."""
        most = _MOST_SCORED if self.is_scoring else self.pending
        if self.images:
            if image := self.next_image:
                return len(image.tokens)
            most = self.images.first(self.n_cached, len(self.tokens)) - self.n_cached
        if self.marks and self.ends_at_marks:
            most = min(most, self.marks[0] - self.n_cached)
        return min(self.pending, most)

    @property
    def next_image(self) -> Image | None:
        """The image that is to be evaluated next, if it is one."""
        return self.images.at(self.n_cached) if self.images else None

    @property
    def is_generating(self) -> bool:
        return self.n_eval > 0 and self.pending == 1

    @property
    def n_left(self) -> int:
        """Tokens that may be evaluated behind the newest: the answer's end or the window's."""
        return min(self.n_predict - self.n_eval - 1, self.n_ctx - len(self.tokens))

    def n_outputs(self, n: int) -> int:
        """Behind how many of the next ``n`` tokens logits are wanted; always the last ones."""
        end = self.n_cached + n
        if self.is_scoring:
            return max(end + 1 - max(self.n_scored, self.n_cached + 1), 0)
        return 1 + len(self.proposal) if n == self.pending else 0

    @property
    def is_full(self) -> bool:
        """The newest token no longer fits into the context window."""
        return len(self.tokens) > self.n_ctx

    def mark(self, n_tokens: int) -> None:
        """Have the state behind so many tokens remembered, which are not evaluated yet."""
        if n_tokens not in self.marks:
            insort(self.marks, n_tokens)

    def reached_marks(self) -> list[int]:
        """Those that are evaluated now; they are told once."""
        n = bisect_right(self.marks, self.n_cached)
        reached, self.marks = self.marks[:n], self.marks[n:]
        return reached

    def history(self) -> Tokens:
        """Prompt and answer, to look for in the cache: nothing of what needs logits is there."""
        return np.array(self.tokens[: 1 if self.is_scoring else None], np.int32)

    def reusable(self) -> Tokens:
        """The tokens in the cache that another prompt could use as they are.

        What lies behind a shift was computed with tokens in view that are gone.
        """
        n = min(self.n_cached, self.n_keep) if self.was_shifted else self.n_cached
        return np.array(self.tokens[:n], np.int32)

    def push(
        self,
        token: int,
        piece: Piece,
        end_of_generation: frozenset[int],
        logprob: Logprob | None = None,
    ) -> tuple[str, FinishReason | None]:
        """Append a sampled token: the text that can go out, and why the answer ends if it does."""
        self.n_eval += 1
        if token in end_of_generation:
            return self.output.flush(), "stop"
        self.tokens.append(token)
        self.sampler.accept(token)
        self.n_unsent += 1
        if logprob:
            self.ledger.add(logprob, self.output.n_read)
        text = self.output.push(piece(token))
        if self.sampler.is_over:
            return text + self.output.flush(), "stop"
        if self.n_eval == self.n_predict:
            return text + self.output.flush(), "length"
        if self.output.stopped:
            return text, "stop"
        if self.is_full and not self.may_shift:
            return text + self.output.flush(), "length"
        return text, None

    def drop_oldest(self) -> tuple[int, int]:
        """Forget the oldest tokens behind ``n_keep``; returns their positions [start, end)."""
        start = self.n_keep
        end = self.images.ceil(start + discarded(self.n_ctx, start))
        self.images.drop(start, end)
        del self.tokens[start:end]
        self.n_cached -= end - start
        self.shifted_tokens += end - start
        if self.speculator:
            self.speculator.forget()
        return start, end

    def chunk(self, text: str, *, is_last: bool) -> Chunk | None:
        """What goes out with ``text``; None when that is nothing."""
        is_rest = is_last and not self.output.stopped
        logprobs = self.ledger.take(math.inf if is_rest else self.output.n_out)
        if not text and not logprobs:
            return None
        n_tokens, self.n_unsent = self.n_unsent, 0
        return Chunk(text=text, n_tokens=n_tokens, logprobs=logprobs)

    def finish(self, reason: FinishReason, now: float) -> Finish:
        started, speculator = self.started or 0.0, self.speculator
        return Finish(
            reason=reason,
            stop_string=self.output.stopped_by,
            prompt_tokens=len(self.prompt),
            cached_tokens=self.cached_tokens,
            truncated_tokens=self.truncated_tokens,
            shifted_tokens=self.shifted_tokens,
            eval_tokens=self.n_eval,
            prompt_seconds=self.first_token - started,
            eval_seconds=now - self.first_token,
            restored_tokens=self.restored_tokens,
            miss_reason=self.miss.reason,
            diverged_at=self.miss.diverged_at,
            queue_seconds=started - self.submitted,
            prefill_seconds=self.prefill_seconds,
            decode_seconds=self.decode_seconds + (speculator.draft_seconds if speculator else 0.0),
            sampling_seconds=self.sampling_seconds,
            decode_passes=self.decode_passes,
            proposed_tokens=speculator.n_proposed if speculator else 0,
            accepted_tokens=speculator.n_accepted if speculator else 0,
        )


def request_builder(
    engine: Engine, *, has_draft: bool
) -> Callable[[str, Prompt, Generation, Sink], Request]:
    """:func:`build_request` for one engine."""
    compiler = Compiler(engine.tokenizer, engine.info.n_vocab)
    return partial(build_request, engine, compiler, has_draft=has_draft)


def build_request(
    engine: Engine,
    compiler: Compiler,
    request_id: str,
    given: Prompt,
    generation: Generation,
    sink: Sink,
    *,
    has_draft: bool = False,
) -> Request:
    """Check a request against the model and fit its prompt into the context window.

    Raises InvalidRequest, InvalidOption, InvalidConstraint, Unsupported, and PromptTooLong when it
    must not be truncated.
    """
    if generation.adapters and not isinstance(engine, Adapts):
        raise Unsupported("this model does not run with adapters")
    if not -1 <= generation.logprobs <= _MOST_LOGPROBS:
        message = f"logprobs must be between -1 and {_MOST_LOGPROBS}"
        raise InvalidOption(message, option="logprobs")
    if given.images and (generation.heal or generation.echo):
        raise Unsupported("a prompt with images can neither be healed nor have log-probabilities")
    info, bos, images = engine.info, engine.tokenizer.bos, Images(given.images)
    n_ctx = context_limit(info)
    whole, retaken = check_tokens(given.tokens, info.n_vocab, images), b""
    if generation.heal:
        n_stay, retaken = compiler.healer.split(whole)
        whole = whole[:n_stay]
    if len(whole) > n_ctx and not generation.truncate:
        raise PromptTooLong(
            "the input length exceeds the context length", n_tokens=len(whole), n_ctx=n_ctx
        )
    n_keep = len(whole) if generation.num_keep < 0 else generation.num_keep + bool(whole[0] == bos)
    n_keep = images.floor(min(n_keep, n_ctx - 1))
    prompt = fit_prompt(whole, n_keep, n_ctx, images, shift=generation.shift)
    visible = visible_pieces(engine.tokenizer, generation.visible) if generation.visible else {}
    guard = None
    if generation.constraint:
        guard = compiler.guard(generation.constraint, visible)
    if retaken:
        guard = compiler.healer.guard(retaken, guard)
    sampler = Sampler(generation.sampling, info.n_vocab, n_ctx, guard)
    history = array("i", prompt.tobytes())
    sampler.accept_prompt(array("i", prompt[prompt >= 0].tobytes()) if images else history)
    return Request(
        id=request_id,
        sink=sink,
        prompt=prompt,
        tokens=history,
        sampler=sampler,
        output=Assembler(generation.stop, len(retaken)),
        n_ctx=n_ctx,
        n_keep=n_keep,
        n_predict=token_limit(generation.num_predict, n_ctx),
        may_shift=generation.shift,
        truncated_tokens=len(whole) - len(prompt),
        key=(generation.adapter, str(generation.tenant)),
        adapters=generation.adapters,
        is_batch=generation.priority == "batch",
        n_top=generation.logprobs,
        piece=with_visible(engine.tokenizer.piece, visible) if visible else None,
        n_scored=1 if generation.echo else len(prompt),
        speculator=None if images else _speculator(generation, has_draft=has_draft),
        images=images,
    )


def _speculator(generation: Generation, *, has_draft: bool) -> Speculator | None:
    """Whoever may guess for the request; None when nobody does."""
    if generation.speculate is False:
        return None
    is_cold = generation.sampling.temperature <= _COLD
    lookup = Lookup() if generation.speculate or is_cold else None
    n_draft = MOST if generation.num_draft is None else generation.num_draft
    account = DraftAccount(n_draft) if has_draft and n_draft > 0 else None
    return Speculator(lookup, account) if lookup or account else None
