"""A projector of libmtmd: pictures to runs of tokens, and those to embeddings."""

import ctypes
import hashlib
import weakref
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import c_float, c_size_t
from pathlib import Path
from typing import Final

import numpy as np

from cama.core.errors import (
    EngineError,
    Interrupted,
    InvalidRequest,
    Unsupported,
    UnsupportedModel,
)
from cama.core.load import LoadOptions
from cama.engine.base import Image, Picture, Placed, Prompt
from cama.engine.cells import Ids
from cama.engine.llama.batch import Embeddings
from cama.engine.llama.projector_header import check_projector
from cama.engine.tokenizer import utf8
from cama.ggml._abi import ggml_backend_sched_eval_callback
from cama.ggml._llama_abi import LLAMA_FLASH_ATTN_TYPE_AUTO
from cama.ggml._mtmd_abi import (
    MTMD_INPUT_CHUNK_TYPE_IMAGE,
    MTMD_INPUT_CHUNK_TYPE_TEXT,
    mtmd_input_part,
    mtmd_input_text,
)
from cama.ggml.abort import AbortFlag
from cama.ggml.library import address_of
from cama.ggml.llama import llama
from cama.ggml.mtmd import load_projector, mtmd
from cama.gguf import GGUFFile

_KEPT: Final = 4
"""Encoded images that are kept, as in Ollama: a picture is looked at in several places, or again
after its cells were needed."""

_NODES: Final = 32
"""Nodes of a graph, about a layer, between two looks at whether an image is still wanted."""

_KINDS: Final = 4
"""Positions of a token in M-RoPE: time, height, width, and one that is not used."""

_UNREADABLE: Final = 2
"""libmtmd's status for a picture that it cannot make ready."""


class Chunk:
    """An image that libmtmd has made ready to be encoded; freed with this object."""

    def __init__(self, address: int) -> None:
        self.address = address
        weakref.finalize(self, mtmd().mtmd_input_chunk_free, address).atexit = False


class Projector:
    """The projector in ``path``, for a loaded ``model``, which must outlive it.

    Raises ModelNotFound, InvalidModelFile, UnsupportedModel and LoadFailed. :meth:`read` may be
    called from any thread, all else from the engine's alone.
    """

    def __init__(
        self, path: Path, model: int, load: LoadOptions, n_threads: int, abort: AbortFlag
    ) -> None:
        with GGUFFile.open(path) as file:
            check_projector(file)
        library = mtmd()
        params = library.mtmd_context_params_default()
        params.use_gpu = load.n_gpu_layers != 0
        params.print_timings = False
        params.warmup = False
        params.n_threads = n_threads
        params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_AUTO
        self._abort, self._n_nodes = abort, 0
        self._watcher = ggml_backend_sched_eval_callback(self._goes_on)
        params.cb_eval = address_of(self._watcher)
        self._n_batch = load.n_batch
        self._n_embd = llama().llama_model_n_embd_inp(model)
        self._address = load_projector(path, model, params)
        self._kept: OrderedDict[bytes, Embeddings] = OrderedDict()
        self.uses_mrope = library.mtmd_decode_use_mrope(self._address)
        if not library.mtmd_support_vision(self._address):
            self.close()
            raise UnsupportedModel(f"the projector {path.name} is not one for images")

    def read(self, parts: Sequence[str | Picture], *, add_special: bool) -> Prompt:
        """See :meth:`cama.engine.base.Sees.look`."""
        library = mtmd()
        with _chunks() as chunks, _parts(parts) as given:
            status = library.mtmd_tokenize_from_parts(
                self._address, chunks, ctypes.addressof(given), len(parts), add_special
            )
            if status == _UNREADABLE:
                raise InvalidRequest("the model cannot look at an image of this size")
            if status:
                raise EngineError(f"libmtmd could not read the prompt (status {status})")
            tokens: list[int] = []
            placed: list[Placed] = []
            seen: Counter[bytes] = Counter()
            for i in range(library.mtmd_input_chunks_size(chunks)):
                chunk = library.mtmd_input_chunks_get(chunks, i)
                if library.mtmd_input_chunk_get_type(chunk) == MTMD_INPUT_CHUNK_TYPE_TEXT:
                    tokens += _text_tokens(chunk)
                    continue
                image = self._image(chunk, seen)
                placed.append(Placed(len(tokens), image))
                tokens += image.tokens
        return Prompt(tokens, placed)

    def _image(self, chunk: int, seen: "Counter[bytes]") -> Image:
        library = mtmd()
        name = library.mtmd_input_chunk_get_id(chunk)
        if library.mtmd_input_chunk_get_type(chunk) != MTMD_INPUT_CHUNK_TYPE_IMAGE or not name:
            raise EngineError("libmtmd made something else of an image")
        n_tokens = library.mtmd_input_chunk_get_n_tokens(chunk)
        if n_tokens > self._n_batch and self._is_seen_at_once(chunk):
            raise Unsupported(
                f"the model looks at {n_tokens} tokens of an image at once, a pass has "
                f"{self._n_batch}: ask with the option num_batch of {n_tokens} or more"
            )
        # A picture may become several images, in an order that is always the same.
        digest = bytes.fromhex(name.decode())
        content = b"%d %d %s" % (seen[digest], n_tokens, digest)
        seen[digest] += 1
        return Image(
            tokens=_pseudo_tokens(content, n_tokens),
            n_positions=library.mtmd_input_chunk_get_n_pos(chunk),
            digest=digest,
            content=(content, Chunk(library.mtmd_input_chunk_copy(chunk))),
        )

    def _is_seen_at_once(self, chunk: int) -> bool:
        return mtmd().mtmd_decode_use_non_causal(self._address, chunk)

    @contextmanager
    def view(self, image: Image, context: int) -> Iterator[None]:
        """Let every token of ``image`` see all others while ``context`` decodes it, if it must."""
        _, chunk = image.content
        if not self._is_seen_at_once(chunk.address):
            yield
            return
        llama().llama_set_causal_attn(context, False)
        try:
            yield
        finally:
            llama().llama_set_causal_attn(context, True)

    def encode(self, image: Image) -> Embeddings:
        """The embeddings of ``image``, float32 [tokens, width].

        Raises EngineError, and Interrupted when the flag was set meanwhile.
        """
        key, chunk = image.content
        found = self._kept.pop(key, None)
        if found is None:
            found = self._encode(chunk.address, len(image.tokens))
        self._kept[key] = found
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found

    def _encode(self, chunk: int, n_tokens: int) -> Embeddings:
        if status := mtmd().mtmd_encode_chunk(self._address, chunk):
            raise EngineError(f"libmtmd could not encode an image (status {status})")
        if self._abort.is_set:  # what there is, is not whole
            raise Interrupted("the pass was aborted")
        address = mtmd().mtmd_get_output_embd(self._address)
        memory = (c_float * (n_tokens * self._n_embd)).from_address(address)
        return np.array(memory, np.float32).reshape(n_tokens, self._n_embd)

    def _goes_on(self, _tensor: int, is_asked: bool, _: int) -> bool:
        """Have libmtmd stop now and then in a long computation, to see whether it is wanted."""
        if is_asked:
            self._n_nodes += 1
            return self._n_nodes % _NODES == 0
        return not self._abort.is_set

    def positions(self, image: Image, start: int) -> Ids:
        """The positions of the tokens of ``image``, int32 [kinds, tokens], from ``start`` on."""
        n_tokens = len(image.tokens)
        if not self.uses_mrope:
            return np.arange(start, start + n_tokens, dtype=np.int32)[None]
        _, chunk = image.content
        tokens = mtmd().mtmd_input_chunk_get_tokens_image(chunk.address)
        place = mtmd().mtmd_image_tokens_get_decoder_pos
        found = np.zeros((_KINDS, n_tokens), np.int32)
        for i in range(n_tokens):
            at = place(tokens, start, i)
            found[:3, i] = at.t, at.y, at.x
        return found

    def close(self) -> None:
        address, self._address = self._address, 0
        self._kept.clear()
        if address:
            mtmd().mtmd_free(address)


