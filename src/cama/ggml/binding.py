"""How a generated class of annotated functions becomes a bound C library."""

import ctypes
import re
import sys
from collections.abc import Sequence
from ctypes import c_char_p, c_size_t, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from cama.core.errors import LibraryMismatch

# The words of a generated signature. To mypy they are the Python types below, to ctypes those of
# _ARGUMENTS and _RESULTS. An address that comes back is a plain int, and 0 is NULL.
Pointer: TypeAlias = int | None
Address: TypeAlias = int
Text: TypeAlias = bytes | None
i8: TypeAlias = int
u8: TypeAlias = int
i16: TypeAlias = int
u16: TypeAlias = int
i32: TypeAlias = int
u32: TypeAlias = int
i64: TypeAlias = int
u64: TypeAlias = int
size_t: TypeAlias = int
f32: TypeAlias = float
f64: TypeAlias = float

_SCALARS: dict[str, Any] = {
    "None": None, "Text": c_char_p, "bool": ctypes.c_bool, "size_t": c_size_t,
    "i8": ctypes.c_int8, "u8": ctypes.c_uint8, "i16": ctypes.c_int16, "u16": ctypes.c_uint16,
    "i32": ctypes.c_int32, "u32": ctypes.c_uint32, "i64": ctypes.c_int64, "u64": ctypes.c_uint64,
    "f32": ctypes.c_float, "f64": ctypes.c_double, "Pointer": c_void_p, "Address": c_size_t,
}  # fmt: skip


class Binding:
    """A C library whose functions are the annotations of a subclass, bound at their first use.

    ``Callable`` functions keep the GIL, which makes a call 15 % cheaper; ``Blocking`` ones release
    it: those that compute, wait, read files, or may call back into Python from another thread.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._keeping = [_open(path) for path in paths]
        self._releasing = [ctypes.CDLL(lib._name, handle=lib._handle) for lib in self._keeping]

    if not TYPE_CHECKING:  # else a mistyped name would pass mypy

        def __getattr__(self, name: str) -> Any:
            signature = type(self).__annotations__.get(name)
            if signature is None:
                raise AttributeError(f"{type(self).__name__} has no function {name}")
            function = self._bind(name, signature)
            setattr(self, name, function)
            return function

    def _bind(self, name: str, signature: str) -> Any:
        kind, *arguments, result = re.findall(r"\w+", signature)
        libraries = self._releasing if kind == "Blocking" else self._keeping
        symbol = _find(libraries, name)
        symbol.argtypes = [self._type(word) for word in arguments]
        symbol.restype = self._type(result)
        return symbol

    def _type(self, word: str) -> Any:
        module = sys.modules[type(self).__module__]
        return _SCALARS[word] if word in _SCALARS else getattr(module, word)


def _open(path: Path) -> ctypes.PyDLL:
    try:
        return ctypes.PyDLL(str(path))
    except OSError as error:
        raise LibraryMismatch(f"cannot load {path.name}: {error}", path=str(path)) from None


def _find(libraries: Sequence[ctypes.CDLL], name: str) -> Any:
    """A fresh function object of the first library that exports ``name``."""
    for library in libraries:
        try:
            return library[name]
        except AttributeError:
            continue
    raise LibraryMismatch(f"the native library has no function {name}", function=name)
