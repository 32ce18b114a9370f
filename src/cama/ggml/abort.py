"""Stopping a computation from another thread, without Python code inside it."""

import ctypes

from cama.ggml.library import address_of, libc


class AbortFlag:
    """``callback`` and ``data`` are what ggml and libllama take as an abort callback.

    The callback is libc's strlen over a buffer that holds an empty or a short string. ggml asks
    it from its own threads, where a Python function would need the GIL, and reads the low byte of
    the result as a bool.
    """

    def __init__(self) -> None:
        self._buffer = ctypes.create_string_buffer(2)
        self.callback = address_of(libc().strlen)
        self.data = ctypes.addressof(self._buffer)

    def set(self) -> None:
        self._buffer[0] = b"\x01"

    @property
    def is_set(self) -> bool:
        return self._buffer[0] != b"\x00"

    def clear(self) -> None:
        self._buffer[0] = b"\x00"
