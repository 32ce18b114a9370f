"""Buffer types in which ggml keeps weights in another order, which is faster here and there."""

import ctypes

from cama.ggml import _abi
from cama.ggml.backend import devices
from cama.ggml.library import ggml

# GCC 12 takes ggml's tile configuration for 8 bytes long and drops what is stored after them, so
# that the first product in this layout ends the process.
_BROKEN = b"AMX"


def repacking_layouts() -> list[int]:
    """Those that work. ggml then offers only them, to libllama, too."""
    listed = _listed()
    kept = [kind for kind in _until_null(listed) if ggml().ggml_backend_buft_name(kind) != _BROKEN]
    for i, kind in enumerate([*kept, 0]):
        listed[i] = kind
    return kept


def _listed() -> "ctypes._Pointer[ctypes.c_size_t]":
    """The list itself, which callers read each time."""
    cpu = next(d for d in devices() if d.type == _abi.GGML_BACKEND_DEVICE_TYPE_CPU)
    registry = ggml().ggml_backend_dev_backend_reg(cpu.address)
    name = b"ggml_backend_dev_get_extra_bufts"
    function = ggml().ggml_backend_reg_get_proc_address(registry, name)
    address = _abi.ggml_backend_dev_get_extra_bufts_t(function)(cpu.address)
    return ctypes.cast(address, ctypes.POINTER(ctypes.c_size_t))


def _until_null(listed: "ctypes._Pointer[ctypes.c_size_t]") -> list[int]:
    found: list[int] = []
    while kind := listed[len(found)]:
        found.append(kind)
    return found
