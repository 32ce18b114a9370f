"""Ops compute what they say, and refuse shapes on which libggml would abort the process."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from cama.core.errors import Interrupted
from cama.ggml import _abi, ops
from cama.ggml.abort import AbortFlag
from cama.ggml.backend import Backend, Scheduler, devices
from cama.ggml.graph import Graph
from cama.ggml.ops import ShapeError
from cama.ggml.tensor import Tensor

pytestmark = pytest.mark.native

F32, F16, I32, I64 = (
    _abi.GGML_TYPE_F32,
    _abi.GGML_TYPE_F16,
    _abi.GGML_TYPE_I32,
    _abi.GGML_TYPE_I64,
)


@pytest.fixture
def graph() -> Iterator[Graph]:
    graph = Graph(64)
    yield graph
    graph.close()


def _run(
    graph: Graph, result: Tensor, inputs: list[tuple[Tensor, NDArray[np.generic]]]
) -> NDArray[np.float32]:
    """Compute ``result`` on the CPU from the given inputs; a copy, ne0 last."""
    graph.output(result)
    backend = Backend(1, AbortFlag())
    scheduler = Scheduler([backend], 64)
    scheduler.check(graph.nodes)
    scheduler.allocate(graph)
    for tensor, values in inputs:
        tensor.numpy().reshape(values.shape)[:] = values
    scheduler.compute(graph)
    computed = result.numpy().copy().astype(np.float32)
    scheduler.close()
    backend.close()
    return computed


def _random(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_mul_mat_multiplies_with_the_transposed_weight(graph: Graph) -> None:
    w, x = _random(5, 8), _random(3, 8)
    weight, rows = graph.input(F32, 8, 5), graph.input(F32, 8, 3)
    product = _run(graph, ops.mul_mat(weight, rows), [(weight, w), (rows, x)])
    np.testing.assert_allclose(product[0, 0], x @ w.T, rtol=1e-5)


def test_rms_norm_divides_by_the_root_mean_square(graph: Graph) -> None:
    x = _random(3, 16)
    rows = graph.input(F32, 16, 3)
    normed = _run(graph, ops.rms_norm(rows, 1e-5), [(rows, x)])
    expected = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(normed[0, 0], expected, rtol=1e-5)


def test_swiglu_gates(graph: Graph) -> None:
    a, b = _random(2, 16), _random(2, 16)[::-1].copy()
    gate, up = graph.input(F32, 16, 2), graph.input(F32, 16, 2)
    out = _run(graph, ops.swiglu(gate, up), [(gate, a), (up, b)])
    np.testing.assert_allclose(out[0, 0], a / (1 + np.exp(-a)) * b, rtol=1e-4)


def test_get_rows_picks_rows(graph: Graph) -> None:
    values = _random(6, 4)
    table, ids = graph.input(F32, 4, 6), graph.input(I32, 3)
    picked = _run(
        graph, ops.get_rows(table, ids), [(table, values), (ids, np.array([4, 0, 4], np.int32))]
    )
    np.testing.assert_array_equal(picked[0, 0], values[[4, 0, 4]])


def test_operators_add_and_multiply(graph: Graph) -> None:
    x, b = _random(3, 4), _random(1, 4)
    rows, bias = graph.input(F32, 4, 3), graph.input(F32, 4)
    out = _run(graph, (rows + bias) * bias, [(rows, x), (bias, b[0])])
    np.testing.assert_allclose(out[0, 0], (x + b) * b, rtol=1e-6)


WRONG: dict[str, Callable[[Graph], object]] = {
    "add": lambda g: g.input(F32, 4, 3) + g.input(F32, 3),
    "mul": lambda g: g.input(F32, 4) * g.input(F32, 4, 3),
    "mul_mat": lambda g: ops.mul_mat(g.input(F32, 8, 5), g.input(F32, 4, 3)),
    "swiglu": lambda g: ops.swiglu(g.input(F32, 8), g.input(F32, 4)),
    "reshape": lambda g: ops.reshape(g.input(F32, 8), 3, 3),
    "get_rows of floats": lambda g: ops.get_rows(g.input(F32, 8, 2), g.input(F32, 2)),
    "set_rows": lambda g: ops.set_rows(g.input(F32, 8, 4), g.input(F32, 4, 2), g.input(I64, 2)),
    "rope": lambda g: ops.rope(g.input(F32, 8, 2, 3), g.input(I32, 4), None, _rope(8)),
    "rope of more than a head": lambda g: ops.rope(
        g.input(F32, 8, 2, 3), g.input(I32, 3), None, _rope(16)
    ),
    "rope with few factors": lambda g: ops.rope(
        g.input(F32, 8, 2, 3), g.input(I32, 3), g.input(F32, 3), _rope(8)
    ),
    "a quantized norm": lambda g: g.input(F32, 32, 2) * g.input(_abi.GGML_TYPE_Q8_0, 32),
    "rope with factors of float16": lambda g: ops.rope(
        g.input(F32, 8, 2, 3), g.input(I32, 3), g.input(F16, 4), _rope(8)
    ),
    "rope_multi with one position per token": lambda g: ops.rope_multi(
        g.input(F32, 8, 2, 3), g.input(I32, 3), None, (2, 1, 1, 0), _rope(8)
    ),
    "mul_mat_id": lambda g: ops.mul_mat_id(
        g.input(F32, 8, 5, 4), g.input(F32, 8, 1, 3), g.input(I32, 2, 4)
    ),
    "add_id": lambda g: ops.add_id(g.input(F32, 5, 2, 3), g.input(F32, 4, 4), g.input(I32, 2, 3)),
    "more of top_k than there is": lambda g: ops.top_k(g.input(F32, 4, 3), 5),
    "part": lambda g: ops.part(g.input(F32, 8, 3), 6, 4),
    "rows_of": lambda g: ops.rows_of(g.input(F32, 8, 3), 2, 2),
    "slice_of": lambda g: ops.slice_of(g.input(F32, 8, 3, 2), 3),
    "planes_of": lambda g: ops.planes_of(g.input(F32, 8, 3, 2), 1, 2),
    "planes": lambda g: ops.planes(g.input(F32, 8, 7), 3, 2),
    "split": lambda g: ops.split(g.input(F32, 8, 3), 0, 3, 3),
    "concat": lambda g: ops.concat(g.input(F32, 8, 3), g.input(F32, 7, 3), 1),
    "repeat": lambda g: ops.repeat(g.input(F32, 8, 3), 8, 4),
    "swiglu_halves": lambda g: ops.swiglu_halves(g.input(F32, 7, 2)),
    "ssm_conv": lambda g: ops.ssm_conv(g.input(F32, 3, 8), g.input(F32, 4, 8)),
    "ssm_scan": lambda g: ops.ssm_scan(
        g.input(F32, 4, 2, 3, 1),
        g.input(F32, 2, 3, 5, 1),
        g.input(F32, 3, 5, 1),
        g.input(F32, 1, 3),
        g.input(F32, 4, 2, 5, 1),
        g.input(F32, 4, 2, 5, 1),
        slots=g.input(I32, 1),
    ),
    "gated_delta_net": lambda g: ops.gated_delta_net(
        g.input(F32, 4, 2, 5, 1),
        g.input(F32, 4, 2, 5, 1),
        g.input(F32, 4, 3, 5, 1),
        g.input(F32, 1, 3, 5, 1),
        g.input(F32, 1, 3, 5, 1),
        g.input(F32, 4, 4, 3, 1),
    ),
    "sinks": lambda g: ops.flash_attention(
        g.input(F32, 8, 2, 4),
        g.input(F16, 8, 4, 2),
        g.input(F16, 8, 4, 2),
        g.input(F16, 4, 2),
        1.0,
        sinks=g.input(F32, 3),
    ),
    "flash_attention": lambda g: ops.flash_attention(
        g.input(F32, 8, 2, 3), g.input(F16, 8, 4, 2), g.input(F16, 8, 4, 2), g.input(F16, 4, 2), 1.0
    ),
}


def _rope(n_dims: int) -> ops.RopeSettings:
    return (n_dims, 0, 64, 10000.0, 1.0, 0.0, 1.0, 32.0, 1.0)


@pytest.mark.parametrize("op", WRONG)
def test_wrong_shapes_are_refused(graph: Graph, op: str) -> None:
    with pytest.raises(ShapeError, match=r"do not fit together|is of type"):
        WRONG[op](graph)


def test_error_names_the_tensor(graph: Graph) -> None:
    with pytest.raises(ShapeError, match=r"blk\.0\.attn_q\.weight \[8, 5, 1, 1\]"):
        ops.mul_mat(graph.input(F32, 8, 5, name="blk.0.attn_q.weight"), graph.input(F32, 4, 3))


def test_devices_tell_of_the_cpu_and_its_memory() -> None:
    (cpu,) = [d for d in devices() if d.type == _abi.GGML_BACKEND_DEVICE_TYPE_CPU]
    assert cpu.name == "CPU"
    assert 0 < cpu.free_bytes <= cpu.total_bytes


def test_abort_flag_stops_a_computation(graph: Graph) -> None:
    x = graph.input(F32, 64, 64)
    abort = AbortFlag()
    backend = Backend(1, abort)
    scheduler = Scheduler([backend], 64)
    result = graph.output(ops.mul_mat(x, x))
    scheduler.allocate(graph)
    x.numpy()[:] = 1
    abort.set()
    with pytest.raises(Interrupted):
        scheduler.compute(graph)
    abort.clear()
    scheduler.compute(graph)
    np.testing.assert_array_equal(result.numpy(), 64)
    scheduler.close()
    backend.close()
