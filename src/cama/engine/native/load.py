"""Weights where the file has them: a mapped GGUF as ggml tensors, nothing copied."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, get_type_hints

import numpy as np

from cama.core.errors import InvalidModelFile, UnsupportedModel
from cama.core.load import CACHE_BLOCK, CacheType, LoadOptions
from cama.engine.native import models, plugins
from cama.engine.native.kvcache.layout import CacheLayout
from cama.engine.native.model_file import ModelFile
from cama.engine.native.nn import BaseConfig, Decoder, DecoderConfig, Encoder, Weights
from cama.engine.tokenizer import LlamaTokenizer
from cama.engine.weight_types import NO_WEIGHTS
from cama.ggml.backend import Backend, Buffer
from cama.ggml.graph import Context
from cama.ggml.tensor import Tensor
from cama.gguf import GGUFFile

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

OfTensor = Callable[[str], Backend | None]

_EMBEDDING = "token_embd.weight"
_HOST_ALIGNMENT = 32
"""What ggml's CPU kernels assume of a tensor's address."""


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

    Those for which ``on`` names a device are for its memory, and get it with :meth:`upload`. The
    file must stay open until :meth:`close`.
    """

    def __init__(self, file: GGUFFile, on: OfTensor = lambda name: None) -> None:
        if file.alignment % _HOST_ALIGNMENT:
            raise UnsupportedModel(f"tensors are aligned to {file.alignment} bytes, not 32")
        self._context = Context(len(file.tensors) + 1)
        self._file = file
        self._buffers: list[Buffer] = []
        self._far: dict[Backend, list[tuple[Tensor, str]]] = {}
        self._copies: dict[str, Tensor] = {}
        self._tensors: dict[str, Tensor] = {}
        self._taken: set[str] = set()
        self._kinds = {tensor.name: tensor.type for tensor in file.tensors.values()}
        if not file.tensors:
            return
        base = _address(file)
        mapped = Buffer.over(base, file.size)
        mapped.hold_weights()
        self._buffers.append(mapped)
        for info in file.tensors.values():
            tensor = self._context.new(int(info.type), info.shape or (1,), info.name)
            device = on(info.name)
            if device is None:
                mapped.place(tensor, base + info.offset)
            else:
                self._far.setdefault(device, []).append((tensor, info.name))
            self._tensors[info.name] = tensor
        self._copy_embedding(on("output.weight"))

    def _copy_embedding(self, device: Backend | None) -> None:
        """A table that is also the output's matrix is needed in both places."""
        info = self._file.tensors.get(_EMBEDDING)
        if device is None or info is None or "output.weight" in self._tensors:
            return
        copy = self._context.new(int(info.type), info.shape, info.name)
        self._far.setdefault(device, []).append((copy, info.name))
        self._copies[info.name] = copy

    def upload(self) -> None:
        """Copy what belongs on devices. Raises EngineError when one has too little memory."""
        for device, pairs in self._far.items():
            buffer = Buffer.holding(device, [tensor for tensor, _ in pairs])
            buffer.hold_weights()
            self._buffers.append(buffer)
            for tensor, name in pairs:
                tensor.upload(self._file.data(name))

    @property
    def shared(self) -> "Weights":
        return _Shared(self, self._copies)

    def take(self, name: str) -> Tensor | None:
        """The tensor. Raises UnsupportedModel for a type that ggml has no kernels for."""
        tensor = self._tensors.get(name)
        if tensor is not None:
            self._taken.add(name)
            if (kind := self._kinds[name]) in NO_WEIGHTS:
                raise UnsupportedModel(f"{name} is of the type {kind.name}, not one of weights")
        return tensor

    def has(self, name: str) -> bool:
        return name in self._tensors

    @property
    def unused(self) -> list[str]:
        """Tensors that nobody took."""
        return [name for name in self._tensors if name not in self._taken]

    def close(self) -> None:
        for buffer in self._buffers:
            buffer.close()
        self._context.close()


class _Shared:
    """The weights as those see them who share a tensor with another: they have their own copy."""

    def __init__(self, weights: MappedWeights, copies: Mapping[str, Tensor]) -> None:
        self._weights = weights
        self._copies = copies

    def take(self, name: str) -> Tensor | None:
        found = self._weights.take(name)
        return self._copies.get(name, found)

    def has(self, name: str) -> bool:
        return self._weights.has(name)

    @property
    def shared(self) -> "Weights":
        return self


def _address(file: GGUFFile) -> int:
    """Address of the file's first byte in the map."""
    first = next(iter(file.tensors.values()))
    return int(np.frombuffer(file.data(first.name), np.uint8).ctypes.data) - first.offset


def _only_drafts(name: str, config: BaseConfig) -> bool:
    """Whether a tensor belongs to a layer that only guesses ahead."""
    index = _layer(name)
    return index is not None and config.n_layer <= index < config.n_block


def _layer(name: str) -> int | None:
    """The layer that a tensor belongs to, if it does to one."""
    head, _, rest = name.partition(".")
    index = rest.partition(".")[0]
    return int(index) if head == "blk" and index.isdecimal() else None


def cache_type_for(layers: Sequence[DecoderConfig], load: LoadOptions) -> CacheType:
    """The type that the cache is to have, or f16 where heads are no whole blocks of it."""
    if not load.has_quantized_cache:
        return load.cache_type
    for c in layers:
        kept = c.layout
        if not isinstance(kept, CacheLayout):
            continue
        for n in (c.key_width, c.value_dim if kept.v_width else 0):
            if n % CACHE_BLOCK:
                _log.warning("the cache is f16, not %s: heads have %d elements", load.cache_type, n)
                return "f16"
    return load.cache_type


def read_config(file: GGUFFile, load: LoadOptions) -> BaseConfig:
    """The hyperparameters of the file's model. Raises UnsupportedModel and InvalidModelFile."""
    config_type = get_type_hints(models.find(file.architecture))["config"]
    config: BaseConfig = config_type.read(file, load)
    return config


def sizes(file: GGUFFile, n_layer: int) -> tuple[list[int], int]:
    """Bytes of the weights of each layer, and of what follows the last one."""
    layers, output = [0] * n_layer, 0
    for tensor in file.tensors.values():
        index = _layer(tensor.name)
        if index is not None and index < n_layer:
            layers[index] += tensor.n_bytes
        elif tensor.name.startswith("output"):
            output += tensor.n_bytes
    if "output.weight" not in file.tensors and _EMBEDDING in file.tensors:
        output += file.tensors[_EMBEDDING].n_bytes
    return layers, output


def bind(file: GGUFFile, weights: MappedWeights, config: BaseConfig) -> Decoder | Encoder:
    """The file's model with its weights.

    Raises UnsupportedModel for what the definition does not implement (another architecture, a
    tensor that nobody uses), InvalidModelFile for a tensor or key that is missing.
    """
    definition = models.find(file.architecture)
    model = definition.build(weights, config)
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
