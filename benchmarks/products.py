"""Products of quantized weights with rows of floats, by ggml alone and with Cama's kernels.

One way to run a product serves the tests of its results and the measurement of its speed.
"""

import ctypes
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cama.ggml import _abi, ops
from cama.ggml.abort import AbortFlag
from cama.ggml.backend import Backend, Buffer, Scheduler
from cama.ggml.graph import Context, Graph
from cama.ggml.library import ggml
from cama.ggml.quantize import dequantize, quantize
from cama.ggml.tensor import Tensor
from cama.gguf import GGMLType

FORMATS = (
    "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0",
    "IQ4_NL", "IQ4_XS", "MXFP4", "F16", "BF16",
)  # fmt: skip

_DISTINCT = 512


@dataclass(frozen=True)
class Case:
    """``n_rows`` rows of ``n_in`` floats times a matrix of ``n_out``; with experts each row picks
    ``n_used`` of ``n_experts`` matrices. Several ``n_matrices`` keep weights out of the caches."""

    type: str
    n_in: int
    n_out: int
    n_rows: int
    n_experts: int = 0
    n_used: int = 0
    n_matrices: int = 1

    @property
    def n_products(self) -> int:
        """Multiplications of a weight with a number."""
        return self.n_in * self.n_out * self.n_rows * max(1, self.n_used) * self.n_matrices


class Operands:
    """Numbers of a case, always the same ones. Some columns are much larger, as in real models."""

    def __init__(self, case: Case) -> None:
        rng = np.random.default_rng(case.n_in + case.n_rows)
        n = min(_DISTINCT, case.n_out) * max(1, case.n_experts)
        kind = GGMLType[case.type]
        data = quantize(kind, rng.standard_normal((n, case.n_in), np.float32) * np.float32(0.02))
        values = dequantize(kind, memoryview(data.tobytes()), n * case.n_in)
        repeat = -(-case.n_out // _DISTINCT) if not case.n_experts else 1
        rows = case.n_out * max(1, case.n_experts)
        self.data = np.ascontiguousarray(np.tile(data, (repeat, 1))[:rows])
        self.weights = np.tile(values.reshape(n, -1), (repeat, 1))[:rows]
        self.x = rng.standard_normal((case.n_rows, case.n_in), np.float32)
        self.x[:, :: case.n_in // 5] *= 8
        experts = np.arange(max(1, case.n_experts))
        picked = [rng.permutation(experts)[: case.n_used] for _ in range(case.n_rows)]
        self.ids = np.array(picked, np.int32)

    def expected(self, case: Case) -> NDArray[np.float64]:
        """In double precision, from the weights as they are quantized: [rows, (used,) n_out]."""
        x, weights = self.x.astype(np.float64), self.weights.astype(np.float64)
        if not case.n_experts:
            return x @ weights.T
        each = weights.reshape(case.n_experts, case.n_out, case.n_in)
        return np.array(
            [[each[e] @ row for e in ids] for row, ids in zip(x, self.ids, strict=True)]
        )


class Processor(Backend):
    """ggml's CPU backend, without the kernels unless they are asked for."""

    def __init__(self, n_threads: int, *, has_kernels: bool) -> None:
        self.abort = AbortFlag()
        super().__init__(n_threads, self.abort)
        if not has_kernels:
            *others, cpu = self.addresses
            for address in others:
                ggml().ggml_backend_free(address)
            self.addresses = (cpu,)


class Run:
    """A case ready to be computed, over weights in the buffer type ``layout``."""

    def __init__(
        self, case: Case, operands: Operands, processor: Processor, layout: int | None = None
    ) -> None:
        self._context = Context(case.n_matrices)
        shape = (case.n_in, case.n_out, max(1, case.n_experts))
        weights = [
            self._context.new(GGMLType[case.type], shape, f"w{i}") for i in range(case.n_matrices)
        ]
        kind = layout or ggml().ggml_backend_cpu_buffer_type()
        self._buffer = Buffer(
            ggml().ggml_backend_alloc_ctx_tensors_from_buft(self._context.address, kind)
        )
        self._buffer.hold_weights()
        self.graph = Graph(16 + 4 * case.n_matrices)
        self._inputs = self._input(case)
        self.outputs = [self.graph.output(self._product(case, w)) for w in weights]
        self.is_supported = processor.supports(self.outputs[0].address)
        self._scheduler = Scheduler([processor], 64)
        if not self.is_supported:
            return
        for weight in weights:
            data = operands.data
            ggml().ggml_backend_tensor_set(weight.address, data.ctypes.data, 0, data.nbytes)
        self._scheduler.allocate(self.graph)
        self._inputs[0].numpy().reshape(operands.x.shape)[:] = operands.x
        if case.n_experts:
            self._inputs[1].numpy()[0, 0] = operands.ids

    def _input(self, case: Case) -> list[Tensor]:
        f32, i32 = _abi.GGML_TYPE_F32, _abi.GGML_TYPE_I32
        if not case.n_experts:
            return [self.graph.input(f32, case.n_in, case.n_rows)]
        return [
            self.graph.input(f32, case.n_in, 1, case.n_rows),
            self.graph.input(i32, case.n_used, case.n_rows),
        ]

    def _product(self, case: Case, weight: Tensor) -> Tensor:
        if case.n_experts:
            return ops.mul_mat_id(weight, *self._inputs)
        return ops.mul_mat(weight, *self._inputs)

    def compute(self) -> None:
        self._scheduler.compute(self.graph)

    def weights(self) -> NDArray[np.int64]:
        """The memory of all matrices, where weights are as in the file."""
        base = ggml().ggml_backend_buffer_get_base(self._buffer.address)
        n_bytes = ggml().ggml_backend_buffer_get_size(self._buffer.address)
        memory = (ctypes.c_char * (n_bytes // 8 * 8)).from_address(base)
        return np.frombuffer(memoryview(memory), np.int64)

    def result(self) -> NDArray[np.float32]:
        """[rows, (used,) n_out] of the first matrix."""
        rows: NDArray[np.float32] = self.outputs[0].numpy().view(np.float32)
        found: NDArray[np.float32] = rows[0] if len(self._inputs) > 1 else rows[0, 0]
        return found

    def close(self) -> None:
        self._scheduler.close()
        self.graph.close()
        self._buffer.close()
        self._context.close()


def error(result: NDArray[np.float32], expected: NDArray[np.float64]) -> float:
    """The squared error, normalised by the square of what is expected (NMSE)."""
    return float(np.square(result - expected).sum() / np.square(expected).sum())
