"""From the sequences that run to the plan of one forward pass; pure."""

from collections.abc import Sequence

from cama.engine.base import Plan, Span
from cama.engine.sequence import Request


def allot(pending: Sequence[int], budget: int, turn: int, is_batch: Sequence[bool]) -> list[int]:
    """How many of its pending tokens each sequence may evaluate in one pass.

    Sequences with one token come first: they generate, and somebody watches. What is left is shared
    evenly by the prompts, and what a short prompt does not need goes to the longer ones; prompts of
    batch requests get what others leave. ``turn`` counts passes; it moves the start, so that a
    budget too small for all starves nobody.
    """
    if sum(pending) <= budget:
        return list(pending)
    n = len(pending)
    turns = [(turn + i) % n for i in range(n)]
    shares = [0] * n
    for i in [i for i in turns if pending[i] == 1][:budget]:
        shares[i] = 1
    left = budget - sum(shares)
    for are_batch in (False, True):
        prompts = [i for i in turns if pending[i] > 1 and is_batch[i] == are_batch][:left]
        prompts.sort(key=pending.__getitem__)
        for n_served, i in enumerate(prompts):
            shares[i] = min(pending[i], left // (len(prompts) - n_served))
            left -= shares[i]
    return shares


def make_plan(
    running: Sequence[Request], budget: int, turn: int
) -> tuple[list[tuple[Request, int]], Plan]:
    """The plan of the next pass, and how many tokens of each request it evaluates.

    A request whose pending tokens are all in the plan gets one row of logits, in the same order;
    one that scores its prompt gets more, and so does one with a proposal, for each token of it.
    An image has a pass of its own, which takes turns with those of texts.
    """
    seeing = [request for request in running if request.next_image]
    if seeing and (turn % 2 or len(seeing) == len(running)):
        request = seeing[turn // 2 % len(seeing)]
        return [(request, request.next_pending)], Plan((_span(request, request.next_pending),))
    if seeing:
        running = [request for request in running if not request.next_image]
    pending = [request.next_pending for request in running]
    shares = allot(pending, budget, turn, [request.is_batch for request in running])
    spans, parts = [], []
    for request, n in zip(running, shares, strict=True):
        if n:
            spans.append(_span(request, n))
            parts.append((request, n))
    return parts, Plan(tuple(spans))


def _span(request: Request, n: int) -> Span:
    """The next ``n`` tokens of ``request``, and what is proposed behind them."""
    assert request.seq is not None
    start = request.n_cached
    tokens: Sequence[int] = request.tokens[start : start + n]
    if request.proposal and n == request.pending:
        tokens = [*tokens, *request.proposal]
    n_outputs, image = request.n_outputs(n), request.next_image
    return Span(request.seq, start, tokens, n_outputs, request.adapters, image)
