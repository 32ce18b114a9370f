"""A plan in parts whose sequences have equally many tokens, as running states need it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from cama.engine.base import Plan


class Part(NamedTuple):
    """A part and, for each of its outputs, the row of the whole plan's outputs."""

    plan: Plan
    rows: list[int]


def equal_parts(plan: Plan) -> Iterator[Part]:
    """As libllama does it: all sequences together, as far as the shortest one goes, and so on."""
    done = 0
    while spans := [span for span in plan.spans if len(span.tokens) > done]:
        end = min(len(span.tokens) for span in spans)
        parts, rows, first_row = [], [], 0
        for span in plan.spans:
            first_output = len(span.tokens) - span.n_outputs
            if len(span.tokens) > done:
                outputs = range(max(done, first_output), end)
                rows += [first_row + index - first_output for index in outputs]
                tokens = span.tokens[done:end]
                start = span.start + done
                parts.append(replace(span, start=start, tokens=tokens, n_outputs=len(outputs)))
            first_row += span.n_outputs
        yield Part(Plan(tuple(parts)), rows)
        done = end
