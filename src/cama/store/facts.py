"""Facts about a model from its GGUF header, read once per state of the file."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from cama.core.errors import ModelNotFound
from cama.gguf import GGUFFile
from cama.store.describe import parameter_size
from cama.store.files import storing

Kind = Literal["model", "adapter", "projector"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """``kind`` is what the file is for. Lengths that the file does not tell are 0.

    ``chat_template`` is the Jinja template; ``parameter_size`` and ``quantization`` are as shown
    to users (``8.0B``, ``Q4_K_M``).
    """

    kind: Kind
    architecture: str
    parameter_count: int
    parameter_size: str
    quantization: str
    n_ctx_train: int
    n_embd: int
    chat_template: str | None
    is_embedding: bool
    has_vision: bool
    has_audio: bool


def read_facts(path: Path) -> Facts:
    """The facts of ``path``; cached, so that repeated calls cost one ``stat``.

    Raises ModelNotFound, InvalidModelFile, StoreError.
    """
    with storing(path):
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise ModelNotFound(f"{path} does not exist", path=str(path)) from None
    return _read(path, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _read(path: Path, inode: int, size: int, mtime_ns: int) -> Facts:
    with GGUFFile.open(path) as gguf:
        return facts_of(gguf)


def facts_of(gguf: GGUFFile) -> Facts:
    """The facts of an open file. Raises InvalidModelFile when it names no architecture."""
    architecture = gguf.architecture
    has_vision = f"{architecture}.vision.block_count" in gguf.metadata
    template = gguf.get("tokenizer.chat_template")
    return Facts(
        kind=_kind(gguf, has_vision),
        architecture=architecture,
        parameter_count=gguf.parameter_count,
        parameter_size=parameter_size(gguf.parameter_count),
        quantization=gguf.file_type_name,
        n_ctx_train=_count(gguf.get(f"{architecture}.context_length")),
        n_embd=_count(gguf.get(f"{architecture}.embedding_length")),
        chat_template=template if isinstance(template, str) else None,
        is_embedding=f"{architecture}.pooling_type" in gguf.metadata,
        has_vision=has_vision,
        has_audio=f"{architecture}.audio.block_count" in gguf.metadata,
    )


def _kind(gguf: GGUFFile, has_vision: bool) -> Kind:
    match gguf.get("general.type"):
        case "adapter":
            return "adapter"
        case "projector" | "mmproj":
            return "projector"
    has_blocks = f"{gguf.architecture}.block_count" in gguf.metadata
    return "projector" if has_vision and not has_blocks else "model"


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
