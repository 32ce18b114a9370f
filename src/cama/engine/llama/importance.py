"""Importance of a model's columns: what its matrices are multiplied with while it reads a text.

libllama asks after every operation whether it is wanted. That is Python code a thousand times in a
pass of some hundred tokens, which is lost beside the pass itself.
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cama.core.errors import EngineError, InvalidRequest, LoadFailed
from cama.core.load import LoadOptions
from cama.engine.base import Plan, SeqId, Span
from cama.engine.llama.batch import Batch
from cama.engine.llama.model import check_generates, context_params, open_model
from cama.engine.threads import default_threads
from cama.engine.tokenizer import LlamaTokenizer
from cama.ggml._abi import (
    GGML_OP_MUL_MAT,
    GGML_OP_MUL_MAT_ID,
    GGML_TYPE_F32,
    GGML_TYPE_I32,
    ggml_backend_sched_eval_callback,
    ggml_tensor,
)
from cama.ggml.importance import Sums
from cama.ggml.library import address_of, ggml
from cama.ggml.llama import llama, new_context

Progress = Callable[[int, int], None]
"""Told how many chunks are done, and of how many."""

_LEAST_ROWS = 16
"""Smaller products are not those of the text: llama.cpp leaves them out too."""

_SEQ = SeqId(0)


def measure_importance(
    path: Path, text: str, chunk_size: int, n_chunks: int, n_threads: int, progress: Progress
) -> tuple[dict[str, Sums], int]:
    """Sums by tensor over at most ``n_chunks`` chunks of ``text`` (0: all), and how many were read.

    Each chunk of ``chunk_size`` tokens is read by itself, with the token that begins a text in
    front, if the model has one. Raises what loading does, InvalidRequest on a text of less than
    one chunk, and EngineError.
    """
    load = LoadOptions(n_batch=chunk_size, n_threads=n_threads)
    model = open_model(path, load, lambda fraction: None)
    try:
        check_generates(model)
        tokenizer = LlamaTokenizer.of_model(model)
        chunks = list(_chunks(tokenizer, text, chunk_size))[: n_chunks or None]
        if not chunks:
            raise InvalidRequest(f"the text has fewer than {chunk_size} tokens, one chunk")
        return _measure(model, chunks, load, progress), len(chunks)
    finally:
        llama().llama_model_free(model)


def _chunks(tokenizer: LlamaTokenizer, text: str, size: int) -> Iterator[list[int]]:
    ids = tokenizer.encode(text, add_special=True, parse_special=False)
    has_bos = tokenizer.bos is not None and ids[:1] == [tokenizer.bos]
    for start in range(0, len(ids) - size + 1, size):
        chunk = ids[start : start + size]
        yield [ids[0], *chunk[1:]] if has_bos else chunk


def _measure(
    model: int, chunks: Sequence[Sequence[int]], load: LoadOptions, progress: Progress
) -> dict[str, Sums]:
    collector = _Collector()
    callback = ggml_backend_sched_eval_callback(collector)
    params = context_params(load, load.n_threads or default_threads(), None)
    params.n_ctx = params.n_batch = params.n_ubatch = load.n_batch
    params.cb_eval = address_of(callback)
    context = new_context(model, params)
    batch = Batch(load.n_batch)
    try:
        for done, chunk in enumerate(chunks):
            progress(done, len(chunks))
            llama().llama_memory_clear(llama().llama_get_memory(context), True)
            # Of a row whose logits nobody wants the last layer would be left out.
            plan = Plan((Span(_SEQ, 0, chunk, len(chunk)),))
            status = llama().llama_decode(context, batch.fill(plan))
            llama().llama_synchronize(context)
            collector.check()
            if status:
                raise LoadFailed(f"libllama could not read the text (status {status})")
    finally:
        llama().llama_free(context)
    progress(len(chunks), len(chunks))
    return collector.sums()


class _Collector:
    """libllama's callback: first asks whether a node is wanted, then shows it computed."""

    def __init__(self) -> None:
        self._squares: dict[str, NDArray[np.float64]] = {}
        self._counts: dict[str, NDArray[np.float64]] = {}
        self._error: Exception | None = None

    def __call__(self, address: int, is_question: bool, _: int) -> bool:
        try:
            node = ggml_tensor.from_address(address)
            if is_question:
                return _is_wanted(node)
            self._collect(node)
        except Exception as error:  # noqa: BLE001 - no exception leaves a callback of C
            self._error = error
            return False
        return True

    def check(self) -> None:
        """Raise what went wrong in the callback."""
        if self._error is not None:
            raise EngineError(f"the importance cannot be measured: {self._error}")

    def sums(self) -> dict[str, Sums]:
        return {
            name: Sums(squares.astype(np.float32), self._counts[name].astype(np.float32))
            for name, squares in self._squares.items()
        }

    def _collect(self, node: ggml_tensor) -> None:
        weights = ggml_tensor.from_address(node.src[0])
        inputs = _floats(ggml_tensor.from_address(node.src[1]))
        name = _name(weights)
        n_matrices = weights.ne[2] * weights.ne[3]
        if name not in self._squares:
            self._squares[name] = np.zeros((n_matrices, weights.ne[0]))
            self._counts[name] = np.zeros(n_matrices)
        if node.op == GGML_OP_MUL_MAT_ID:
            chosen = _integers(ggml_tensor.from_address(node.src[2]))
            self._add_experts(name, inputs[0], chosen[0, 0])
        else:
            self._add_all(name, inputs, weights.ne[2], weights.ne[3])

    def _add_all(self, name: str, inputs: NDArray[np.float32], n2: int, n3: int) -> None:
        """``inputs`` of shape (ne3, ne2, rows, columns); matrices are repeated to fit them."""
        for i3, planes in enumerate(inputs):
            for i2, rows in enumerate(planes):
                matrix = (i3 % n3) * n2 + i2 % n2
                self._squares[name][matrix] += np.einsum("ij,ij->j", rows, rows)
                self._counts[name][matrix] += len(rows)

    def _add_experts(
        self, name: str, inputs: NDArray[np.float32], chosen: NDArray[np.int32]
    ) -> None:
        """``inputs`` of shape (tokens, 1 or used, columns), ``chosen`` of shape (tokens, used)."""
        for expert in np.unique(chosen):
            tokens, slots = np.nonzero(chosen == expert)
            rows = inputs[tokens, slots % inputs.shape[1]]
            self._squares[name][expert] += np.einsum("ij,ij->j", rows, rows)
            self._counts[name][expert] += len(rows)


