"""Plans as libllama's batches: arrays that are allocated once and filled for each pass."""

from collections.abc import Callable
from ctypes import c_float

import numpy as np
from numpy.typing import NDArray

from cama.engine.base import Logits, Plan
from cama.engine.cells import Ids
from cama.ggml._llama_abi import llama_batch
from cama.ggml.llama import llama

Embeddings = NDArray[np.float32]
"""Float32 [tokens, width]."""


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

    def fill(self, plan: Plan, position: Callable[[int, int], int] | None = None) -> llama_batch:
        """The batch of ``plan``, valid until the next call.

        ``position`` gives that of a token by its sequence and index, where they are not the same.
        """
        first = 0
        for span in plan.spans:
            end = first + len(span.tokens)
            start = position(span.seq, span.start) if position else span.start
            self._tokens[first:end] = span.tokens
            self._positions[first:end] = np.arange(start, start + end - first)
            self._seqs[first:end] = span.seq
            self._outputs[first:end] = 0
            self._outputs[end - span.n_outputs : end] = 1
            first = end
        self._batch.n_tokens = first
        return self._batch


class ImageBatch:
    """A part of an image: rows of ``embeddings`` at ``positions`` of a sequence.

    ``positions`` are int32 [kinds, tokens]: M-RoPE has four kinds, others one. ``wants_logits``:
    behind the last token.
    """

    def __init__(
        self, embeddings: Embeddings, positions: Ids, seq: int, *, wants_logits: bool
    ) -> None:
        n_tokens = len(embeddings)
        outputs = np.zeros(n_tokens, np.int8)
        outputs[-1] = wants_logits
        seqs, n_seqs = np.full(1, seq, np.int32), np.ones(n_tokens, np.int32)
        pointers = np.full(n_tokens, seqs.ctypes.data, np.uintp)
        arrays = (
            np.ascontiguousarray(embeddings), np.ascontiguousarray(positions),
            n_seqs, pointers, outputs,
        )  # fmt: skip
        self._arrays = (*arrays, seqs)
        embd, pos, counts, seq_ids, logits = (array.ctypes.data for array in arrays)
        self.batch = llama_batch(
            n_tokens=n_tokens, embd=embd, pos=pos, n_seq_id=counts, seq_id=seq_ids, logits=logits
        )


def logits_of(context: int, n_rows: int, n_vocab: int) -> Logits:
    """The rows that the last pass computed, in the order of its batch: a view."""
    if not n_rows:
        return np.empty((0, n_vocab), np.float32)
    address = llama().llama_get_logits(context)
    memory = (c_float * (n_rows * n_vocab)).from_address(address)
    return np.ndarray((n_rows, n_vocab), np.float32, memoryview(memory))
