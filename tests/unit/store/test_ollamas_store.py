"""A store exactly as Ollama leaves it: read, changed, and left so that Ollama reads it."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cama.modelfile.create import create_model
from cama.modelfile.parser import parse_modelfile
from cama.store.store import Store

MakeGGUF = Callable[..., Path]
LAYER = "application/vnd.ollama.image."


def put_blob(root: Path, data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    path = root / "blobs" / f"sha256-{digest}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o644)
    return {"digest": f"sha256:{digest}", "size": len(data)}


@pytest.fixture
def weights(make_gguf: MakeGGUF) -> bytes:
    return make_gguf().read_bytes()


@pytest.fixture
def root(tmp_path: Path, weights: bytes) -> Path:
    """``ollama pull llama3.2:1b`` and ``ollama create mine``, byte for byte."""
    root = tmp_path / "models"
    config = (
        b'{"model_format":"gguf","model_family":"llama","model_families":["llama"],'
        b'"model_type":"1.2B","file_type":"Q8_0","architecture":"amd64","os":"linux",'
        b'"rootfs":{"type":"layers","diff_ids":["sha256:00"]}}'
    )
    layers = [
        {"mediaType": f"{LAYER}model", **put_blob(root, weights)},
        {"mediaType": f"{LAYER}template", **put_blob(root, b"{{ .Prompt }}")},
        {"mediaType": f"{LAYER}license", **put_blob(root, b"LLAMA 3.2 COMMUNITY LICENSE")},
        {"mediaType": f"{LAYER}params", **put_blob(root, b'{"stop":["<|eot_id|>"]}')},
    ]
    put_manifest(root, "llama3.2/1b", config, layers)
    own = [*layers[:3], {"mediaType": f"{LAYER}system", **put_blob(root, b"Be brief.")}, layers[3]]
    for layer in own:
        layer["from"] = str(root / "blobs" / str(layer["digest"]).replace(":", "-"))
    put_manifest(root, "mine/latest", config + b" ", own)
    for path in ("history", "id_ed25519", "id_ed25519.pub"):
        (tmp_path / path).touch()
    return root


def put_manifest(root: Path, name: str, config: bytes, layers: list[dict[str, Any]]) -> None:
    kind = "application/vnd.docker.container.image.v1+json"
    content = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": kind, **put_blob(root, config)},
        "layers": layers,
    }
    path = root / "manifests" / "registry.ollama.ai" / "library" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n")


def tree(root: Path) -> dict[str, bytes]:
    """All files that Ollama sees."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for folder in ("blobs", "manifests")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


def test_ollamas_store_is_read_and_left_as_it_is(root: Path, weights: bytes) -> None:
    before, store = tree(root), Store(root)
    assert {model.name for model in store.list()} == {"llama3.2:1b", "mine:latest"}
    model = store.get("llama3.2:1b")
    assert (model.path.read_bytes(), model.template) == (weights, "{{ .Prompt }}")
    assert (model.licenses, model.params["stop"]) == (
        ("LLAMA 3.2 COMMUNITY LICENSE",), ["<|eot_id|>"]
    )  # fmt: skip
    manifest = root / "manifests/registry.ollama.ai/library/llama3.2/1b"
    assert model.digest == hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert store.get("mine").system == "Be brief."
    assert store.examine().findings == []
    store.prune()
    assert tree(root) == before
    assert [path.name for path in root.iterdir() if path.name[0] != "."] == ["blobs", "manifests"]


def test_ollamas_store_is_changed_as_ollama_would(root: Path) -> None:
    store = Store(root)
    before = tree(root)
    modelfile = parse_modelfile("FROM llama3.2:1b\nPARAMETER temperature 0.5\n")
    create_model(store, "ours", modelfile, root.parent, lambda text: None)
    store.copy("mine", "user/mine:v1")
    assert before.items() <= tree(root).items()
    path = root / "manifests/registry.ollama.ai/library/ours/latest"
    text = path.read_text()
    content = json.loads(text)
    assert text == json.dumps(content, separators=(",", ":")) + "\n"
    assert list(content) == ["schemaVersion", "mediaType", "config", "layers"]
    kinds = [layer["mediaType"].removeprefix(LAYER) for layer in content["layers"]]
    assert kinds == ["model", "template", "license", "params"]
    for layer in (content["config"], *content["layers"]):
        blob = root / "blobs" / layer["digest"].replace(":", "-")
        data = blob.read_bytes()
        assert layer["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert layer["size"] == len(data)
        assert blob.stat().st_mode & 0o777 == 0o644
    assert path.stat().st_mode & 0o777 == 0o644
    store.delete("ours")
    store.delete("user/mine:v1")
    assert tree(root) == before


def test_ollamas_store_ends_empty(root: Path) -> None:
    store = Store(root)
    for name in ("llama3.2:1b", "mine"):
        store.delete(name)
    assert tree(root) == {}
    assert os.listdir(root / "manifests") == []
