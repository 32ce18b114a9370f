"""Which of the tokens that were guessed the text really has."""

from collections.abc import Callable, Sequence

from cama.engine.base import Logits


def verify(rows: Logits, proposal: Sequence[int], draw: Callable[[Logits], int | None]) -> int:
    """Draw tokens for as long as they are those proposed; returns how many were.

    ``rows`` [len(proposal) + 1, n_vocab] are the logits behind the token before the proposal and
    behind each of its own. ``draw`` draws the next token of the text from a row and appends it; it
    returns None when the text ends with it.

    Each token is drawn as if nothing had been proposed, with the same random number, and the
    proposal only decides whether the next row can be used. So a proposed token is accepted with
    its probability, and another takes its place with the probability that it has among the others:
    what rejection sampling does for a proposal that is certain of itself. The text is the one that
    decoding token by token gives, at every temperature, as far as the engine computes a row of
    several as it computes one alone: other kernels may round differently.
    """
    for n_accepted, (row, proposed) in enumerate(zip(rows, proposal, strict=False)):
        if draw(row) != proposed:
            return n_accepted
    draw(rows[len(proposal)])
    return len(proposal)
