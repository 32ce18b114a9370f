"""Adapters in libllama: loaded into the model, and set for a whole context."""

import ctypes
from functools import partial
from pathlib import Path

from cama.core.errors import EngineError, UnsupportedModel
from cama.core.generation import Adapter, Adapters
from cama.engine.adapters import Pool
from cama.engine.base import Plan
from cama.engine.lora import Base, LoraFile
from cama.ggml.llama import llama, load_adapter
from cama.gguf import GGUFFile


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
            shapes = {name: tensor.shape for name, tensor in file.tensors.items()}
            return Base(file.architecture, shapes, lambda name: _is_changeable(name, shapes[name]))


def _is_changeable(name: str, shape: tuple[int, ...]) -> bool:
    """Whether libllama multiplies with the tensor in the way that adapters take part in.

    It adds those of an embedding too, but would apply them to an output that shares its table.
    """
    if name.endswith("token_embd.weight") or not name.endswith(".weight"):
        return False
    n_dims = 3 if name.endswith("_exps.weight") else 2
    return len(shape) == n_dims