def _pseudo_tokens(content: bytes, n: int) -> list[int]:
    """Numbers below zero that stand for the tokens of an image: 31 bits of a hash each."""
    stream = hashlib.shake_128(content).digest(4 * n)
    bits = np.frombuffer(stream, np.uint32) >> 1
    return [-1 - number for number in bits.tolist()]


def _text_tokens(chunk: int) -> list[int]:
    """Raises Unsupported for marks of images that the vocabulary lacks, which libmtmd lets pass."""
    count = c_size_t()
    address = mtmd().mtmd_input_chunk_get_tokens_text(chunk, ctypes.addressof(count))
    tokens = (ctypes.c_int32 * count.value).from_address(address)[:] if count.value else []
    if any(token < 0 for token in tokens):
        raise Unsupported(
            "the projector is not one for this model, whose vocabulary lacks the tokens that go "
            "around images",
            field="images",
        )
    return tokens


@contextmanager
def _chunks() -> Iterator[int]:
    chunks = mtmd().mtmd_input_chunks_init()
    try:
        yield chunks
    finally:
        mtmd().mtmd_input_chunks_free(chunks)


@contextmanager
def _parts(parts: Sequence[str | Picture]) -> "Iterator[ctypes.Array[c_size_t]]":
    """Addresses of what libmtmd takes as the parts of a prompt."""
    bitmaps: list[int] = []
    texts: list[mtmd_input_text] = []
    made: list[mtmd_input_part] = []
    try:
        for part in parts:
            if isinstance(part, str):
                data = utf8(part)
                texts.append(mtmd_input_text(data, len(data), False, True))
                made.append(mtmd_input_part(text=ctypes.addressof(texts[-1])))
            else:
                bitmaps.append(_bitmap(part))
                made.append(mtmd_input_part(bitmap=bitmaps[-1]))
        yield (c_size_t * len(made))(*map(ctypes.addressof, made))
    finally:
        for bitmap in bitmaps:
            mtmd().mtmd_bitmap_free(bitmap)


def _bitmap(picture: Picture) -> int:
    height, width, _ = picture.pixels.shape
    pixels = np.ascontiguousarray(picture.pixels)
    bitmap = mtmd().mtmd_bitmap_init(width, height, pixels.ctypes.data)
    mtmd().mtmd_bitmap_set_id(bitmap, picture.digest.hex().encode())
    return bitmap
