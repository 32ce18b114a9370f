"""Products with weights, rotation and attention."""

from ctypes import addressof, c_int32

from cama.ggml import _abi
from cama.ggml.library import ggml
from cama.ggml.ops.checks import check, check_type, graph_of, n_elements
from cama.ggml.tensor import Tensor


def mul_mat(weight: Tensor, x: Tensor, *, exact: bool = False) -> Tensor:
    """x · weightᵀ: weight [n_in, n_out], x [n_in, n] -> [n_out, n], float32.

    ``exact`` asks for sums in float32 of devices that would round them.
    """
    w, s = weight.shape, x.shape
    check(w[0] == s[0] and s[2] % w[2] == 0 and s[3] % w[3] == 0, "mul_mat", weight, x)
    graph = graph_of(x, weight)
    lib = ggml()
    node = lib.ggml_mul_mat(graph.context.address, weight.address, x.address)
    if exact:
        lib.ggml_prec_set_acc(node, _abi.GGML_PREC_F32)
    return graph.result(node, _abi.GGML_TYPE_F32, (w[1], s[1], s[2], s[3]))


def hadamard(x: Tensor, matrix: Tensor) -> Tensor:
    """Blocks of x times a Hadamard ``matrix`` [n, n], which libggml need not read: [like x]."""
    n = matrix.shape[0]
    check(x.shape[0] % n == 0 and matrix.shape == (n, n, 1, 1), "hadamard", x, matrix)
    check_type("hadamard", x, matrix)
    graph, lib = graph_of(x), ggml()
    address = graph.context.address
    is_packed = lib.ggml_is_contiguous(x.address)
    packed = x.address if is_packed else lib.ggml_cont(address, x.address)
    blocks = lib.ggml_reshape_2d(address, packed, n, n_elements(x.shape) // n)
    node = lib.ggml_mul_mat(address, matrix.address, blocks)
    lib.ggml_mul_mat_set_hint(node, _abi.GGML_HINT_SRC0_IS_HADAMARD)
    return graph.result(lib.ggml_reshape_4d(address, node, *x.shape), _abi.GGML_TYPE_F32, x.shape)


def mul_mat_id(weights: Tensor, x: Tensor, ids: Tensor) -> Tensor:
    """One matrix of ``weights`` [n_in, n_out, E] for each row of x, named by ``ids`` [k, n].

    x is [n_in, k, n], or [n_in, 1, n] where all k matrices take the same row. -> [n_out, k, n].
    """
    w, s, i = weights.shape, x.shape, ids.shape
    fits = w[0] == s[0] and s[1] in (1, i[0]) and s[2] == i[1] and w[3] == s[3] == 1
    check(fits and ids.type == _abi.GGML_TYPE_I32, "mul_mat_id", weights, x, ids)
    graph = graph_of(x, ids)
    lib = ggml()
    node = lib.ggml_mul_mat_id(graph.context.address, weights.address, x.address, ids.address)
    return graph.result(node, _abi.GGML_TYPE_F32, (w[1], i[0], i[1], 1))


def add_id(x: Tensor, biases: Tensor, ids: Tensor) -> Tensor:
    """x [n_out, k, n] plus the rows of ``biases`` [n_out, E] that ``ids`` [k, n] names."""
    fits = biases.shape[0] == x.shape[0] and biases.shape[2:] == (1, 1)
    fits = fits and ids.type == _abi.GGML_TYPE_I32 and x.shape[1:3] == ids.shape[:2]
    check(fits, "add_id", x, biases, ids)
    check_type("add_id", x, biases)
    graph = graph_of(x, ids)
    node = ggml().ggml_add_id(graph.context.address, x.address, biases.address, ids.address)
    return graph.result(node, x.type, x.shape)


RopeSettings = tuple[int, int, int, float, float, float, float, float, float]
"""n_dims, mode, n_ctx_orig, freq_base, freq_scale, ext_factor, attn_factor, beta_fast and _slow."""

RopeSections = tuple[int, int, int, int]
"""Rotated pairs that follow the positions in time, height, width and an extra one."""


def rope(x: Tensor, positions: Tensor, factors: Tensor | None, settings: RopeSettings) -> Tensor:
    """Rotate x [n, n_head, n_tokens] by ``positions`` (int32 [n_tokens])."""
    _check_rope(x, positions, factors, settings[0], 1)
    graph = graph_of(x, positions)
    factor_address = None if factors is None else factors.address
    node = ggml().ggml_rope_ext(
        graph.context.address, x.address, positions.address, factor_address, *settings
    )
    return graph.result(node, x.type, x.shape)


def rope_multi(
    x: Tensor,
    positions: Tensor,
    factors: Tensor | None,
    sections: RopeSections,
    settings: RopeSettings,
) -> Tensor:
    """As :func:`rope`, by four positions: int32 [4 · n_tokens], all times first, and so on."""
    _check_rope(x, positions, factors, settings[0], 4)
    graph = graph_of(x, positions)
    pairs = (c_int32 * 4)(*sections)
    node = ggml().ggml_rope_multi(
        graph.context.address,
        x.address,
        positions.address,
        None if factors is None else factors.address,
        settings[0],
        addressof(pairs),
        *settings[1:],
    )
    return graph.result(node, x.type, x.shape)


def _check_rope(
    x: Tensor, positions: Tensor, factors: Tensor | None, n_dims: int, n_positions: int
) -> None:
    fits = x.shape[2] * n_positions == positions.shape[0] and 0 < n_dims <= x.shape[0]
    check(fits and n_dims % 2 == 0, "rope", x, positions)
    if factors is not None:
        check(factors.shape[0] >= n_dims // 2, "rope", x, factors)
        check_type("rope", factors)


def flash_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    scale: float,
    *,
    cap: float = 0.0,
    sinks: Tensor | None = None,
) -> Tensor:
    """softmax(q·k·scale + mask)·v, fused, accumulated in float32.

    q [n, n_tokens, n_head], k and v [n, n_kv, n_head_kv], mask float16 [n_kv, n_tokens]
    -> [n_v, n_head, n_tokens]. ``cap`` limits scores to cap · tanh(score / cap); ``sinks``
    [n_head] takes part in the sum that scores are divided by.
    """
    fits = q.shape[0] == k.shape[0] and k.shape[1] == v.shape[1] and k.shape[2] == v.shape[2]
    check(fits and k.shape[2] > 0 and q.shape[2] % k.shape[2] == 0, "flash_attention", q, k, v)
    check(mask.shape[:2] == (k.shape[1], q.shape[1]), "flash_attention mask", mask, k)
    graph, lib = graph_of(q), ggml()
    node = lib.ggml_flash_attn_ext(
        graph.context.address, q.address, k.address, v.address, mask.address, scale, 0.0, cap
    )
    assert node
    if sinks is not None:
        fits = sinks.shape == (q.shape[2], 1, 1, 1) and sinks.type == _abi.GGML_TYPE_F32
        check(fits, "flash_attention sinks", sinks, q)
        lib.ggml_flash_attn_ext_add_sinks(node, sinks.address)
    lib.ggml_prec_set_acc(node, _abi.GGML_PREC_F32)
    return graph.result(node, _abi.GGML_TYPE_F32, (v.shape[0], q.shape[2], q.shape[1], 1))
