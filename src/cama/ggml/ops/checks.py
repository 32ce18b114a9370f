"""Refusing, in Python, shapes on which libggml would abort the process."""

from cama.core.errors import EngineError
from cama.ggml import _abi
from cama.ggml.graph import Graph
from cama.ggml.tensor import Shape, Tensor


class ShapeError(EngineError):
    """Tensors that do not fit together: a damaged file or an error in a model definition."""

    code = "shape_error"


def check(fits: bool, op: str, *operands: Tensor) -> None:
    if not fits:
        described = " and ".join(f"{t.name or 'a result'} {list(t.shape)}" for t in operands)
        raise ShapeError(f"{op}: {described} do not fit together")


def check_type(op: str, *operands: Tensor, type: int = _abi.GGML_TYPE_F32) -> None:
    """Refuse operands of another type, such as a quantized norm."""
    for t in operands:
        if t.type != type:
            raise ShapeError(f"{op}: {t.name or 'a result'} is of type {t.type}, not {type}")


def graph_of(*operands: Tensor) -> Graph:
    """The graph of the first operand that has one."""
    graph = next((t.graph for t in operands if t.graph is not None), None)
    assert graph is not None, "an op needs at least one tensor of a graph"
    return graph


def can_repeat(small: Shape, large: Shape) -> bool:
    return all(n % s == 0 if s else n == 0 for s, n in zip(small, large, strict=True))


def n_elements(shape: Shape) -> int:
    return shape[0] * shape[1] * shape[2] * shape[3]
