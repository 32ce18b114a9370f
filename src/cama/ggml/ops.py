"""The operations that model definitions are made of: shapes are checked here, in Python.

libggml answers a wrong shape by aborting the process; these functions raise ShapeError instead. The
result belongs to the graph of the first operand that has one.
"""

from cama.core.errors import EngineError
from cama.ggml import _abi
from cama.ggml.graph import Graph
from cama.ggml.library import ggml
from cama.ggml.tensor import Shape, Tensor, padded


class ShapeError(EngineError):
    """Tensors that do not fit together: a damaged file or an error in a model definition."""

    code = "shape_error"


def _check(fits: bool, op: str, *operands: Tensor) -> None:
    if not fits:
        described = " and ".join(f"{t.name or 'a result'} {list(t.shape)}" for t in operands)
        raise ShapeError(f"{op}: {described} do not fit together")


def _graph(*operands: Tensor) -> Graph:
    graph = next((t.graph for t in operands if t.graph is not None), None)
    assert graph is not None, "an op needs at least one tensor of a graph"
    return graph


def _can_repeat(small: Shape, large: Shape) -> bool:
    return all(n % s == 0 if s else n == 0 for s, n in zip(small, large, strict=True))


def add(a: Tensor, b: Tensor) -> Tensor:
    """a + b, with b repeated to a's shape."""
    _check(_can_repeat(b.shape, a.shape), "add", a, b)
    graph = _graph(a, b)
    node = ggml().ggml_add(graph.context.address, a.address, b.address)
    return graph.result(node, a.type, a.shape)


def mul(a: Tensor, b: Tensor) -> Tensor:
    """a * b elementwise, with b repeated to a's shape."""
    _check(_can_repeat(b.shape, a.shape), "mul", a, b)
    graph = _graph(a, b)
    node = ggml().ggml_mul(graph.context.address, a.address, b.address)
    return graph.result(node, a.type, a.shape)


def mul_mat(weight: Tensor, x: Tensor) -> Tensor:
    """x · weightᵀ: weight [n_in, n_out], x [n_in, n] -> [n_out, n], float32."""
    w, s = weight.shape, x.shape
    _check(w[0] == s[0] and s[2] % w[2] == 0 and s[3] % w[3] == 0, "mul_mat", weight, x)
    graph = _graph(x, weight)
    node = ggml().ggml_mul_mat(graph.context.address, weight.address, x.address)
    return graph.result(node, _abi.GGML_TYPE_F32, (w[1], s[1], s[2], s[3]))


