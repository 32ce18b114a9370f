"""From texts to the passes in which an engine embeds them; pure."""

from collections.abc import Iterator, Sequence

import numpy as np

from cama.core.errors import EngineError
from cama.engine.base import EngineInfo, Plan, SeqId, Span

Text = Sequence[int]

MAX_TEXTS = 64
"""Texts in one pass; more of them would hardly make it faster."""


def check_texts(texts: Sequence[Text], info: EngineInfo) -> None:
    """Raise EngineError for what would read outside of the native library's tables."""
    for text in texts:
        if not 0 < len(text) <= info.n_ctx:
            raise EngineError(f"a text of {len(text)} tokens; 1 to {info.n_ctx} fit")
        tokens = np.asarray(text)
        if tokens.min() < 0 or tokens.max() >= info.n_vocab:
            raise EngineError(f"a token id is outside 0 to {info.n_vocab - 1}")


def batches(texts: Sequence[Text], n_tokens: int, n_texts: int) -> Iterator[Sequence[Text]]:
    """The texts in order, as many at once as ``n_tokens`` hold; a longer one stands alone."""
    first = used = 0
    for index, text in enumerate(texts):
        if index > first and (used + len(text) > n_tokens or index - first == n_texts):
            yield texts[first:index]
            first, used = index, 0
        used += len(text)
    if first < len(texts):
        yield texts[first:]


def passes(batch: Sequence[Text], n_tokens: int, *, every: bool) -> Iterator[Plan]:
    """The passes that compute one of :func:`batches`; a text that stands alone may take several.

    Text i is sequence i. Outputs are wanted for ``every`` token, else for each text's last.
    """
    if len(batch) > 1:
        yield Plan(
            tuple(
                Span(SeqId(seq), 0, text, len(text) if every else 1)
                for seq, text in enumerate(batch)
            )
        )
        return
    text = batch[0]
    for start in range(0, len(text), n_tokens):
        part = text[start : start + n_tokens]
        is_last = start + len(part) == len(text)
        yield Plan((Span(SeqId(0), start, part, len(part) if every else int(is_last)),))
