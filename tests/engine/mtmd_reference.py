"""What libmtmd's own helpers make of a prompt with images, without any of our code between."""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import c_bool, c_char_p, c_float, c_int32, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from cama.core.load import LoadOptions
from cama.engine.base import Logits
from cama.engine.llama.model import context_params, open_model
from cama.ggml._mtmd_abi import mtmd_input_text
from cama.ggml.library import library_path
from cama.ggml.llama import llama, new_context
from cama.ggml.mtmd import load_projector, mtmd


class _Options(ctypes.Structure):
    _fields_ = (("fps", c_float), ("folder", c_char_p), ("interval", c_int64))


class _Wrapper(ctypes.Structure):
    _fields_ = (("bitmap", c_size_t), ("video", c_size_t))


class Reference:
    """A context and a projector of their own."""

    def __init__(self, context: int, projector: int, n_vocab: int, n_batch: int) -> None:
        self._context = context
        self._projector = projector
        self._n_vocab = n_vocab
        self._n_batch = n_batch
        self._library: Any = ctypes.CDLL(str(library_path("mtmd")))
        self._library.mtmd_helper_init_opt_default.restype = _Options
        self._library.mtmd_helper_bitmap_init_from_buf.restype = _Wrapper
        self._library.mtmd_helper_bitmap_init_from_buf.argtypes = (
            c_size_t, c_char_p, c_size_t, c_bool, _Options,
        )  # fmt: skip
        self._library.mtmd_helper_eval_chunks.argtypes = (
            c_size_t, c_size_t, c_size_t, c_int32, c_int32, c_int32, c_bool, c_void_p,
        )  # fmt: skip

    def logits(self, text: str, images: Sequence[bytes]) -> Logits:
        """Those behind a prompt; each ``<__media__>`` in it stands for an image."""
        return self._evaluate(text, images)[0]

    def greedy(self, text: str, images: Sequence[bytes], n: int) -> list[int]:
        """The ``n`` tokens that follow."""
        row, position = self._evaluate(text, images)
        tokens = [int(row.argmax())]
        for _ in range(n - 1):
            token = (c_int32 * 1)(tokens[-1])
            place = (c_int32 * 1)(position)
            batch = llama().llama_batch_get_one(ctypes.addressof(token), 1)
            batch.pos = ctypes.addressof(place)
            assert llama().llama_decode(self._context, batch) == 0
            position += 1
            tokens.append(int(self._row().argmax()))
        return tokens

    def _evaluate(self, text: str, images: Sequence[bytes]) -> tuple[Logits, int]:
        library, helpers = mtmd(), self._library
        llama().llama_memory_clear(llama().llama_get_memory(self._context), True)
        options = helpers.mtmd_helper_init_opt_default()
        made = [
            helpers.mtmd_helper_bitmap_init_from_buf(
                self._projector, data, len(data), False, options
            ).bitmap
            for data in images
        ]
        chunks = library.mtmd_input_chunks_init()
        try:
            data = text.encode()
            given = mtmd_input_text(data, len(data), True, True)
            bitmaps = (c_size_t * len(made))(*made)
            status = library.mtmd_tokenize(
                self._projector, chunks, ctypes.addressof(given), ctypes.addressof(bitmaps),
                len(made),
            )  # fmt: skip
            assert status == 0
            end = c_int32()
            status = helpers.mtmd_helper_eval_chunks(
                self._projector, self._context, chunks, 0, 0, self._n_batch, True,
                ctypes.addressof(end),
            )  # fmt: skip
            assert status == 0
        finally:
            library.mtmd_input_chunks_free(chunks)
            for bitmap in made:
                library.mtmd_bitmap_free(bitmap)
        return self._row(), end.value

    def _row(self) -> Logits:
        address = llama().llama_get_logits_ith(self._context, -1)
        memory = (c_float * self._n_vocab).from_address(address)
        return np.array(memory, np.float32)


@contextmanager
def reference(model_path: Path, projector_path: Path, load: LoadOptions) -> Iterator[Reference]:
    model = open_model(model_path, load, lambda fraction: None)
    params = context_params(load, load.n_threads, None)
    params.n_ctx, params.n_seq_max = 2048, 1
    params.n_batch = params.n_ubatch = load.n_batch
    context = new_context(model, params)
    options = mtmd().mtmd_context_params_default()
    options.print_timings = options.warmup = False
    options.n_threads = load.n_threads
    projector = load_projector(projector_path, model, options)
    try:
        n_vocab = llama().llama_vocab_n_tokens(llama().llama_model_get_vocab(model))
        yield Reference(context, projector, n_vocab, load.n_batch)
    finally:
        mtmd().mtmd_free(projector)
        llama().llama_free(context)
        llama().llama_model_free(model)
