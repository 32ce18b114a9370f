"""Operations element by element, and over the first dimension."""

from collections.abc import Callable

from cama.ggml import _abi
from cama.ggml.library import ggml
from cama.ggml.ops.checks import can_repeat, check, check_type, graph_of
from cama.ggml.tensor import Tensor

_Unary = Callable[[int, int], int]
_Binary = Callable[[int, int, int], int]


def _unary(function: _Unary, x: Tensor) -> Tensor:
    graph = graph_of(x)
    return graph.result(function(graph.context.address, x.address), x.type, x.shape)


def _repeating(function: _Binary, name: str, a: Tensor, b: Tensor) -> Tensor:
    check(can_repeat(b.shape, a.shape), name, a, b)
    check_type(name, b, type=a.type)
    graph = graph_of(a, b)
    return graph.result(function(graph.context.address, a.address, b.address), a.type, a.shape)


def _gated(function: _Binary, name: str, gate: Tensor, up: Tensor) -> Tensor:
    check(gate.shape == up.shape, name, gate, up)
    graph = graph_of(gate, up)
    node = function(graph.context.address, gate.address, up.address)
    return graph.result(node, gate.type, gate.shape)


def add(a: Tensor, b: Tensor) -> Tensor:
    """a + b, with b repeated to a's shape."""
    return _repeating(ggml().ggml_add, "add", a, b)


def sub(a: Tensor, b: Tensor) -> Tensor:
    """a - b, with b repeated to a's shape."""
    return _repeating(ggml().ggml_sub, "sub", a, b)


def mul(a: Tensor, b: Tensor) -> Tensor:
    """a * b elementwise, with b repeated to a's shape."""
    return _repeating(ggml().ggml_mul, "mul", a, b)


def div(a: Tensor, b: Tensor) -> Tensor:
    """a / b elementwise, with b repeated to a's shape."""
    return _repeating(ggml().ggml_div, "div", a, b)


def scale(x: Tensor, factor: float) -> Tensor:
    graph = graph_of(x)
    node = ggml().ggml_scale(graph.context.address, x.address, factor)
    return graph.result(node, x.type, x.shape)


def scale_bias(x: Tensor, factor: float, bias: float) -> Tensor:
    """x · factor + bias."""
    graph = graph_of(x)
    node = ggml().ggml_scale_bias(graph.context.address, x.address, factor, bias)
    return graph.result(node, x.type, x.shape)


def clamp(x: Tensor, low: float, high: float) -> Tensor:
    """x between ``low`` and ``high``; written over x, whose own values are gone."""
    graph = graph_of(x)
    node = ggml().ggml_clamp(graph.context.address, x.address, low, high)
    return graph.result(node, x.type, x.shape)


def fill(like: Tensor, value: float) -> Tensor:
    """A tensor of that shape with one value everywhere."""
    graph = graph_of(like)
    node = ggml().ggml_fill(graph.context.address, like.address, value)
    return graph.result(node, like.type, like.shape)


def sum_rows(x: Tensor) -> Tensor:
    """Sums over ne0 -> [1, ...]."""
    graph = graph_of(x)
    node = ggml().ggml_sum_rows(graph.context.address, x.address)
    return graph.result(node, x.type, (1, *x.shape[1:]))


def mean(x: Tensor) -> Tensor:
    """Means over ne0 -> [1, ...]."""
    graph = graph_of(x)
    node = ggml().ggml_mean(graph.context.address, x.address)
    return graph.result(node, _abi.GGML_TYPE_F32, (1, *x.shape[1:]))


def soft_max(x: Tensor, mask: Tensor | None = None, factor: float = 1.0) -> Tensor:
    """Softmax of x · factor + mask over ne0; ``mask`` [ne0, ne1] is the same for later ones."""
    graph = graph_of(x)
    if mask is not None:
        check(mask.shape[:2] == x.shape[:2] and mask.shape[2:] == (1, 1), "soft_max", x, mask)
    address = None if mask is None else mask.address
    node = ggml().ggml_soft_max_ext(graph.context.address, x.address, address, factor, 0.0)
    return graph.result(node, x.type, x.shape)


def rms_norm(x: Tensor, epsilon: float) -> Tensor:
    """x / sqrt(mean(x²) + ε) over ne0."""
    graph = graph_of(x)
    node = ggml().ggml_rms_norm(graph.context.address, x.address, epsilon)
    return graph.result(node, x.type, x.shape)


def norm(x: Tensor, epsilon: float) -> Tensor:
    """(x - mean) / sqrt(variance + ε) over ne0."""
    graph = graph_of(x)
    node = ggml().ggml_norm(graph.context.address, x.address, epsilon)
    return graph.result(node, x.type, x.shape)


def l2_norm(x: Tensor, epsilon: float) -> Tensor:
    """x / max(|x|, ε) over ne0."""
    graph = graph_of(x)
    node = ggml().ggml_l2_norm(graph.context.address, x.address, epsilon)
    return graph.result(node, x.type, x.shape)


def sigmoid(x: Tensor) -> Tensor:
    return _unary(ggml().ggml_sigmoid, x)


def silu(x: Tensor) -> Tensor:
    """x · sigmoid(x)."""
    return _unary(ggml().ggml_silu, x)


def gelu(x: Tensor) -> Tensor:
    """The tanh form."""
    return _unary(ggml().ggml_gelu, x)


def relu(x: Tensor) -> Tensor:
    return _unary(ggml().ggml_relu, x)


def tanh(x: Tensor) -> Tensor:
    return _unary(ggml().ggml_tanh, x)


def softplus(x: Tensor) -> Tensor:
    """ln(1 + exp(x))."""
    return _unary(ggml().ggml_softplus, x)


def sqr(x: Tensor) -> Tensor:
    return _unary(ggml().ggml_sqr, x)


def sqrt(x: Tensor) -> Tensor:
    return _unary(ggml().ggml_sqrt, x)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up."""
    return _gated(ggml().ggml_swiglu_split, "swiglu", gate, up)


def geglu(gate: Tensor, up: Tensor) -> Tensor:
    """gelu(gate) * up."""
    return _gated(ggml().ggml_geglu_split, "geglu", gate, up)


def swiglu_clamped(gate: Tensor, up: Tensor, alpha: float, limit: float) -> Tensor:
    """g · sigmoid(α g) · (u + 1), with g at most ``limit`` and u between -limit and limit."""
    check(gate.shape == up.shape, "swiglu_clamped", gate, up)
    graph = graph_of(gate, up)
    node = ggml().ggml_swiglu_oai(graph.context.address, gate.address, up.address, alpha, limit)
    return graph.result(node, gate.type, gate.shape)


def swiglu_halves(x: Tensor) -> Tensor:
    """silu(the first half of ne0) * the second half."""
    check(x.shape[0] % 2 == 0, "swiglu_halves", x)
    graph = graph_of(x)
    node = ggml().ggml_swiglu(graph.context.address, x.address)
    return graph.result(node, x.type, (x.shape[0] // 2, *x.shape[1:]))
