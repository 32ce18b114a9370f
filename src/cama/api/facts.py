"""What the API must know of a GGUF file to answer for it."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cama.core.errors import ModelNotFound
from cama.gguf import GGUFFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """``chat_template`` is the Jinja template in the file, if it has one."""

    chat_template: str | None
    is_embedding: bool


def read_facts(path: Path) -> Facts:
    """Facts of the file at ``path``; read once as long as it does not change."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise ModelNotFound(f"{path}: {error.strerror}", path=str(path)) from error
    return _read(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _read(path: Path, size: int, mtime_ns: int) -> Facts:
    with GGUFFile.open(path) as file:
        template = file.get("tokenizer.chat_template")
        return Facts(
            chat_template=template if isinstance(template, str) and template.strip() else None,
            is_embedding=f"{file.architecture}.pooling_type" in file.metadata,
        )
