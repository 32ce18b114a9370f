"""A device that computes on the CPU and whose memory is its own: what a GPU is to the scheduler.

No device of the library but a GPU has memory that the host must not touch. This one is the CPU's,
with another type of buffers that only it knows, so that every tensor from elsewhere is copied to
it, and it to others. The layout of the structures is that of the pinned library.
"""

import ctypes

from cama.ggml import _abi
from cama.ggml.backend import Device
from cama.ggml.library import ggml

_WORD = ctypes.c_size_t
_DEVICE_WORDS, _BUFFER_TYPE_WORDS = 17, 8
# ggml_backend_device: 15 functions, the registry, the context
_INIT, _BUFFER_TYPE, _SUPPORTS_BUFFERS, _REGISTRY = 5, 6, 10, 15
# ggml_backend_buffer_type: 6 functions, the device, the context
_IS_HOST, _OWNER = 5, 6
_BACKEND_DEVICE = 17
"""ggml_backend: an identity, 16 functions, the device, the context."""

_Init = ctypes.CFUNCTYPE(_WORD, _WORD, _WORD)
_Get = ctypes.CFUNCTYPE(_WORD, _WORD)
_Knows = ctypes.CFUNCTYPE(ctypes.c_bool, _WORD, _WORD)


class SoftwareDevice:
    """Keep it alive as long as anything uses it."""

    def __init__(self, name: str, n_bytes: int) -> None:
        lib = ggml()
        self._cpu = lib.ggml_backend_dev_get(0)
        self._device = _copy(self._cpu, _DEVICE_WORDS)
        assert self._device[_REGISTRY] == lib.ggml_backend_dev_backend_reg(self._cpu)
        self._buffers = _copy(lib.ggml_backend_dev_buffer_type(self._cpu), _BUFFER_TYPE_WORDS)
        own = ctypes.addressof(self._buffers)
        self._buffers[_IS_HOST] = 0
        self._buffers[_OWNER] = self.address
        self._callbacks = (
            _Init(self._init),
            _Get(lambda device: own),
            _Knows(lambda device, kind: bool(kind == own)),
        )
        places = (_INIT, _BUFFER_TYPE, _SUPPORTS_BUFFERS)
        for place, callback in zip(places, self._callbacks, strict=True):
            self._device[place] = ctypes.cast(callback, ctypes.c_void_p).value or 0
        kind = _abi.GGML_BACKEND_DEVICE_TYPE_GPU
        self.listed = Device(self.address, name, "software", kind, n_bytes, n_bytes)

    @property
    def address(self) -> int:
        return ctypes.addressof(self._device)

    def _init(self, device: int, parameters: int) -> int:
        backend = ggml().ggml_backend_dev_init(self._cpu, None)
        words = (_WORD * (_BACKEND_DEVICE + 1)).from_address(backend)
        assert words[_BACKEND_DEVICE] == self._cpu
        words[_BACKEND_DEVICE] = self.address
        return backend


def _copy(address: int, n_words: int) -> "ctypes.Array[ctypes.c_size_t]":
    return (_WORD * n_words)(*(_WORD * n_words).from_address(address))
