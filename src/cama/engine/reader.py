"""What a pass gives to one request: rows of logits become tokens, tokens text."""

import time
from typing import NamedTuple

from cama.core.errors import EngineError
from cama.core.generation import Chunk, FinishReason
from cama.engine.base import Logits, Tokenizer
from cama.engine.logprobs import logprobs_of
from cama.engine.sequence import Request
from cama.engine.speculation.verify import verify


class Outcome(NamedTuple):
    """What goes out, in order, and what ended the answer if something did."""

    request: Request
    chunks: tuple[Chunk, ...] = ()
    end: FinishReason | EngineError | None = None
    n_accepted: int = 0


class Reader:
    """Reads the rows of requests. It does not touch the engine, whose memory they are."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._piece = tokenizer.piece
        self._end_of_generation = tokenizer.end_of_generation

    def read(self, request: Request, rows: Logits) -> Outcome:
        """Take ``rows``, those behind the last tokens that were evaluated."""
        try:
            scores = self._score(request, rows) if request.is_scoring else ()
            if request.pending:
                return Outcome(request, scores)
            return self._continue(request, rows, scores)
        except EngineError as error:
            return Outcome(request, end=error)

    def _continue(self, request: Request, rows: Logits, scores: tuple[Chunk, ...]) -> Outcome:
        """Draw a token, and further ones as long as those proposed are right."""
        text, reason = "", None
        request.decode_passes += 1

        def draw(row: Logits) -> int | None:
            nonlocal text, reason
            token, more, reason = self._draw(request, row)
            text += more
            return None if reason else token

        proposal = request.proposal
        n_accepted = verify(rows[-1 - len(proposal) :], proposal, draw)
        request.n_cached += n_accepted
        chunk = request.chunk(text, is_last=reason is not None)
        return Outcome(request, (*scores, chunk) if chunk else scores, reason, n_accepted)

    def _score(self, request: Request, rows: Logits) -> tuple[Chunk, ...]:
        """The log-probabilities of the prompt's tokens that the rows predict."""
        first = request.n_scored
        end = min(first + len(rows), len(request.prompt))
        tokens = request.prompt[first:end].tolist()
        scores = logprobs_of(rows[: end - first], tokens, max(request.n_top, 0), self._piece)
        request.n_scored = end
        return (Chunk(text="", n_tokens=0, prompt_logprobs=scores),)

    def _draw(self, request: Request, row: Logits) -> tuple[int, str, FinishReason | None]:
        """The next token, the text that can go out with it, and why it is the last if it is."""
        started = time.perf_counter()
        try:
            token = request.sampler.sample(row)
        finally:
            request.sampling_seconds += time.perf_counter() - started
        logprob, piece = None, request.piece or self._piece
        if request.n_top >= 0 and token not in self._end_of_generation:
            (logprob,) = logprobs_of(row[None], (token,), request.n_top, piece)
        return token, *request.push(token, piece, self._end_of_generation, logprob)
