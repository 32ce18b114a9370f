"""Stores and GGUF files on disk, made without the code under test where it matters."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cama.gguf import GGMLType, TensorSource, write_gguf
from cama.store.store import Store

IMAGE = "application/vnd.ollama.image."
CONFIG = {
    "model_format": "gguf", "model_family": "llama", "model_families": ["llama"],
    "model_type": "8.0B", "file_type": "Q4_K_M", "architecture": "amd64", "os": "linux",
    "rootfs": {"type": "layers", "diff_ids": []},
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def store(root: Path) -> Store:
    return Store(root)


@pytest.fixture
def put_blob(root: Path) -> Callable[[bytes], str]:
    """Write a blob as Ollama does; returns its digest."""

    def put(data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        path = root / "blobs" / f"sha256-{digest}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return f"sha256:{digest}"

    return put


@pytest.fixture
def put_model(root: Path, put_blob: Callable[[bytes], str]) -> Callable[..., Path]:
    """Write a model as Ollama does, with layers by the end of their type; returns its manifest."""

    def put(
        path: str = "registry.ollama.ai/library/m/latest",
        layers: list[tuple[str, bytes]] | None = None,
        config: dict[str, Any] | None = None,
    ) -> Path:
        def layer(kind: str, data: bytes) -> dict[str, Any]:
            return {"mediaType": kind, "digest": put_blob(data), "size": len(data)}

        content = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": layer(
                "application/vnd.docker.container.image.v1+json",
                json.dumps(CONFIG if config is None else config).encode(),
            ),
            "layers": [layer(IMAGE + kind, data) for kind, data in layers or [("model", b"GGUF")]],
        }
        manifest = root / "manifests" / path
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text(json.dumps(content))
        return manifest

    return put


@pytest.fixture
def make_gguf(tmp_path: Path) -> Callable[..., Path]:
    """Write a tiny sound GGUF file with more metadata on request."""

    def make(name: str = "tiny.gguf", **metadata: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        keys = {key.replace("__", "."): value for key, value in metadata.items()}
        base: dict[str, Any] = {
            "general.architecture": "llama",
            "general.file_type": 1,
            "llama.block_count": 1,
        }
        tensor = TensorSource("token_embd.weight", GGMLType.F32, (8, 4), bytes(128))
        write_gguf(path, base | keys, [tensor])
        return path

    return make
