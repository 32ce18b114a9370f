"""The tokenizer of both engines: text to ids and back over libllama's reading of a vocabulary."""

import ctypes
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from ctypes import c_char, c_int32
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cama.core.errors import EngineError, InvalidRequest, LoadFailed
from cama.engine.deep_stack import on_deep_stack
from cama.ggml._llama_abi import LLAMA_VOCAB_TYPE_NONE
from cama.ggml.library import address_of
from cama.ggml.llama import llama, load_model, model_params
from cama.gguf import Writable, write_gguf

_MAX_TEXT_BYTES = 2**31 - 1  # libllama counts in int32
_PIECE_BYTES = 64
_SHORT_TEXT_BYTES = 8192
_STACK_BYTES_PER_BYTE = 1024
"""Some vocabularies split words with std::regex, which recurses for each character of a word."""

Header = Callable[[], Mapping[str, Writable]]
"""Metadata of a GGUF file that has a vocabulary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vocabulary:
    """A loaded vocabulary; ``pieces`` is filled as pieces are asked for."""

    address: int
    n_tokens: int
    bos: int | None
    eos: int | None
    eot: int | None
    sep: int | None
    add_bos: bool
    add_eos: bool
    add_sep: bool
    end_of_generation: frozenset[int]
    pieces: list[bytes | None]


class LlamaTokenizer:
    """The vocabulary of a GGUF file, loaded in the background: whoever needs it first waits.

    A vocabulary of 128k tokens takes a third of a second, in which an engine can open. A load that
    fails raises LoadFailed from every use. Any thread may call any method but ``close``, which
    needs that no other call is under way. Arguments are checked here, because libllama ends the
    process on wrong ones.
    """

    def __init__(self, path: Path, header: Header | None = None) -> None:
        """``header`` is called on another thread, and read instead of the file's own."""
        llama()  # here, so that a missing library is reported at once
        executor = ThreadPoolExecutor(1, thread_name_prefix="vocabulary")
        self._model: Future[int] | None = (
            executor.submit(_load_vocabulary, path)
            if header is None
            else executor.submit(_load_header, path, header)
        )
        self._vocabulary = executor.submit(_read_model, self._model)
        executor.shutdown(wait=False)

    @classmethod
    def of_model(cls, model: int) -> Self:
        """The vocabulary of a model that the caller has loaded and frees after it."""
        tokenizer = cls.__new__(cls)
        tokenizer._model = None
        tokenizer._vocabulary = Future()
        tokenizer._vocabulary.set_result(_read_vocabulary(model))
        return tokenizer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def n_tokens(self) -> int:
        return self._ready.n_tokens

    @property
    def bos(self) -> int | None:
        return self._ready.bos

    @property
    def eos(self) -> int | None:
        return self._ready.eos

    @property
    def eot(self) -> int | None:
        return self._ready.eot

    @property
    def bos_text(self) -> str:
        """How templates write the token that begins a text; empty where there is none."""
        return self._name(self.bos)

    @property
    def eos_text(self) -> str:
        return self._name(self.eos)

    @property
    def add_bos(self) -> bool:
        """Whether the model wants ``bos`` in front, which ``add_special`` then adds."""
        return self._ready.add_bos

    @property
    def add_eos(self) -> bool:
        return self._ready.add_eos

    @property
    def end_of_generation(self) -> frozenset[int]:
        return self._ready.end_of_generation

    def encode(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """The ids of ``text``. Raises InvalidRequest for what is not Unicode text.

        ``add_special``: put the tokens around it that the model wants. ``parse_special``: read the
        names of control tokens in ``text`` as those tokens.
        """
        data = utf8(text)
        vocabulary = self._ready.address

        def tokenize(ids: ctypes.Array[c_int32]) -> int:
            return llama().llama_tokenize(
                vocabulary, data, len(data), address_of(ids), len(ids), add_special, parse_special
            )

        def encode() -> list[int]:
            # one token per byte and one at either end nearly always suffice
            return list(_filled(c_int32, len(data) + 2, tokenize))

        if len(data) <= _SHORT_TEXT_BYTES:
            return encode()
        return on_deep_stack(encode, _STACK_BYTES_PER_BYTE * len(data))

    def encode_pair(self, query: str, document: str) -> list[int]:
        """``query`` with the tokens around it, a separator, ``document`` and the tokens behind it.

        A vocabulary without an end token puts the separator behind every text by itself.
        """
        vocabulary = self._ready
        around = self.encode("", add_special=True, parse_special=False)
        behind = around[1:] if around[:1] == [vocabulary.bos] else around
        sep = vocabulary.sep if vocabulary.add_sep and vocabulary.add_eos else None
        between = [] if sep is None else [sep]
        return [
            *self.encode(query, add_special=True, parse_special=False),
            *between,
            *self.encode(document, add_special=False, parse_special=False),
            *behind,
        ]

    def piece(self, token: int) -> bytes:
        """The bytes that ``token`` adds to a text; none for control tokens."""
        vocabulary = self._ready
        if not 0 <= token < vocabulary.n_tokens:
            raise _not_a_token(token)
        piece = vocabulary.pieces[token]
        if piece is None:
            piece = _piece(vocabulary.address, token, special=False)
            vocabulary.pieces[token] = piece
        return piece

    def decode(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """The text of ``tokens``, with the names of control tokens if ``special``.

        Differs from joined pieces where a tokenizer puts a space in front or cleans up spaces.
        """
        vocabulary = self._ready
        wrong = next((t for t in tokens if not 0 <= t < vocabulary.n_tokens), None)
        if wrong is not None:
            raise _not_a_token(wrong)
        ids = (c_int32 * len(tokens))(*tokens)

        def detokenize(text: ctypes.Array[c_char]) -> int:
            return llama().llama_detokenize(
                vocabulary.address, address_of(ids), len(ids),
                address_of(text), len(text), False, special,
            )  # fmt: skip

        text: bytes = _filled(c_char, _PIECE_BYTES + 8 * len(ids), detokenize)
        return text.decode(errors="replace")

    def close(self) -> None:
        """Free the vocabulary, unless it is another's. A second call does nothing."""
        model, self._model = self._model, None
        wait([self._vocabulary])  # it may still be read, on its thread, from what is freed here
        self._vocabulary = Future()
        self._vocabulary.set_exception(EngineError("the tokenizer is closed"))
        if model is not None and model.exception() is None:
            llama().llama_model_free(model.result())

    @property
    def _ready(self) -> _Vocabulary:
        return self._vocabulary.result()

    def _name(self, token: int | None) -> str:
        if token is None:
            return ""
        return _piece(self._ready.address, token, special=True).decode(errors="replace")


def _piece(vocabulary: int, token: int, *, special: bool) -> bytes:
    n_bytes, to_piece = _PIECE_BYTES, llama().llama_token_to_piece
    for _ in range(2):  # it answers with the size, negated, when the buffer is too small
        buffer = (c_char * n_bytes)()
        count = to_piece(vocabulary, token, ctypes.addressof(buffer), n_bytes, 0, special)
        if count >= 0:
            return buffer.raw[:count]
        n_bytes = -count
    raise EngineError(f"libllama changed its mind about the length of token {token}")


def _load_vocabulary(path: Path) -> int:
    params = model_params()
    params.vocab_only = True
    return load_model(path, params)


def _load_header(path: Path, header: Header) -> int:
    """libllama reads files only: the header becomes one for as long as that takes."""
    with tempfile.TemporaryDirectory(prefix="cama-vocabulary-") as folder:
        written = Path(folder) / path.name
        write_gguf(written, header(), ())
        return _load_vocabulary(written)


def _read_model(model: Future[int]) -> _Vocabulary:
    return _read_vocabulary(model.result())


def _read_vocabulary(model: int) -> _Vocabulary:
    library = llama()
    vocabulary = library.llama_model_get_vocab(model)
    if library.llama_vocab_type(vocabulary) == LLAMA_VOCAB_TYPE_NONE:
        raise LoadFailed("the model has no vocabulary")
    n_tokens = library.llama_vocab_n_tokens(vocabulary)
    is_end = library.llama_vocab_is_eog
    return _Vocabulary(
        address=vocabulary,
        n_tokens=n_tokens,
        bos=_known(library.llama_vocab_bos(vocabulary)),
        eos=_known(library.llama_vocab_eos(vocabulary)),
        eot=_known(library.llama_vocab_eot(vocabulary)),
        sep=_known(library.llama_vocab_sep(vocabulary)),
        add_bos=library.llama_vocab_get_add_bos(vocabulary),
        add_eos=library.llama_vocab_get_add_eos(vocabulary),
        add_sep=library.llama_vocab_get_add_sep(vocabulary),
        end_of_generation=frozenset(t for t in range(n_tokens) if is_end(vocabulary, t)),
        pieces=[None] * n_tokens,
    )


def _known(token: int) -> int | None:
    return None if token < 0 else token


def _not_a_token(token: int) -> InvalidRequest:
    return InvalidRequest(f"{token} is not a token of this model", token=token)


def utf8(text: str) -> bytes:
    """Raises InvalidRequest for what is no text, or more than libllama can count."""
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            f"the text holds half a surrogate pair at index {error.start}", index=error.start
        ) from None
    if len(data) > _MAX_TEXT_BYTES:
        raise InvalidRequest(f"the text is longer than {_MAX_TEXT_BYTES} bytes")
    return data


def _filled(kind: Any, capacity: int, write: Callable[[Any], int]) -> Any:
    """What ``write`` puts into a buffer; it returns the count, negated when there is no room."""
    buffer = (kind * capacity)()
    count = write(buffer)
    if count < 0:
        buffer = (kind * -count)()
        count = write(buffer)
    if count < 0:
        raise EngineError("libllama gave more than it had announced")
    return buffer[:count]
