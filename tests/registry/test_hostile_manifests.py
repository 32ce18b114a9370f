"""Manifests that a registry would like us to believe."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cama.core.errors import CamaError, InvalidModelFile, RegistryError, StoreError, Unsupported
from cama.registry.access import Access
from cama.store.digests import digest_of
from cama.store.names import ModelName
from cama.store.store import Store
from tests.registry.conftest import pulled, refusal

IMAGE = "application/vnd.ollama.image."
CONFIG = b'{"model_format":"gguf"}'


class TinyRegistry(ThreadingHTTPServer):
    """Answers every manifest with ``manifest`` and knows ``blobs`` by digest."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.manifest = b""
        self.headers: dict[str, str] = {}
        self.blobs: dict[str, bytes] = {digest_of(CONFIG): CONFIG}
        self.paths: list[str] = []

    @property
    def name(self) -> ModelName:
        return ModelName("127.0.0.1:" + str(self.server_address[1]), "test", "m", "latest")


class _Handler(BaseHTTPRequestHandler):
    server: TinyRegistry

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        is_manifest = "/manifests/" in self.path
        blobs = self.server.blobs
        data = self.server.manifest if is_manifest else blobs.get(self.path.rsplit("/", 1)[1])
        self.send_response(404 if data is None else 200)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(data or b"")
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def tiny() -> Iterator[TinyRegistry]:
    with TinyRegistry() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def layer(**fields: Any) -> dict[str, Any]:
    base = {"mediaType": f"{IMAGE}license", "digest": digest_of(b"x"), "size": 1}
    return base | fields


def manifest(*layers: Any, **fields: Any) -> bytes:
    config = {
        "mediaType": "application/vnd.docker.container.image.v1+json",
        "digest": digest_of(CONFIG),
        "size": len(CONFIG),
    }
    content = {"schemaVersion": 2, "config": config, "layers": list(layers)}
    return json.dumps(content | fields).encode()


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (manifest(layer(digest="sha256:../../../../etc/passwd")), InvalidModelFile, "no valid dig"),
        (manifest(layer(digest="../" + digest_of(b"x"))), InvalidModelFile, "no valid digest"),
        (manifest(layer(digest="md5:" + "0" * 32)), InvalidModelFile, "no valid digest"),
        (manifest(layer(digest=7)), InvalidModelFile, "digest of a layer is not a string"),
        (manifest(layer(size=-1)), InvalidModelFile, "no valid size"),
        (manifest(layer(size=1.5)), InvalidModelFile, "no valid size"),
        (manifest(layer(size=True)), InvalidModelFile, "no valid size"),
        (manifest(layer(size=2**62, mediaType=f"{IMAGE}model")), StoreError, "no space left"),
        (manifest(layer(size=10**30, mediaType=f"{IMAGE}model")), StoreError, "no space left"),
        (manifest(layer(size=1 << 30)), InvalidModelFile, "has 1073741824 bytes of"),
        (manifest(layer(), layer(size=2)), InvalidModelFile, "two sizes"),
        (manifest(*[layer()] * 5000), InvalidModelFile, "has 5000 layers; 4096 are allowed"),
        (manifest(*[layer()] * 40_000), RegistryError, "larger than the 4194304 bytes allowed"),
        (b'{"layers":[' + b"{}," * 10**6 + b"{}]}", InvalidModelFile, "."),
        (b" " * (5 << 20), RegistryError, "the manifest is larger than"),
        (manifest(layer(mediaType=f"{IMAGE}tensor")), Unsupported, "requires MLX support"),
        (manifest(layer(mediaType=[])), InvalidModelFile, "mediaType of a layer is not a string"),
        (manifest("layer"), InvalidModelFile, "a layer is not a JSON object"),
        (manifest(layers={}), InvalidModelFile, "there is no list of layers"),
        (manifest(config=None), InvalidModelFile, "a layer is not a JSON object"),
        (b"[" * 100_000, InvalidModelFile, "too deeply nested"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, InvalidModelFile, "too deeply nested"),
        (b'{"layers": "\xff"}', InvalidModelFile, "not valid JSON"),
        (b'{"size": NaN}', InvalidModelFile, "not valid JSON"),
        (b"<html>", InvalidModelFile, "not valid JSON"),
        (b"", InvalidModelFile, "not valid JSON"),
        (b"[]", InvalidModelFile, "must be a JSON object"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value)[:40],
)  # fmt: skip
def test_bad_manifest_is_refused(
    tiny: TinyRegistry,
    target: Store,
    access: Access,
    data: bytes,
    kind: type[CamaError],
    message: str,
) -> None:
    tiny.manifest = data
    error = refusal(tiny.name, target, access)
    assert isinstance(error, kind)
    assert pytest.raises(kind, match=message).matches(error), error.message
    assert len(error.message) < 500
    assert all("/manifests/" in path for path in tiny.paths)


def test_compressed_manifest_is_refused_unread(
    tiny: TinyRegistry, target: Store, access: Access
) -> None:
    tiny.manifest = b"\x1f\x8b" + bytes(1000)
    tiny.headers = {"Content-Encoding": "gzip"}
    assert "compresses its answer, unasked" in refusal(tiny.name, target, access).message


def test_blob_of_another_digest_is_refused(
    tiny: TinyRegistry, target: Store, access: Access
) -> None:
    tiny.manifest = manifest(layer())
    tiny.blobs[digest_of(b"x")] = b"y"
    assert "digest mismatch" in refusal(tiny.name, target, access).message
    assert target.blobs.size(digest_of(b"x")) is None
    assert not list(target.blobs.folder.glob("*partial*"))


def test_blob_that_does_not_end_is_read_to_its_size_only(
    tiny: TinyRegistry, target: Store, access: Access
) -> None:
    tiny.manifest = manifest(layer())
    tiny.blobs[digest_of(b"x")] = b"x" * (64 << 20)
    pulled(tiny.name, target, access)
    assert target.blobs.path(digest_of(b"x")).read_bytes() == b"x"


@pytest.mark.parametrize("config", [b"[]", b"{", b"\xff", b"{}" + b" " * 100 + b"x"])
def test_model_with_a_config_that_cannot_be_read_is_refused(
    tiny: TinyRegistry, target: Store, access: Access, config: bytes
) -> None:
    tiny.blobs[digest_of(config)] = config
    tiny.manifest = manifest(config=layer(digest=digest_of(config), size=len(config)))
    assert isinstance(refusal(tiny.name, target, access), InvalidModelFile)


def test_layers_of_unknown_kinds_are_kept(
    tiny: TinyRegistry, target: Store, access: Access
) -> None:
    tiny.blobs[digest_of(b"x")] = b"x"
    tiny.manifest = manifest(layer(mediaType="application/x-what"), annotations={"a": "b"})
    pulled(tiny.name, target, access)
    assert target.manifests.read(tiny.name) == tiny.manifest
    assert target.blobs.path(digest_of(b"x")).read_bytes() == b"x"
