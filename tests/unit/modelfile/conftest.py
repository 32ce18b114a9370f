"""A store and GGUF files to create models from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cama.gguf import GGMLType, TensorSource, write_gguf
from cama.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "work"
    path.mkdir()
    return path


@pytest.fixture
def make_gguf(folder: Path) -> Callable[..., Path]:
    """Write a tiny sound GGUF file with more metadata on request."""

    def make(name: str = "tiny.gguf", **metadata: Any) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        base: dict[str, Any] = {"general.architecture": "llama", "general.file_type": 15}
        keys = {"llama.block_count": 1} | metadata
        tensor = TensorSource("token_embd.weight", GGMLType.F32, (8, 4), bytes(128))
        write_gguf(path, base | keys, [tensor])
        return path

    return make
