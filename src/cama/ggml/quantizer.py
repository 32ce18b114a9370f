"""llama.cpp's quantizer: a GGUF file to one of another type."""

import ctypes
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ctypes import c_bool, c_char, c_double, c_int32, c_int64
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cama.core.errors import InvalidModelFile
from cama.ggml._abi import GGML_LOG_LEVEL_CONT, GGML_LOG_LEVEL_ERROR, ggml_log_callback
from cama.ggml._llama_abi import llama_model_imatrix_data
from cama.ggml.library import address_of, silent_log
from cama.ggml.llama import llama

Progress = Callable[[str], None]
"""Told the name of each tensor as its turn comes."""

_TENSOR: Final = re.compile(r"\[ *\d+/ *\d+\] +(\S+)")
_PREFIX: Final = re.compile(r"^\w+: (?:failed to quantize: )?")
_TEXT: Final = 3
_INTEGER: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """An importance matrix: by tensor, for each of its columns (and each expert's, one after the
    other), how much an error matters. ``notes`` are metadata for the file that is made with it."""

    values: Mapping[str, NDArray[np.float32]]
    notes: Mapping[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """How to quantize: in the mixture that a number of ``LLAMA_FTYPE`` means.

    ``is_pure`` takes no better type for the matrices that matter more; ``may_requantize`` reads
    types that have lost something already.
    """

    file_type: int
    importance: Importance | None = None
    is_pure: bool = False
    may_requantize: bool = False
    n_threads: int = 0


def quantize_file(source: Path, target: Path, how: Quantization, progress: Progress) -> None:
    """Write ``source`` quantized to ``target``.

    Use it in a process of its own, for progress comes from a log that all of libllama shares.
    Raises InvalidModelFile with libllama's own reason.
    """
    params = llama().llama_model_quantize_default_params()
    params.ftype = how.file_type
    params.pure = how.is_pure
    params.allow_requantize = how.may_requantize
    params.nthread = how.n_threads
    importance = how.importance
    table = _importance_table(importance.values if importance else {})
    notes = _notes(importance.notes if importance else {})
    if importance is not None:
        params.imatrix = ctypes.addressof(table)
        params.kv_overrides = ctypes.addressof(notes)
    with _following(progress) as errors:
        status = llama().llama_model_quantize(
            os.fsencode(source), os.fsencode(target), ctypes.addressof(params)
        )
    if status:
        reason = _PREFIX.sub("", errors[-1]) if errors else f"status {status}"
        raise InvalidModelFile(
            f"{source} cannot be quantized: {reason}", path=str(source), field="tensors"
        )


@contextmanager
def _following(progress: Progress) -> Iterator[Sequence[str]]:
    """libllama's error lines; its lines about tensors become progress."""
    errors: list[str] = []
    level = 0

    def take(now: int, text: bytes, _: int) -> None:
        nonlocal level
        level = level if now == GGML_LOG_LEVEL_CONT else now
        line = text.decode(errors="replace")
        if found := _TENSOR.match(line):
            progress(found[1])
        elif level == GGML_LOG_LEVEL_ERROR and line.strip():
            errors.append(line.strip())

    callback = ggml_log_callback(take)
    llama().llama_log_set(address_of(callback), None)
    try:
        yield errors
    finally:
        llama().llama_log_set(silent_log(), None)


def _importance_table(
    values: Mapping[str, NDArray[np.float32]],
) -> ctypes.Array[llama_model_imatrix_data]:
    """An entry for each tensor and one without a name behind them; it keeps ``values`` alive."""
    table = (llama_model_imatrix_data * (len(values) + 1))()
    kept = [np.ascontiguousarray(value, np.float32) for value in values.values()]
    for entry, name, value in zip(table, values, kept, strict=False):
        entry.name = name.encode()
        entry.data = value.ctypes.data
        entry.size = value.size
    table.kept = kept  # type: ignore[attr-defined]
    return table


class _Value(ctypes.Union):
    _fields_ = (
        ("integer", c_int64),
        ("real", c_double),
        ("flag", c_bool),
        ("text", c_char * 128),
    )


class _Note(ctypes.Structure):
    """``llama_model_kv_override``, which the generated binding leaves out for its union."""

    _fields_ = (("tag", c_int32), ("key", c_char * 128), ("value", _Value))


def _notes(notes: Mapping[str, str | int]) -> ctypes.Array[_Note]:
    """An entry for each pair and one without a key behind them; long texts are cut."""
    table = (_Note * (len(notes) + 1))()
    for entry, (key, value) in zip(table, notes.items(), strict=False):
        entry.key = key.encode()[:127]
        if isinstance(value, str):
            entry.tag, entry.value.text = _TEXT, value.encode()[:127]
        else:
            entry.tag, entry.value.integer = _INTEGER, value
    return table
