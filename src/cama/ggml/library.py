"""The one libggml of this process: found, loaded and checked against the generated binding."""

import ctypes
import functools
import importlib.util
import sys
from pathlib import Path
from typing import Any

from cama.core.errors import LibraryMismatch
from cama.ggml import kernels
from cama.ggml._abi import (
    GGML_TYPE_F16,
    GGML_VERSION,
    LLAMA_CPP_PYTHON_VERSION,
    Ggml,
    ggml_init_params,
    ggml_tensor,
)
from cama.ggml.kernels import Kernels

REMEDY = f"install llama-cpp-python=={LLAMA_CPP_PYTHON_VERSION}"

# ggml_tensor and the object header in front of each one
TENSOR_BYTES, TENSOR_OVERHEAD = 336, 368

# A library is opened by the name its dependents ask for. The package also holds a bare libX.so as
# a file of its own, and opening that one maps a second copy with its own globals.
_FILE_NAME = {"darwin": "lib{}.0.dylib", "win32": "{}.dll"}.get(sys.platform, "lib{}.so.0")


@functools.cache
def ggml() -> Ggml:
    """The loaded library. Raises LibraryMismatch when it is missing or not the pinned one."""
    library = Ggml([library_path(name) for name in ("ggml-base", "ggml-cpu", "ggml")])
    check(library)
    library.ggml_log_set(silent_log(), None)
    _kernels.append(kernels.load(library))
    return library


_kernels: list[Kernels] = []


def own_kernels() -> Kernels:
    """Cama's kernels in this process."""
    ggml()
    return _kernels[0]


def silent_log() -> int:
    """The address of a C function that can serve as a log callback and does nothing.

    Log lines also come from threads that compute, where no Python code may run. ``abs`` takes the
    level, ignores the text and the user data, and has no effect. That is sound in every calling
    convention in which the caller cleans up, so on all that Cama runs on.
    """
    return address_of(libc().abs)


def libc() -> ctypes.CDLL:
    """The C library, whose functions serve as callbacks where no Python code may run."""
    return ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)


def address_of(function: Any) -> int:
    """The address of a C function, or of a callback; its owner must keep it alive."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def library_path(name: str) -> Path:
    """Where the installed package keeps a library; the package itself is not imported."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        raise LibraryMismatch(f"llama-cpp-python is missing: {REMEDY}")
    path = Path(spec.origin).parent / "lib" / _FILE_NAME.format(name)
    if not path.is_file():
        raise LibraryMismatch(f"{path.name} is missing from llama-cpp-python: {REMEDY}")
    return path


def check(library: Ggml) -> None:
    """Compare the library with the binding: a wrong layout would corrupt memory later."""
    found = (library.ggml_version() or b"").decode(errors="replace")
    if found != GGML_VERSION:
        raise LibraryMismatch(
            f"libggml {found} found, {GGML_VERSION} needed: {REMEDY}", found=found
        )
    overhead = library.ggml_tensor_overhead()
    if overhead != TENSOR_OVERHEAD or ctypes.sizeof(ggml_tensor) != TENSOR_BYTES:
        raise LibraryMismatch(
            f"tensors of libggml take {overhead} bytes, {TENSOR_OVERHEAD} expected: {REMEDY}"
        )
    _check_layout(library)


def _check_layout(library: Ggml) -> None:
    """Read a tensor that the library made through the binding's structure."""
    context = library.ggml_init(ggml_init_params(mem_size=4 * TENSOR_OVERHEAD, no_alloc=True))
    try:
        address = library.ggml_new_tensor_2d(context, GGML_TYPE_F16, 3, 5)
        library.ggml_set_name(address, b"layout")
        tensor = ggml_tensor.from_address(address)
        found = tensor.type, tensor.ne[:], tensor.nb[:], bytes(tensor.name)[:7], tensor.data
    finally:
        library.ggml_free(context)
    if found != (GGML_TYPE_F16, [3, 5, 1, 1], [2, 6, 30, 30], b"layout\0", 0):
        raise LibraryMismatch(f"libggml lays out its tensors differently ({found}): {REMEDY}")
