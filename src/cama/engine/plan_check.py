"""What a plan must keep to: the native libraries end the process on much of the rest."""

from cama.core.errors import EngineError
from cama.engine.base import EngineInfo, Plan, Span
from cama.engine.cells import Cells


def check_plan(plan: Plan, info: EngineInfo, cells: Cells) -> None:
    """Raise EngineError unless an engine can run ``plan`` on the cache as it is."""
    n_tokens = plan.n_tokens
    if not 0 < n_tokens <= info.n_batch:
        raise EngineError(f"a plan of {n_tokens} tokens; 1 to {info.n_batch} fit")
    if len(plan.spans) > 1 and len({span.seq for span in plan.spans}) != len(plan.spans):
        raise EngineError("a sequence stands twice in one plan")
    for span in plan.spans:
        _check_span(span, info, cells)


def image_span(plan: Plan, info: EngineInfo, cells: Cells) -> Span | None:
    """The span of the image that ``plan`` is, if it is one. Raises as :func:`check_plan`."""
    if len(plan.spans) != 1 or plan.spans[0].image is None:
        return None
    _check_place(plan.spans[0], info, cells)
    return plan.spans[0]


def check_sequence(seq: int, info: EngineInfo) -> None:
    if not 0 <= seq < info.n_seq_max:
        raise EngineError(f"sequence {seq} is not one of 0 to {info.n_seq_max - 1}")


def _check_span(span: Span, info: EngineInfo, cells: Cells) -> None:
    _check_place(span, info, cells)
    n_vocab = info.n_vocab
    if span.image is not None or not all(0 <= token < n_vocab for token in span.tokens):
        raise EngineError(f"a token id is outside 0 to {info.n_vocab - 1}")


def _check_place(span: Span, info: EngineInfo, cells: Cells) -> None:
    check_sequence(span.seq, info)
    length = cells.length(span.seq)
    if span.start != length:
        raise EngineError(
            f"sequence {span.seq} holds {length} tokens, a span cannot start at {span.start}"
        )
    if not 0 <= span.n_outputs <= len(span.tokens) or not len(span.tokens):
        raise EngineError("a span needs tokens, and at most as many outputs")
