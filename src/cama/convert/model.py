"""A checkpoint's model as one GGUF file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from cama.convert.checkpoint import Checkpoint
from cama.convert.config import Config
from cama.convert.families import find_family
from cama.convert.family import Family, Metadata
from cama.convert.output import hashed
from cama.convert.tensors import Sources, Writer, find_sources
from cama.convert.tokenizer import read_tokenizer
from cama.core.errors import InvalidModelFile, UnsupportedModel
from cama.gguf import F32, U32, GGMLType, TensorSource, Writable
from cama.gguf.writer import write_stream
from cama.runner.job import Report

_FILE_TYPES: Final = {GGMLType.F32: 0, GGMLType.F16: 1, GGMLType.BF16: 32}
_SAMPLING: Final = {
    "temperature": "temp",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
}
_MEAN, _CLS, _LAST = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Converted:
    """``digest`` is that of the file, ``notes`` what users of the model should know."""

    digest: str
    notes: Sequence[str] = ()


def convert_model(
    checkpoint: Checkpoint, target: Path, wanted: str, label: str, report: Report
) -> Converted:
    """Write the model to ``target``.

    ``wanted`` is the type of its matrices: F32, F16, BF16, ``source`` for the checkpoint's own, or
    ``16`` for the one of 16 bits that is nearest to it. Raises InvalidModelFile, UnsupportedModel
    and StoreError.
    """
    root = checkpoint.required("config.json")
    family = find_family(root)
    config = family.config(root)
    kind = _kind(wanted, checkpoint.dtype)
    sources = find_sources(checkpoint, family, config)
    metadata = _metadata(checkpoint, family, config, kind)
    metadata |= read_tokenizer(checkpoint, config, _n_vocab(sources))
    tensors = _tensors(family, config, kind, sources, _Progress(label, report))
    with hashed(target) as out:
        write_stream(out, metadata, tensors)
    return Converted(out.digest, _notes(checkpoint, family, config))


def _kind(wanted: str, dtype: str) -> GGMLType:
    if wanted in ("F32", "F16", "BF16"):
        return GGMLType[wanted]
    if dtype not in ("F64", "F32", "F16", "BF16"):
        raise UnsupportedModel(f"weights of {dtype} cannot be converted: save them as BF16")
    if wanted == "source" and dtype != "F64":
        return GGMLType[dtype]
    return GGMLType.F32 if wanted == "source" else GGMLType["BF16" if dtype == "BF16" else "F16"]


def _n_vocab(sources: Sources) -> int:
    embeddings = sources.get("token_embd.weight")
    if not embeddings or len(embeddings[0].shape) != 2:
        raise InvalidModelFile("the embeddings of tokens are missing", field="token_embd.weight")
    return embeddings[0].shape[0]


def _metadata(
    checkpoint: Checkpoint, family: Family, config: Config, kind: GGMLType
) -> dict[str, Writable]:
    keys: Metadata = {
        "general.architecture": family.architecture,
        "general.type": "model",
        "general.name": checkpoint.name or family.architecture,
        "general.file_type": U32(_FILE_TYPES[kind]),
        **_sampling(checkpoint.json("generation_config.json")),
    }
    described = family.metadata(config)
    if family.architecture == "bert":
        described["pooling_type"] = U32(_pooling(checkpoint))
    return keys | {f"{family.architecture}.{key}": value for key, value in described.items()}


def _sampling(config: Config | None) -> Mapping[str, Writable]:
    """What the makers recommend, as far as it differs from doing nothing."""
    keys: dict[str, Writable] = {}
    for theirs, ours in _SAMPLING.items():
        if config is not None and config.has(theirs):
            value = config.number(theirs)
            is_count = theirs == "top_k"
            keys[f"general.sampling.{ours}"] = int(value) if is_count else F32(value)
    return keys


def _pooling(checkpoint: Checkpoint) -> int:
    """As sentence-transformers has it, for which a model that says nothing pools by the mean."""
    config = checkpoint.json("1_Pooling/config.json") or Config({})
    if config.flag("pooling_mode_cls_token", False):
        return _CLS
    if config.flag("pooling_mode_lasttoken", False):
        return _LAST
    config.require(config.flag("pooling_mode_mean_tokens", True), "this kind of pooling")
    return _MEAN


def _tensors(
    family: Family, config: Config, kind: GGMLType, sources: Sources, progress: "_Progress"
) -> list[TensorSource]:
    writer = Writer(family, config, kind, progress)
    tensors = [
        TensorSource(name, GGMLType.F32, table.shape, np.ascontiguousarray(table, "<f4").tobytes())
        for name, table in family.tables(config).items()
    ]
    try:
        tensors += [writer.source(name, sources[name]) for name in sorted(sources, key=_order)]
        progress.total = sum(tensor.type.n_bytes(tensor.shape) for tensor in tensors)
    except ValueError as error:
        raise InvalidModelFile(f"a tensor cannot be written: {error}", field="shape") from None
    return tensors


def _order(name: str) -> tuple[int, str]:
    """What is read first first: embeddings, layers by their number, the output."""
    parts = name.split(".")
    if parts[0] == "blk":
        return int(parts[1]), name
    return (1 << 20, name) if name.startswith("output") else (-1, name)


def _notes(checkpoint: Checkpoint, family: Family, config: Config) -> Sequence[str]:
    notes = []
    if any("vision_tower." in name for name in checkpoint.tensors):
        notes.append("the part that sees images is left out")
    window = config.integer("sliding_window", 0)
    is_unknown = family.architecture in ("llama", "phi3")
    if window and is_unknown and window < config.integer("max_position_embeddings"):
        notes.append(f"beyond {window} tokens the sliding window is not applied")
    return notes


class _Progress:
    def __init__(self, label: str, report: Report) -> None:
        self.total = 0
        self._done = 0
        self._label = label
        self._report = report

    def __call__(self, n_bytes: int) -> None:
        self._done += n_bytes
        self._report(self._label, min(self._done, self.total), self.total)
