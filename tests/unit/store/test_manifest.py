"""The manifest as a value."""

import json
from typing import Any

import pytest

from cama.core.errors import InvalidModelFile
from cama.store.manifest import Layer, Manifest, MediaType

DIGEST = f"sha256:{'0' * 64}"
LAYER = {"mediaType": "application/x", "digest": DIGEST, "size": 3}


def manifest_bytes(**changes: Any) -> bytes:
    content = {"schemaVersion": 2, "config": LAYER, "layers": [LAYER]} | changes
    return json.dumps(content).encode()


def test_manifest_is_written_as_compact_json_with_a_newline() -> None:
    manifest = Manifest(
        config=Layer(media_type=MediaType.CONFIG, digest=DIGEST, size=2),
        layers=(Layer(media_type=MediaType.MODEL, digest=DIGEST, size=3, parent="base:latest"),),
    )
    assert manifest.to_bytes().decode() == (
        '{"schemaVersion":2,'
        '"mediaType":"application/vnd.docker.distribution.manifest.v2+json",'
        '"config":{"mediaType":"application/vnd.docker.container.image.v1+json",'
        f'"digest":"{DIGEST}","size":2}},'
        '"layers":[{"mediaType":"application/vnd.ollama.image.model",'
        f'"digest":"{DIGEST}","size":3,"from":"base:latest"}}]}}\n'
    )


def test_manifest_reads_back_what_it_wrote() -> None:
    layer = Layer(media_type="application/x", digest=DIGEST, size=3, parent="p", name="n")
    manifest = Manifest(config=layer, layers=(layer, layer))
    assert Manifest.from_bytes(manifest.to_bytes(), "m") == manifest


def test_manifest_size_counts_layers_and_config() -> None:
    assert Manifest.from_bytes(manifest_bytes(), "m").size == 6


def test_manifest_keeps_layers_of_unknown_type() -> None:
    assert Manifest.from_bytes(manifest_bytes(), "m").layers[0].media_type == "application/x"


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": None},
        {"layers": {}},
        {"layers": ["x"]},
        {"config": None},
        {"config": {}},
        {"layers": [LAYER | {"digest": "sha256:../../../etc/passwd"}]},
        {"layers": [LAYER | {"digest": 7}]},
        {"layers": [LAYER | {"size": -1}]},
        {"layers": [LAYER | {"size": True}]},
        {"layers": [LAYER | {"size": 1.5}]},
        {"layers": [LAYER | {"mediaType": None}]},
        {"layers": [LAYER | {"from": []}]},
    ],
)
def test_manifest_refuses_other_shapes(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidModelFile, match="the manifest"):
        Manifest.from_bytes(manifest_bytes(**changes), "the manifest")
