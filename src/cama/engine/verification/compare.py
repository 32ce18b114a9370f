"""Two engines' rows side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cama.core.comparison import Comparison, LogitComparison, VectorComparison
from cama.core.errors import EngineError

_ROWS = 64
"""Rows looked at together: a vocabulary of 256k tokens takes 128 MiB of doubles then."""

_Rows = NDArray[np.floating[Any]]


def compare(ours: Path, reference: Path, ids: Sequence[int], n_decoded: int) -> Comparison:
    """Compare two files of rows: logits behind the tokens ``ids``, or without them vectors."""
    left, right = (np.load(path, mmap_mode="r") for path in (ours, reference))
    if left.shape != right.shape:
        raise EngineError(f"the engines give rows of {left.shape} and {right.shape}")
    return _compare_logits(left, right, ids, n_decoded) if ids else _compare_vectors(left, right)


def _compare_vectors(left: _Rows, right: _Rows) -> VectorComparison:
    a, b = left.astype(np.float64), right.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1)
    difference = np.abs(a - b)
    return VectorComparison(
        n_texts=len(a),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        min_cosine=float(cosines.min()),
    )


def _compare_logits(
    left: _Rows, right: _Rows, ids: Sequence[int], n_decoded: int
) -> LogitComparison:
    n = len(ids)
    largest, total = 0.0, 0.0
    divergences, same = np.empty(n), np.empty(n, bool)
    surprise = np.zeros((2, n - 1))
    for start in range(0, n, _ROWS):
        end = min(start + _ROWS, n)
        a, b = (side[start:end].astype(np.float64) for side in (left, right))
        difference = np.abs(a - b)
        largest = max(largest, float(difference.max()))
        total += float(difference.sum())
        same[start:end] = a.argmax(axis=1) == b.argmax(axis=1)
        a, b = _log_softmax(a), _log_softmax(b)
        # rounding can make a divergence of nothing negative
        divergences[start:end] = np.maximum((np.exp(b) * (b - a)).sum(axis=1), 0)
        following = np.array(ids[start + 1 : end + 1])
        for side, rows in enumerate((a, b)):
            surprise[side, start : start + len(following)] = -rows[
                np.arange(len(following)), following
            ]
    perplexities = np.exp(surprise.mean(axis=1))
    return LogitComparison(
        n_tokens=n,
        n_decoded=n_decoded,
        max_difference=largest,
        mean_difference=total / left.size,
        max_divergence=float(divergences.max()),
        mean_divergence=float(divergences.mean()),
        agreement=float(same.mean()),
        perplexity=float(perplexities[0]),
        reference_perplexity=float(perplexities[1]),
    )


def _log_softmax(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = rows - rows.max(axis=1, keepdims=True)
    normalised: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalised
