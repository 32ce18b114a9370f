"""Facts about a model from its GGUF header, read once per state of the file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from cama.core.errors import InvalidModelFile, ModelNotFound
from cama.gguf import GGUFFile, TensorInfo
from cama.store.files import storing
from cama.store.projector import image_bytes
from cama.store.shape import Shape, read_shape

Kind = Literal["model", "adapter", "projector"]

_SAMPLING: Final[Mapping[str, tuple[str, type[int | float]]]] = {
    "temp": ("temperature", float),
    "top_k": ("top_k", int),
    "top_p": ("top_p", float),
    "min_p": ("min_p", float),
    "penalty_last_n": ("repeat_last_n", int),
    "penalty_repeat": ("repeat_penalty", float),
}
"""Keys below ``general.sampling``, as llama.cpp reads them, and our parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a file is for, and what is shown to users: ``8.0B``, ``Q4_K_M``.

    ``sampling`` has the parameters that the model's makers recommend, ``chat_template`` their
    Jinja template, if there is one. ``pools`` says that the file embeds texts; ``sees`` and
    ``hears`` that it takes images and sound. ``shape`` is what running it takes; a projector takes
    ``image_bytes`` besides its weights.
    """

    kind: Kind
    architecture: str
    parameter_size: str
    quantization: str
    sampling: Mapping[str, int | float]
    chat_template: str | None
    pools: bool
    sees: bool
    hears: bool
    shape: Shape
    image_bytes: int = 0

    @property
    def noun(self) -> str:
        """The kind as a sentence has it: ``a model``, ``an adapter``."""
        return f"{'an' if self.kind == 'adapter' else 'a'} {self.kind}"


def read_facts(path: Path, *others: Path) -> Facts:
    """The facts of ``path``; cached, so that repeated calls cost one ``stat``.

    Of a model that is split over several files ``path`` is the first part and ``others`` are the
    further ones. Raises ModelNotFound, InvalidModelFile, StoreError.
    """
    marks = tuple(_mark(part) for part in (path, *others))
    return _read((path, *others), marks)


def _mark(path: Path) -> tuple[int, int, int]:
    with storing(path):
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise ModelNotFound(f"{path} does not exist", path=str(path)) from None
    return status.st_ino, status.st_size, status.st_mtime_ns


def parameter_size(count: int) -> str:
    """A number of parameters as users read it: ``8.0B``, ``125M``, ``260K``."""
    if count >= 1_000_000_000:
        return f"{count / 1e9:.1f}B" if count % 1_000_000_000 else f"{count // 1_000_000_000}B"
    if count >= 1_000_000:
        return f"{count / 1e6:.2f}M" if count % 1_000_000 else f"{count // 1_000_000}M"
    if count >= 1_000:
        return f"{count / 1e3:.0f}K"
    return str(count)


@lru_cache(maxsize=256)
def _read(parts: tuple[Path, ...], marks: tuple[tuple[int, int, int], ...]) -> Facts:
    path = parts[0]
    with GGUFFile.open(path) as gguf:
        tensors = _tensors(gguf, parts[1:])
        template, prefix = gguf.get("tokenizer.chat_template"), gguf.architecture
        return Facts(
            kind=_kind(gguf),
            architecture=gguf.architecture,
            parameter_size=parameter_size(sum(t.n_elements for t in tensors.values())),
            quantization=gguf.file_type_name,
            sampling=MappingProxyType(_sampling(gguf, path)),
            chat_template=template if isinstance(template, str) and template.strip() else None,
            pools=f"{prefix}.pooling_type" in gguf.metadata,
            sees=f"{prefix}.vision.block_count" in gguf.metadata,
            hears=f"{prefix}.audio.block_count" in gguf.metadata
            or gguf.get(f"{prefix}.has_audio_encoder") is True,
            shape=read_shape(gguf, tensors),
            image_bytes=image_bytes(gguf),
        )


def _tensors(first: GGUFFile, others: Sequence[Path]) -> Mapping[str, TensorInfo]:
    """Those of all parts."""
    tensors = dict(first.tensors)
    for path in others:
        with GGUFFile.open(path) as part:
            tensors |= part.tensors
    return tensors


def _sampling(gguf: GGUFFile, path: Path) -> dict[str, int | float]:
    found: dict[str, int | float] = {}
    for name, (ours, kind) in _SAMPLING.items():
        key = f"general.sampling.{name}"
        value = gguf.get(key)
        if value is None:
            continue
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise InvalidModelFile(f"{path}: {key} is no number", path=str(path), field=key)
        found[ours] = kind(value)
    return found


def _kind(gguf: GGUFFile) -> Kind:
    match gguf.get("general.type"):
        case "adapter":
            return "adapter"
        case "projector" | "mmproj":
            return "projector"
    prefix = gguf.architecture
    has_vision = f"{prefix}.vision.block_count" in gguf.metadata
    has_text = f"{prefix}.block_count" in gguf.metadata
    return "projector" if has_vision and not has_text else "model"