def _is_wanted(node: ggml_tensor) -> bool:
    """Whether it multiplies a layer's weights with the text."""
    if node.op not in (GGML_OP_MUL_MAT, GGML_OP_MUL_MAT_ID):
        return False
    inputs = ggml_tensor.from_address(node.src[1])
    is_text = node.op == GGML_OP_MUL_MAT_ID or inputs.ne[1] >= _LEAST_ROWS
    is_layer = _name(ggml_tensor.from_address(node.src[0])).startswith("blk.")
    return is_text and is_layer and inputs.type == GGML_TYPE_F32


def _name(tensor: ggml_tensor) -> str:
    """A copy on another device is called ``CUDA0#blk.0.attn_q.weight#0``."""
    name = bytes(tensor.name).partition(b"\0")[0].decode(errors="replace")
    return name.split("#")[1] if name.count("#") >= 2 else name


def _floats(tensor: ggml_tensor) -> NDArray[np.float32]:
    return np.ndarray(_shape(tensor), np.float32, _bytes(tensor), strides=_strides(tensor))


def _integers(tensor: ggml_tensor) -> NDArray[np.int32]:
    assert tensor.type == GGML_TYPE_I32
    return np.ndarray(_shape(tensor), np.int32, _bytes(tensor), strides=_strides(tensor))


def _bytes(tensor: ggml_tensor) -> NDArray[np.uint8]:
    """A copy in this process, wherever the tensor is."""
    address = ctypes.addressof(tensor)
    data = np.empty(ggml().ggml_nbytes(address), np.uint8)
    ggml().ggml_backend_tensor_get(address, data.ctypes.data, 0, data.nbytes)
    return data


def _shape(tensor: ggml_tensor) -> tuple[int, ...]:
    """The last dimension contiguous, as NumPy has it."""
    return tuple(reversed(tensor.ne[:]))


def _strides(tensor: ggml_tensor) -> tuple[int, ...]:
    return tuple(reversed(tensor.nb[:]))
