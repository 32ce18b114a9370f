"""Adapters in libllama: loaded into the model, and set for a whole context."""

import ctypes
import re
from functools import partial
from pathlib import Path
from typing import Final

from cama.core.errors import EngineError, UnsupportedModel
from cama.core.generation import Adapter, Adapters
from cama.engine.adapters import Pool
from cama.engine.base import Plan
from cama.engine.lora import Base, LoraFile
from cama.ggml.llama import llama, load_adapter
from cama.gguf import GGUFFile

_UNTOUCHED: Final = {
    "ssm_conv1d", "ssm_norm", "shortconv.conv", "per_layer_model_proj", "ffn_latent_down",
    "ffn_latent_up", "attn_q_a", "attn_q_b", "attn_kv_a_mqa", "attn_kv_b",
}  # fmt: skip
"""Matrices that libllama multiplies with in a way that no adapter takes part in: it would load an
adapter of them, and leave it out without a word."""

_UNTOUCHED_IN: Final = {"deepseek2": {"attn_q", "output"}}
"""Those of one architecture."""


class ContextAdapters:
    """The adapters of one model, and those that its context computes with now."""

    def __init__(self, model: int, context: int, path: Path) -> None:
        """``path`` is the file of the model."""
        self._model = model
        self._context = context
        self._path = path
        self._pool: Pool[str, int] = Pool(self._unload)
        self._active: Adapters = ()

    def hold(self, adapters: Adapters) -> None:
        held: list[Adapter] = []
        try:
            for adapter in adapters:
                self._pool.hold(adapter.digest, partial(self._load, adapter.path))
                held.append(adapter)
        except BaseException:
            self.release(tuple(held))
            raise

    def release(self, adapters: Adapters) -> None:
        for adapter in adapters:
            self._pool.release(adapter.digest)

    def apply(self, plan: Plan) -> None:
        """Have the context compute with the adapters of ``plan``.

        Raises EngineError unless they are loaded, and the same for all its spans.
        """
        adapters = plan.spans[0].adapters
        if any(span.adapters != adapters for span in plan.spans):
            raise EngineError("a pass of this engine takes the same adapters for all sequences")
        if adapters != self._active:
            self._set(adapters)

    def close(self) -> None:
        """Free them, before the context and the model."""
        self._pool.clear()

    def _set(self, adapters: Adapters) -> None:
        try:
            addresses = [self._pool[adapter.digest] for adapter in adapters]
        except KeyError:
            raise EngineError("a span has adapters that are not loaded") from None
        n = len(adapters)
        pointers = (ctypes.c_void_p * n)(*addresses)
        scales = (ctypes.c_float * n)(*(adapter.scale for adapter in adapters))
        status = llama().llama_set_adapters_lora(
            self._context, ctypes.addressof(pointers), n, ctypes.addressof(scales)
        )
        if status:
            raise EngineError(f"libllama did not take the adapters (status {status})")
        self._active = adapters

    def _unload(self, address: int) -> None:
        self._set(())  # it may be one of those
        llama().llama_adapter_lora_free(address)

    def _load(self, path: Path) -> tuple[int, int]:
        """Its address and size. libllama ends the process on much that our reader refuses."""
        with LoraFile.open(path, self._base()) as file:
            file.check_numbers()
            return load_adapter(self._model, path), file.n_bytes

    def _base(self) -> Base:
        with GGUFFile.open(self._path) as file:
            if "split.count" in file.metadata:
                raise UnsupportedModel("a model that is split over files runs without adapters")
            architecture = file.architecture
            shapes = {name: tensor.shape for name, tensor in file.tensors.items()}
        untouched = _UNTOUCHED | _UNTOUCHED_IN.get(architecture, set())

        def is_changeable(name: str) -> bool:
            return _is_matrix(name, shapes[name]) and _kind(name) not in untouched

        return Base(architecture, shapes, is_changeable)


def _is_matrix(name: str, shape: tuple[int, ...]) -> bool:
    """Whether rows are multiplied with the tensor, or those of an expert.

    libllama has adapters of an embedding too, but applies them to an output that shares its table.
    """
    if name.endswith("token_embd.weight") or not name.endswith(".weight"):
        return False
    return len(shape) == (3 if name.endswith("_exps.weight") else 2)


def _kind(name: str) -> str:
    """``attn_q`` of ``blk.0.attn_q.weight``."""
    return re.sub(r"^blk\.\d+\.", "", name).removesuffix(".weight")