def rms_norm(x: Tensor, epsilon: float) -> Tensor:
    """x / sqrt(mean(x²) + ε) over ne0."""
    graph = _graph(x)
    node = ggml().ggml_rms_norm(graph.context.address, x.address, epsilon)
    return graph.result(node, x.type, x.shape)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up."""
    _check(gate.shape == up.shape, "swiglu", gate, up)
    graph = _graph(gate, up)
    node = ggml().ggml_swiglu_split(graph.context.address, gate.address, up.address)
    return graph.result(node, gate.type, gate.shape)


def get_rows(table: Tensor, rows: Tensor) -> Tensor:
    """The rows of ``table`` [n, n_rows] that ``rows`` (int32 [k]) names -> float32 [n, k]."""
    _check(rows.type == _abi.GGML_TYPE_I32 and rows.shape[1:] == (1, 1, 1), "get_rows", table, rows)
    graph = _graph(rows, table)
    node = ggml().ggml_get_rows(graph.context.address, table.address, rows.address)
    return graph.result(node, _abi.GGML_TYPE_F32, (table.shape[0], rows.shape[0], 1, 1))


def set_rows(target: Tensor, source: Tensor, rows: Tensor) -> Tensor:
    """Write ``source`` [n, k] into the rows of ``target`` that ``rows`` (int64 [k]) names."""
    fits = target.shape[0] == source.shape[0] and source.shape[1] == rows.shape[0]
    _check(fits and rows.type == _abi.GGML_TYPE_I64, "set_rows", target, source)
    graph = _graph(source, rows)
    lib = ggml()
    node = lib.ggml_set_rows(graph.context.address, target.address, source.address, rows.address)
    return graph.result(node, target.type, target.shape)


def reshape(x: Tensor, *shape: int) -> Tensor:
    """The same contiguous elements in another shape of up to three dimensions."""
    ne = padded(shape)
    _check(_elements(ne) == _elements(x.shape), f"reshape to {list(shape)}", x)
    graph = _graph(x)
    node = ggml().ggml_reshape_3d(graph.context.address, x.address, ne[0], ne[1], ne[2])
    return graph.result(node, x.type, ne)


def _elements(shape: Shape) -> int:
    return shape[0] * shape[1] * shape[2] * shape[3]


def view(
    graph: Graph, x: Tensor, shape: tuple[int, int, int], strides: tuple[int, int], offset: int = 0
) -> Tensor:
    """A window into ``x``; ``strides`` are the bytes of dimensions 1 and 2, ``offset`` in bytes."""
    node = ggml().ggml_view_3d(graph.context.address, x.address, *shape, *strides, offset)
    return graph.result(node, x.type, padded(shape))


def permute(x: Tensor, axes: tuple[int, int, int, int]) -> Tensor:
    """Dimension i becomes dimension axes[i]; no data moves."""
    graph = _graph(x)
    node = ggml().ggml_permute(graph.context.address, x.address, *axes)
    shape = [0, 0, 0, 0]
    for source, target in enumerate(axes):
        shape[target] = x.shape[source]
    return graph.result(node, x.type, padded(shape))


def rope(x: Tensor, positions: Tensor, factors: Tensor | None, settings: "RopeSettings") -> Tensor:
    """Rotate x [n, n_head, n_tokens] by ``positions`` (int32 [n_tokens])."""
    n_dims = settings[0]
    _check(x.shape[2] == positions.shape[0] and n_dims <= x.shape[0], "rope", x, positions)
    if factors is not None:
        _check(factors.shape[0] >= n_dims // 2, "rope", x, factors)
    graph = _graph(x, positions)
    node = ggml().ggml_rope_ext(
        graph.context.address,
        x.address,
        positions.address,
        None if factors is None else factors.address,
        *settings,
    )
    return graph.result(node, x.type, x.shape)


RopeSettings = tuple[int, int, int, float, float, float, float, float, float]
"""n_dims, mode, n_ctx_orig, freq_base, freq_scale, ext_factor, attn_factor, beta_fast and _slow."""


def flash_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
    """softmax(q·k·scale + mask)·v, fused, accumulated in float32.

    q [n, n_tokens, n_head], k and v [n, n_kv, n_head_kv], mask float16 [n_kv, n_tokens]
    -> [n_v, n_head, n_tokens].
    """
    fits = q.shape[0] == k.shape[0] and k.shape[1] == v.shape[1] and k.shape[2] == v.shape[2]
    _check(fits and k.shape[2] > 0 and q.shape[2] % k.shape[2] == 0, "flash_attention", q, k, v)
    _check(mask.shape[:2] == (k.shape[1], q.shape[1]), "flash_attention mask", mask, k)
    graph, lib = _graph(q), ggml()
    node = lib.ggml_flash_attn_ext(
        graph.context.address, q.address, k.address, v.address, mask.address, scale, 0.0, 0.0
    )
    assert node
    lib.ggml_prec_set_acc(node, _abi.GGML_PREC_F32)
    return graph.result(node, _abi.GGML_TYPE_F32, (v.shape[0], q.shape[2], q.shape[1], 1))


def copy(source: Tensor, target: Tensor) -> Tensor:
    """Convert and write ``source`` into the memory of ``target``."""
    _check(_elements(source.shape) == _elements(target.shape), "copy", source, target)
    graph = _graph(source, target)
    node = ggml().ggml_cpy(graph.context.address, source.address, target.address)
    return graph.result(node, target.type, target.shape)
