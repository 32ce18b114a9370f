"""Weights where the file has them: a mapped GGUF as ggml tensors, nothing copied."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, get_type_hints

import numpy as np

from cama.core.errors import InvalidModelFile, UnsupportedModel
from cama.core.load import CACHE_BLOCK, CacheType, LoadOptions
from cama.engine.native import models, plugins
from cama.engine.native.kvcache.layout import CacheLayout
from cama.engine.native.model_file import ModelFile
from cama.engine.native.nn import BaseConfig, Decoder, Encoder
from cama.engine.tokenizer import LlamaTokenizer
from cama.ggml.backend import Buffer
from cama.ggml.graph import Context
from cama.ggml.tensor import Tensor
from cama.gguf import GGMLType, GGUFFile

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

_HOST_ALIGNMENT = 32
"""What ggml's CPU kernels assume of a tensor's address."""

_NO_WEIGHTS = frozenset(
    GGMLType[name] for name in ("Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64")
)
"""Types of activations and indices. ggml would not refuse to multiply with them, but crash."""


def open_file(path: Path, make: Callable[[ModelFile], _T], progress: Callable[[float], None]) -> _T:
    """What ``make`` makes of the mapped file, which it keeps open; closed again when it fails."""
    file = ModelFile.open(path)
    try:
        made = make(file)
    except BaseException:
        file.close()
        raise
    progress(1.0)
    return made


def open_tokenizer(file: ModelFile) -> LlamaTokenizer:
    """The file's vocabulary, which libllama reads from a header that it understands."""
    is_foreign = file.architecture in plugins.named()
    if not is_foreign and not file.is_translated:
        return LlamaTokenizer(file.path)
    known = "llama" if is_foreign else file.architecture
    return LlamaTokenizer(file.path, lambda: file.vocabulary(known))


def check_whole(file: GGUFFile) -> None:
    """Raise UnsupportedModel for one part of a model that is split over several files."""
    count = file.get("split.count")
    if isinstance(count, int) and count > 1:
        raise UnsupportedModel(f"the model is split over {count} files")


class MappedWeights:
    """Every tensor of a file as a ggml tensor whose data points into the map.

    The file must stay open until :meth:`close`.
    """

    def __init__(self, file: GGUFFile) -> None:
        if file.alignment % _HOST_ALIGNMENT:
            raise UnsupportedModel(f"tensors are aligned to {file.alignment} bytes, not 32")
        self._context = Context(len(file.tensors))
        self._buffer: Buffer | None = None
        self._tensors: dict[str, Tensor] = {}
        self._taken: set[str] = set()
        self._kinds = {tensor.name: tensor.type for tensor in file.tensors.values()}
        if not file.tensors:
            return
        base = _address(file)
        self._buffer = Buffer.over(base, file.size)
        for info in file.tensors.values():
            tensor = self._context.new(int(info.type), info.shape or (1,), info.name)
            self._buffer.place(tensor, base + info.offset)
            self._tensors[info.name] = tensor

    def take(self, name: str) -> Tensor | None:
        """The tensor. Raises UnsupportedModel for a type that ggml has no kernels for."""
        tensor = self._tensors.get(name)
        if tensor is not None:
            self._taken.add(name)
            if (kind := self._kinds[name]) in _NO_WEIGHTS:
                raise UnsupportedModel(f"{name} is of the type {kind.name}, not one of weights")
        return tensor

    def has(self, name: str) -> bool:
        return name in self._tensors

    @property
    def unused(self) -> list[str]:
        """Tensors that nobody took."""
        return [name for name in self._tensors if name not in self._taken]

    def close(self) -> None:
        if self._buffer is not None:
            self._buffer.close()
        self._context.close()


def _address(file: GGUFFile) -> int:
    """Address of the file's first byte in the map."""
    first = next(iter(file.tensors.values()))
    return int(np.frombuffer(file.data(first.name), np.uint8).ctypes.data) - first.offset


def _only_drafts(name: str, config: BaseConfig) -> bool:
    """Whether a tensor belongs to a layer that only guesses ahead."""
    head, _, rest = name.partition(".")
    index = rest.partition(".")[0]
    return head == "blk" and index.isdecimal() and config.n_layer <= int(index) < config.n_block


def cache_type_for(model: Decoder, load: LoadOptions) -> CacheType:
    """The type that the cache is to have, or f16 where heads are no whole blocks of it."""
    if not load.has_quantized_cache:
        return load.cache_type
    for c, kept in zip(model.layers, model.layouts, strict=True):
        if not isinstance(kept, CacheLayout):
            continue
        for n in (c.key_width, c.value_dim if kept.v_width else 0):
            if n % CACHE_BLOCK:
                _log.warning("the cache is f16, not %s: heads have %d elements", load.cache_type, n)
                return "f16"
    return load.cache_type


def bind(file: GGUFFile, weights: MappedWeights, load: LoadOptions) -> Decoder | Encoder:
    """The file's model with its weights.

    Raises UnsupportedModel for what the definition does not implement (another architecture, a
    tensor that nobody uses), InvalidModelFile for a tensor or key that is missing.
    """
    definition = models.find(file.architecture)
    config_type = get_type_hints(definition)["config"]
    model = definition.build(weights, config_type.read(file, load))
    unused = [name for name in weights.unused if not _only_drafts(name, model.config)]
    if unused:
        raise UnsupportedModel(f"the native {file.architecture} has no use for tensor {unused[0]}")
    if model.config.n_vocab != model.token_embd.weight.shape[1]:
        raise InvalidModelFile(
            f"{file.path}: token_embd.weight has {model.token_embd.weight.shape[1]} rows "
            f"for {model.config.n_vocab} tokens",
            path=str(file.path),
            field="tensor[token_embd.weight].shape",
        )
    return model
