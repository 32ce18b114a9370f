"""How far two engines are apart on one model: figures, and the verdict that follows from them."""

import math
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["equal", "agree", "differ"]

TOLERANCE = 1e-4
"""Mean KL divergence in nats up to which engines agree: sums in another order, other kernels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogitComparison:
    """Of logits behind every token of a text, the last ``n_decoded`` read one by one.

    Divergences are of the reference's distribution from the engine's, in nats; ``agreement`` is the
    part of positions at which both hold the same token for the likeliest.
    """

    n_tokens: int
    n_decoded: int
    max_difference: float
    mean_difference: float
    max_divergence: float
    mean_divergence: float
    agreement: float
    perplexity: float
    reference_perplexity: float

    def verdict(self, tolerance: float) -> Verdict:
        if self.max_difference == 0:
            return "equal"
        return "agree" if self.mean_divergence <= tolerance else "differ"


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorComparison:
    """Of the vectors of texts, which embedding models give."""

    n_texts: int
    max_difference: float
    mean_difference: float
    min_cosine: float

    def verdict(self, tolerance: float) -> Verdict:
        """Unit vectors with a cosine of 1 - ε are √(2ε) apart."""
        if self.max_difference == 0:
            return "equal"
        is_near = math.isfinite(self.min_cosine) and 1 - self.min_cosine <= tolerance
        return "agree" if is_near else "differ"


Comparison = LogitComparison | VectorComparison
