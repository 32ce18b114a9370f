"""Plans for models with running states: in parts of equally long spans, no token lost or moved."""

import numpy as np
import pytest

from cama.engine.base import Plan, SeqId, Span
from cama.engine.native.parts import equal_parts


def _plan(*spans: tuple[int, int, int, int]) -> Plan:
    return Plan(tuple(Span(SeqId(seq), start, [*range(n)], out) for seq, start, n, out in spans))


def test_spans_of_one_length_are_one_part() -> None:
    plan = _plan((0, 5, 3, 1), (4, 0, 3, 3))
    (part,) = equal_parts(plan)
    assert part.plan == plan
    assert part.rows == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "plan",
    [
        _plan((0, 7, 1, 1), (1, 0, 20, 5), (2, 3, 4, 0)),
        _plan((3, 0, 9, 9), (0, 2, 2, 1)),
        _plan((0, 0, 6, 4), (1, 0, 5, 5), (2, 0, 6, 1)),
    ],
)
def test_parts_hold_every_token_and_output_once(plan: Plan) -> None:
    tokens: dict[int, list[int]] = {span.seq: [] for span in plan.spans}
    outputs = np.full(plan.n_outputs, -1)
    wanted = [
        token for span in plan.spans for token in span.tokens[len(span.tokens) - span.n_outputs :]
    ]
    for part in equal_parts(plan):
        assert len({len(span.tokens) for span in part.plan.spans}) == 1
        rows = iter(part.rows)
        for span in part.plan.spans:
            whole = next(s for s in plan.spans if s.seq == span.seq)
            assert span.start == whole.start + len(tokens[span.seq])
            tokens[span.seq] += span.tokens
            for token in span.tokens[len(span.tokens) - span.n_outputs :]:
                outputs[next(rows)] = token
        assert next(rows, None) is None
    assert tokens == {span.seq: list(span.tokens) for span in plan.spans}
    assert outputs.tolist() == wanted
