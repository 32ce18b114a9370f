"""Cama's own kernels: a library that ggml loads as a backend beside its CPU one."""

import ctypes
import functools
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from cama.ggml._abi import Ggml

PATH = Path(__file__).parent / "libcama_kernels.so"


@dataclass(frozen=True, slots=True)
class Kernels:
    """What became of the kernels: ``name`` of their instruction set, or why there are none."""

    name: str = ""
    reason: str = ""


def load(library: Ggml) -> Kernels:
    """Register the kernels with ggml, where there are some for this machine.

    They must be there before any model is loaded, which asks then what devices there are.
    """
    own = _open()
    if own is None:
        return Kernels(reason="they are not built")
    if not library.ggml_backend_load(os.fsencode(PATH)):
        return Kernels(reason=own.cama_kernels_reason().decode())
    return Kernels(name=own.cama_kernels_name().decode())


def open_library() -> ctypes.CDLL | None:
    """The library for what is called in it without ggml, where it has code for this machine.

    Calls keep the interpreter's lock: they take microseconds.
    """
    own = _open()
    return own if own and own.cama_kernels_name() else None


@functools.cache
def _open() -> ctypes.CDLL | None:
    if sys.platform != "linux" or not PATH.is_file():
        return None
    own = ctypes.PyDLL(os.fspath(PATH))
    own.cama_kernels_name.restype = own.cama_kernels_reason.restype = ctypes.c_char_p
    return own
