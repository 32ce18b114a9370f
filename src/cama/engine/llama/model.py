"""A model and a context of libllama: how they are configured, and what is read from them."""

import ctypes
from collections.abc import Callable
from pathlib import Path

from cama.core.errors import UnsupportedModel
from cama.core.load import CacheType, LoadOptions
from cama.engine.llama.header import check_header
from cama.ggml._abi import (
    GGML_BACKEND_DEVICE_TYPE_GPU,
    GGML_BACKEND_DEVICE_TYPE_IGPU,
    GGML_TYPE_F16,
    GGML_TYPE_F32,
    GGML_TYPE_Q4_0,
    GGML_TYPE_Q8_0,
    LLAMA_CPP_PYTHON_VERSION,
)
from cama.ggml._llama_abi import (
    LLAMA_FLASH_ATTN_TYPE_AUTO,
    LLAMA_FLASH_ATTN_TYPE_DISABLED,
    LLAMA_FLASH_ATTN_TYPE_ENABLED,
    LLAMA_LOAD_MODE_MMAP,
    LLAMA_LOAD_MODE_NONE,
    LLAMA_POOLING_TYPE_NONE,
    llama_context_params,
    llama_progress_callback,
)
from cama.ggml.abort import AbortFlag
from cama.ggml.backend import devices
from cama.ggml.library import address_of
from cama.ggml.llama import llama, load_model, model_params, new_context
from cama.gguf import GGUFFile

CACHE_TYPES: dict[CacheType, int] = {
    "f16": GGML_TYPE_F16,
    "f32": GGML_TYPE_F32,
    "q8_0": GGML_TYPE_Q8_0,
    "q4_0": GGML_TYPE_Q4_0,
}


def open_model(path: Path, load: LoadOptions, progress: Callable[[float], None]) -> int:
    """Load the weights. ``progress`` is called on this thread and must not raise.

    Raises ModelNotFound, InvalidModelFile, UnsupportedModel and LoadFailed.
    """
    for part in load.parts or (path,):
        with GGUFFile.open(part) as file:  # libllama trusts a header more than ours does
            if "general.architecture" in file.metadata:  # later parts do not say it
                check_header(file)

    def report(fraction: float, _: int) -> bool:
        progress(fraction)
        return True

    callback = llama_progress_callback(report)
    params = model_params()
    params.n_gpu_layers = load.n_gpu_layers
    params.load_mode = LLAMA_LOAD_MODE_MMAP if load.use_mmap else LLAMA_LOAD_MODE_NONE
    params.progress_callback = address_of(callback)
    return load_model(path, params, load.parts)


def open_context(
    model: int, load: LoadOptions, n_seq_max: int, n_threads: int, abort: AbortFlag | None
) -> int:
    """A context with one pool of KV cells for all sequences, and one more sequence for copies."""
    params = context_params(load, n_threads, abort)
    params.n_ctx = load.cells_for(llama().llama_model_n_ctx_train(model))
    params.n_seq_max = n_seq_max + 1
    params.n_batch = max(load.n_batch, params.n_seq_max)  # it keeps an output row per sequence
    params.n_ubatch = load.n_batch
    return new_context(model, params)


def context_params(
    load: LoadOptions, n_threads: int, abort: AbortFlag | None
) -> llama_context_params:
    """What contexts of every kind have in common; their sizes are still libllama's defaults."""
    params = llama().llama_context_default_params()
    params.n_threads = params.n_threads_batch = n_threads
    params.flash_attn_type = _flash_attention(load)
    params.type_k = params.type_v = CACHE_TYPES[load.cache_type]
    params.kv_unified = True
    # Layers with a sliding window keep every cell: a prefix stays usable at any length.
    params.swa_full = True
    params.no_perf = True
    if abort is not None:
        params.abort_callback, params.abort_callback_data = abort.callback, abort.data
    return params


def _flash_attention(load: LoadOptions) -> int:
    if load.cache_type == "f32":  # it would be rounded to float16
        return LLAMA_FLASH_ATTN_TYPE_DISABLED
    # "auto" goes without where another device than the layer's computes it, as Cama's kernels do
    is_on_cpu = device_names(load) == ("CPU",)
    return LLAMA_FLASH_ATTN_TYPE_ENABLED if is_on_cpu else LLAMA_FLASH_ATTN_TYPE_AUTO


def check_generates(model: int) -> None:
    """Raise UnsupportedModel for models that do not continue a text from left to right."""
    library = llama()
    if library.llama_model_has_encoder(model) or not library.llama_model_has_decoder(model):
        raise UnsupportedModel(f"{architecture(model)} has an encoder, which is not supported")
    if library.llama_model_is_diffusion(model):
        raise UnsupportedModel(f"{architecture(model)} writes by diffusion, not left to right")


def is_recurrent(model: int) -> bool:
    """Whether layers keep a running state, which exists for the end of a sequence only."""
    library = llama()
    return library.llama_model_is_recurrent(model) or library.llama_model_is_hybrid(model)


def architecture(model: int) -> str:
    return _metadata(model, "general.architecture")


def pooling_type(model: int) -> int:
    """What the file says of how to pool; LLAMA_POOLING_TYPE_NONE when it says nothing."""
    value = _metadata(model, f"{architecture(model)}.pooling_type")
    return int(value) if value.isdecimal() else LLAMA_POOLING_TYPE_NONE


def _metadata(model: int, key: str) -> str:
    """A short value of the file's header as text; empty where there is none."""
    buffer = ctypes.create_string_buffer(256)
    llama().llama_model_meta_val_str(model, key.encode(), address_of(buffer), len(buffer))
    return buffer.value.decode(errors="replace")


def identity(model: int, load: LoadOptions) -> str:
    """What must be equal for a saved state to fit."""
    library = llama()
    facts = (
        architecture(model), library.llama_model_n_layer(model), library.llama_model_size(model),
        library.llama_model_n_params(model), load.cache_type, LLAMA_CPP_PYTHON_VERSION,
    )  # fmt: skip
    return ":".join(map(str, facts))


def device_names(load: LoadOptions) -> tuple[str, ...]:
    """The devices that hold layers."""
    gpus = (GGML_BACKEND_DEVICE_TYPE_GPU, GGML_BACKEND_DEVICE_TYPE_IGPU)
    names = [device.name for device in devices() if device.type in gpus]
    return tuple(names) if names and load.n_gpu_layers else ("CPU",)
