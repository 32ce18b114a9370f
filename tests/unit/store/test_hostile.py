"""Manifests and names that mean harm: refused one by one, and no other model suffers."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cama.core.errors import CamaError, InvalidModelFile, InvalidModelName
from cama.store.blobs import TEXT_LIMIT
from cama.store.manifest import MANIFEST_LIMIT
from cama.store.store import Store

PutModel = Callable[..., Path]
Change = Callable[[dict[str, Any]], object]


def layer(**fields: Any) -> dict[str, Any]:
    sound = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{'ab' * 32}"}
    return {**sound, "size": 4, **fields}


def deep(content: dict[str, Any]) -> None:
    nested: Any = []
    for _ in range(100):
        nested = [nested]
    content["layers"] = nested


CHANGES: dict[str, Change] = {
    "a million layers": lambda m: m.update(layers=[layer()] * 1_000_000),
    "a layer that leaves the folder": lambda m: m["layers"].append(
        layer(digest="sha256:../../../etc/passwd")
    ),
    "a digest with a path behind it": lambda m: m["layers"].append(
        layer(digest=f"sha256:{'ab' * 32}/../../x")
    ),
    "a digest with a null byte": lambda m: m["layers"].append(layer(digest=f"{'ab' * 32}\0")),
    "another hash": lambda m: m["layers"].append(layer(digest=f"md5:{'ab' * 16}")),
    "a size below zero": lambda m: m["layers"].append(layer(size=-1)),
    "a size of a fraction": lambda m: m["layers"].append(layer(size=1.5)),
    "a size of true": lambda m: m["layers"].append(layer(size=True)),
    "a size in words": lambda m: m["layers"].append(layer(size="4")),
    "a size beyond all disks": lambda m: m["layers"][0].update(size=10**30),
    "a number of a million digits": lambda m: m["layers"][0].update(size="@"),
    "a layer that is text": lambda m: m["layers"].append("layer"),
    "a media type that is a list": lambda m: m["layers"].append(layer(mediaType=["x"])),
    "a name that is a number": lambda m: m["layers"].append(layer(name=7)),
    "no config": lambda m: m.pop("config"),
    "a config that is a list": lambda m: m.update(config=[]),
    "no layers": lambda m: m.pop("layers"),
    "layers by name": lambda m: m.update(layers={"a": layer()}),
    "nesting without end": deep,
    "a config that is missing": lambda m: m["config"].update(digest=f"sha256:{'cd' * 32}"),
    "weights as the config": lambda m: m["config"].update(digest=m["layers"][0]["digest"]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_store_refuses_a_manifest_with(
    change: Change, store: Store, put_model: PutModel, tmp_path: Path
) -> None:
    put_model("registry.ollama.ai/library/good/latest", [("model", b"GGUF good")])
    path = put_model("registry.ollama.ai/library/bad/latest", [("model", b"GGUF bad")])
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content).replace('"@"', "9" * 1_000_000))
    outside = sorted(os.listdir(tmp_path))
    with pytest.raises(InvalidModelFile):
        store.get("bad")
    assert [model.name for model in store.list() if model.name != "bad:latest"] == ["good:latest"]
    assert any(not finding.is_leftover for finding in store.examine().findings)
    store.delete("bad")
    assert store.get("good").path.read_bytes() == b"GGUF good"
    assert sorted(os.listdir(tmp_path)) == outside


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_circle(path: Path) -> None:
    path.symlink_to(path.name)


def make_secret(path: Path) -> None:
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize("make", [make_pipe, make_sparse, make_device, make_circle, make_secret])
def test_store_refuses_as_a_manifest(
    make: Callable[[Path], None], store: Store, put_model: PutModel
) -> None:
    path = put_model("registry.ollama.ai/library/bad/latest")
    put_model("registry.ollama.ai/library/good/latest")
    path.unlink()
    make(path)
    with pytest.raises(CamaError):
        store.get("bad")
    assert [model.name for model in store.list()] == ["good:latest"]
    assert any(not finding.is_leftover for finding in store.examine().findings)
    store.delete("bad")
    assert not path.is_symlink()
    assert Path("/etc/passwd").exists()


@pytest.mark.parametrize("kind", ["template", "system", "params", "messages", "license"])
def test_store_refuses_a_text_without_end(
    kind: str, store: Store, root: Path, put_model: PutModel
) -> None:
    path = put_model(layers=[("model", b"GGUF"), (kind, b"x")])
    digest = json.loads(path.read_text())["layers"][1]["digest"]
    with store.blobs.path(digest).open("wb") as file:
        file.truncate(TEXT_LIMIT + 1)
    with pytest.raises(InvalidModelFile, match="larger than"):
        store.get("m")


def test_store_refuses_a_manifest_that_is_too_large(store: Store, put_model: PutModel) -> None:
    path = put_model()
    path.write_text(path.read_text() + " " * MANIFEST_LIMIT)
    with pytest.raises(InvalidModelFile, match="larger than the"):
        store.get("m")


@pytest.mark.parametrize(
    "name",
    [
        "..", "../m", "a/../m", "../../../etc/passwd", "a/b/../m", "../../../../x", "a/b/c/d",
        "m:../x", "m:..", ".hidden", "m/.hidden", "a/.b/m", "host/.x/m", "m:.x", "m\n", "m\r",
        "m:t\n", "\0", "m:\0", "a/b\\c", "a\\..\\b", "m@sha256:" + "ab" * 32, "m" * 81,
        "m:" + "t" * 81, "n" * 81 + "/m", "h" * 351 + "/n/m", "é", "m:é", "a//m", "/m", "m/",
        "ftp://h/n/m", "http://m", "file:///etc/passwd", "m:", ":t", " m", "m ",
    ],
)  # fmt: skip
def test_store_takes_no_name(name: str, store: Store, put_model: PutModel, tmp_path: Path) -> None:
    put_model()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidModelName):
        store.delete(name)
    with pytest.raises(InvalidModelName):
        store.copy("m", name)
    assert sorted(tmp_path.rglob("*")) == before
