"""Plans as libllama's batches: arrays that are allocated once and filled for each pass."""

from ctypes import c_float

import numpy as np

from cama.engine.base import Logits, Plan
from cama.ggml._llama_abi import llama_batch
from cama.ggml.llama import llama


class Batch:
    """Room for ``n_tokens`` tokens, each of one sequence."""

    def __init__(self, n_tokens: int) -> None:
        self._tokens = np.zeros(n_tokens, np.int32)
        self._positions = np.zeros(n_tokens, np.int32)
        self._seqs = np.zeros(n_tokens, np.int32)
        self._outputs = np.zeros(n_tokens, np.int8)
        self._n_seqs = np.ones(n_tokens, np.int32)
        first = self._seqs.ctypes.data
        self._seq_pointers = first + 4 * np.arange(n_tokens, dtype=np.uintp)
        self._batch = llama_batch(
            token=self._tokens.ctypes.data,
            pos=self._positions.ctypes.data,
            n_seq_id=self._n_seqs.ctypes.data,
            seq_id=self._seq_pointers.ctypes.data,
            logits=self._outputs.ctypes.data,
        )

    def fill(self, plan: Plan) -> llama_batch:
        """The batch of ``plan``, valid until the next call."""
        first = 0
        for span in plan.spans:
            end = first + len(span.tokens)
            self._tokens[first:end] = span.tokens
            self._positions[first:end] = np.arange(span.start, span.start + end - first)
            self._seqs[first:end] = span.seq
            self._outputs[first:end] = 0
            self._outputs[end - span.n_outputs : end] = 1
            first = end
        self._batch.n_tokens = first
        return self._batch


def logits_of(context: int, n_rows: int, n_vocab: int) -> Logits:
    """The rows that the last pass computed, in the order of its batch: a view."""
    if not n_rows:
        return np.empty((0, n_vocab), np.float32)
    address = llama().llama_get_logits(context)
    memory = (c_float * (n_rows * n_vocab)).from_address(address)
    return np.ndarray((n_rows, n_vocab), np.float32, memoryview(memory))
