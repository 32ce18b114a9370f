"""What lies between products, computed beside one of them, against ggml."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.products import Processor
from cama.ggml import _abi, ops
from cama.ggml.backend import Scheduler
from cama.ggml.graph import Graph
from cama.ggml.library import ggml
from cama.ggml.ops.products import RopeSettings
from cama.ggml.quantize import quantize
from cama.ggml.tensor import Tensor, row_bytes
from cama.gguf import GGMLType

pytestmark = pytest.mark.native

N_IN, F32, F16 = 256, _abi.GGML_TYPE_F32, _abi.GGML_TYPE_F16
Build = Callable[["Made", Tensor], Tensor]


class Made:
    """A graph that is being made, with what its inputs will hold."""

    def __init__(self) -> None:
        self.graph = Graph(64)
        self.values: list[tuple[Tensor, NDArray[np.generic]]] = []
        self._random = np.random.default_rng(5)

    def input(self, type: int, values: NDArray[np.generic], *shape: int) -> Tensor:
        tensor = self.graph.input(type, *shape)
        self.values.append((tensor, values))
        return tensor

    def noise(self, *shape: int) -> Tensor:
        return self.input(F32, self._random.standard_normal(shape[::-1], np.float32), *shape)

    def results(self, processor: Processor, *wanted: Tensor) -> list[NDArray[np.generic]]:
        scheduler = Scheduler([processor], 64)
        scheduler.allocate(self.graph)
        for tensor, values in self.values:
            ggml().ggml_backend_tensor_set(tensor.address, values.ctypes.data, 0, values.nbytes)
        scheduler.compute(self.graph)
        found = [contents(tensor) for tensor in wanted]
        scheduler.close()
        self.graph.close()
        return found


def contents(tensor: Tensor) -> NDArray[np.generic]:
    if tensor.type == F32:
        return tensor.numpy().view(np.float32).copy()
    found = np.empty(tensor.row_bytes * tensor.shape[1], np.uint8)
    ggml().ggml_backend_tensor_get(tensor.address, found.ctypes.data, 0, found.nbytes)
    return found


def rope(settings: RopeSettings, *, has_factors: bool = False, stride: int = 3) -> Build:
    def build(made: Made, y: Tensor) -> Tensor:
        n = y.shape[1]
        positions = made.input(_abi.GGML_TYPE_I32, np.arange(n, dtype=np.int32) * stride, n)
        factors = np.linspace(1, 8, settings[0] // 2, dtype=np.float32)
        given = made.input(F32, factors, len(factors)) if has_factors else None
        return ops.rope(ops.reshape(y, y.shape[0] // 3, 3, n), positions, given, settings)

    return build


def stored(type: int) -> Build:
    def build(made: Made, y: Tensor) -> Tensor:
        n = y.shape[1]
        places = np.random.default_rng(3).permutation(2 * n)[:n]
        empty = np.zeros((2 * n, row_bytes(type, y.shape[0])), np.uint8)
        cache = made.input(type, empty, y.shape[0], 2 * n)
        return ops.set_rows(cache, y, made.input(_abi.GGML_TYPE_I64, places, n))

    return build


def scaled(made: Made, y: Tensor) -> Tensor:
    return ops.mul(ops.rms_norm(y, 1e-5), made.noise(y.shape[0]))


def scaled_elsewhere(made: Made, y: Tensor) -> Tensor:
    """The norm is wanted, too: it may not be skipped."""
    norm = made.graph.output(ops.rms_norm(y, 1e-5))
    return ops.add(ops.mul(norm, made.noise(y.shape[0])), norm)


BUILDS: Mapping[str, Build] = {
    "norm": lambda made, y: ops.rms_norm(y, 1e-5),
    "scaled": scaled,
    "scaled elsewhere": scaled_elsewhere,
    "sum": lambda made, y: ops.add(y, made.noise(*y.shape[:2])),
    "bias": lambda made, y: ops.add(y, made.noise(y.shape[0])),
    "weighted": lambda made, y: ops.mul(y, made.noise(1, y.shape[1])),
    "gated": lambda made, y: ops.swiglu(y, made.noise(*y.shape[:2])),
    "gated halves": lambda made, y: ops.swiglu_halves(y),
    "pairs": rope((20, 0, 512, 1e4, 1.0, 0.0, 1.0, 32.0, 1.0)),
    "pairs with factors": rope((20, 0, 512, 1e4, 1.0, 0.0, 1.0, 32.0, 1.0), has_factors=True),
    "halves": rope((32, 2, 512, 1e6, 0.5, 0.0, 1.2, 32.0, 1.0)),
    "YaRN": rope((32, 2, 64, 1e4, 0.25, 1.0, 1.0, 32.0, 1.0), stride=11),
    "halves in the cache": stored(F16),
    "floats in the cache": stored(F32),
    "blocks in the cache": stored(_abi.GGML_TYPE_Q8_0),
}


def product_rows(made: Made, n_out: int, n_rows: int) -> Tensor:
    """Rows that a product of ours gives; they stay."""
    random = np.random.default_rng(n_out)
    data = quantize(GGMLType.Q8_0, random.standard_normal((n_out, N_IN), np.float32))
    weight = made.input(_abi.GGML_TYPE_Q8_0, data, N_IN, n_out)
    x = np.random.default_rng(1).standard_normal((n_rows, N_IN), np.float32)
    return made.graph.output(ops.mul_mat(weight, made.input(F32, x, N_IN, n_rows)))


def both(
    build: Build, n_out: int, n_rows: int, processors: tuple[Processor, Processor]
) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """What the kernels give beside a product, and what ggml makes of that product's rows."""
    own, plain = processors
    made, again = Made(), Made()
    y = product_rows(made, n_out, n_rows)
    wanted = made.graph.output(build(made, y))
    assert ggml().ggml_backend_supports_op(own.addresses[0], wanted.address)
    found, rows = made.results(own, wanted, y)
    leaf = again.input(F32, rows.view(np.float32), n_out, n_rows)
    (expected,) = again.results(plain, again.graph.output(build(again, leaf)))
    return found, expected


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("n_rows", [64, 99])
def test_operations_give_what_those_of_ggml_do(
    name: str, n_rows: int, processors: tuple[Processor, Processor]
) -> None:
    found, expected = both(BUILDS[name], 96, n_rows, processors)
    if found.dtype == np.uint8:
        np.testing.assert_array_equal(found, expected)
    else:
        a, b = found.view(np.float32), expected.view(np.float32)
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-4 * float(np.abs(b).max()))


@pytest.mark.parametrize("name", ["norm", "scaled", "sum", "gated"])
def test_rows_need_not_be_whole_vectors(name: str, processors: tuple[Processor, Processor]) -> None:
    found, expected = both(BUILDS[name], 1037, 64, processors)
    np.testing.assert_allclose(
        found.view(np.float32), expected.view(np.float32), rtol=2e-5, atol=1e-6
    )


def test_what_is_far_from_products_of_ours_stays_with_ggml(own: Processor) -> None:
    made = Made()
    leaf = made.noise(64, 64)
    wanted = made.graph.output(ops.rms_norm(leaf, 1e-5))
    assert not ggml().ggml_backend_supports_op(own.addresses[0], wanted.address)
    made.graph.close()


def test_rows_between_products_are_one_piece_of_work(own: Processor) -> None:
    made = Made()
    y = product_rows(made, 96, 64)
    for build in (scaled, BUILDS["sum"], BUILDS["gated"]):
        y = build(made, y)
    wanted = made.graph.output(y)
    scheduler = Scheduler([own], 64)
    scheduler.allocate(made.graph)
    assert scheduler.n_splits == 1
    assert wanted.address
    scheduler.close()
    made.graph.close()
