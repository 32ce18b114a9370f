"""The one libllama of this process: loads models and contexts, and tells why when it cannot."""

import ctypes
import functools
import os
from collections.abc import Sequence
from pathlib import Path

from cama.core.errors import LoadFailed
from cama.ggml._llama_abi import Llama, llama_context_params, llama_model_params
from cama.ggml.library import address_of, ggml, library_path, silent_log
from cama.ggml.log import kept_errors, reason


@functools.cache
def llama() -> Llama:
    """The loaded library, silent. Raises LibraryMismatch when it is not the pinned one."""
    ggml()
    library = Llama([library_path("llama")])
    library.llama_log_set(silent_log(), None)
    library.llama_backend_init()
    return library


def model_params() -> llama_model_params:
    """libllama's defaults, except that weights stay as they are in the file.

    A copy in another order would be each process's own, and keep them from Cama's kernels. Nor may
    ggml choose one: its layout for AMX ends the process where the package was built by GCC 12.
    """
    params = llama().llama_model_default_params()
    params.use_extra_bufts = False
    return params


def load_model(path: Path, params: llama_model_params, parts: Sequence[Path] = ()) -> int:
    """The address of a loaded model, from all its ``parts`` when it is split over several files.

    Raises LoadFailed with libllama's own reason.
    """
    names = (ctypes.c_char_p * len(parts))(*map(os.fsencode, parts))
    with kept_errors(llama().llama_log_set) as lines:
        if parts:
            model = llama().llama_model_load_from_splits(address_of(names), len(parts), params)
        else:
            model = llama().llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise LoadFailed(f"cannot load {path.name}: {reason(lines)}", path=str(path), log=lines)
    return model


def new_context(model: int, params: llama_context_params) -> int:
    """The address of a context. Raises LoadFailed with libllama's own reason."""
    with kept_errors(llama().llama_log_set) as lines:
        context = llama().llama_init_from_model(model, params)
    if not context:
        raise LoadFailed(f"cannot create a context: {reason(lines)}", log=lines)
    return context


def load_adapter(model: int, path: Path) -> int:
    """The address of a LoRA that was loaded for ``model``. Raises LoadFailed as above."""
    with kept_errors(llama().llama_log_set) as lines:
        adapter = llama().llama_adapter_lora_init(model, os.fsencode(path))
    if not adapter:
        raise LoadFailed(f"cannot load {path.name}: {reason(lines)}", path=str(path), log=lines)
    return adapter
