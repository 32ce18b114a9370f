"""The store: existing Ollama stores, and changes to them."""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cama.core.errors import (
    InvalidModelFile,
    InvalidModelName,
    ModelNotFound,
    StoreError,
    UnsupportedModel,
)
from cama.store.lock import locked
from cama.store.manifest import Manifest, MediaType
from cama.store.store import Store

PutModel = Callable[..., Path]
PutBlob = Callable[[bytes], str]

FULL = [
    ("model", b"GGUF weights"),
    ("projector", b"GGUF eyes"),
    ("adapter", b"GGUF lora"),
    ("template", b"{{ .Prompt }}"),
    ("system", "Sei höflich.".encode()),
    ("params", b'{"stop":["x"],"temperature":0.5}\n'),
    ("messages", b'[{"role":"user","content":"hi"}]\n'),
    ("license", b"MIT"),
    ("license", b"and more"),
    ("embed", b"ignored"),
]


def blob_names(root: Path) -> set[str]:
    return {path.name for path in (root / "blobs").iterdir()}


def test_store_that_does_not_exist_is_empty(store: Store, root: Path) -> None:
    assert store.list() == []
    with pytest.raises(ModelNotFound, match="model 'm' not found"):
        store.get("m")
    assert not root.exists()


def test_store_get_reads_a_model_of_ollamas(
    store: Store, root: Path, put_model: PutModel, put_blob: PutBlob
) -> None:
    manifest = put_model("registry.ollama.ai/library/llama/8b", FULL)
    model = store.get("llama:8b")
    assert model.name == "llama:8b"
    assert model.path.read_bytes() == b"GGUF weights"
    assert model.digest == hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert (model.family, model.families) == ("llama", ("llama",))
    assert (model.parameter_size, model.quantization) == ("8.0B", "Q4_K_M")
    assert (model.template, model.system) == ("{{ .Prompt }}", "Sei höflich.")
    assert model.params == {"stop": ["x"], "temperature": 0.5}
    assert model.messages == [{"role": "user", "content": "hi"}]
    assert model.licenses == ("MIT", "and more")
    assert [one.path.read_bytes() for one in model.adapters] == [b"GGUF lora"]
    assert [path.read_bytes() for path in model.projectors] == [b"GGUF eyes"]
    assert model.config["os"] == "linux"
    assert not model.is_file


def test_store_get_counts_layers_and_config(store: Store, put_model: PutModel) -> None:
    put_model(layers=[("model", b"123"), ("system", b"45")], config={})
    assert store.get("m").size == 3 + 2 + 2


def test_store_get_tells_when_the_manifest_was_written(store: Store, put_model: PutModel) -> None:
    os.utime(put_model(), (1_700_000_000, 1_700_000_000))
    modified = store.get("m").modified_at
    assert modified.timestamp() == 1_700_000_000
    assert modified.tzinfo is not None


def test_store_get_ignores_case(store: Store, put_model: PutModel) -> None:
    put_model("registry.ollama.ai/library/Llama/8B")
    assert store.get("LLAMA:8b").name == "Llama:8B"


def test_store_get_gives_values_that_may_be_changed(store: Store, put_model: PutModel) -> None:
    put_model(layers=FULL)
    store.get("m").params["stop"].append("y")
    assert store.get("m").params["stop"] == ["x"]


def test_store_get_sees_a_manifest_that_was_replaced(store: Store, put_model: PutModel) -> None:
    put_model(layers=[("model", b"GGUF"), ("system", b"one")])
    assert store.get("m").system == "one"
    put_model(layers=[("model", b"GGUF"), ("system", b"two")])
    assert store.get("m").system == "two"


def test_store_get_reads_the_older_template_type(store: Store, put_model: PutModel) -> None:
    put_model(layers=[("model", b"GGUF"), ("prompt", b"old")])
    assert store.get("m").template == "old"


@pytest.mark.parametrize("name", ["", "m:", "a b", "-x", "m\0"])
def test_store_get_refuses_an_invalid_name(store: Store, name: str) -> None:
    with pytest.raises(InvalidModelName):
        store.get(name)


def test_store_get_reports_missing_weights(
    store: Store, root: Path, put_model: PutModel, put_blob: PutBlob
) -> None:
    put_model()
    store.blobs.path(put_blob(b"GGUF")).unlink()
    with pytest.raises(InvalidModelFile, match="is missing; pull or create"):
        store.get("m")


def test_store_get_reports_weights_of_another_size(
    store: Store, put_model: PutModel, put_blob: PutBlob
) -> None:
    put_model()
    store.blobs.path(put_blob(b"GGUF")).write_bytes(b"GG")
    with pytest.raises(InvalidModelFile, match="4 bytes that the manifest names"):
        store.get("m")


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([("model", b"GGUF"), ("params", b"[]")], "must be a JSON object"),
        ([("model", b"GGUF"), ("params", b"{")], "not valid JSON"),
        ([("model", b"GGUF"), ("messages", b"{}")], "array of objects"),
        ([("model", b"GGUF"), ("messages", b'[{"role":1,"content":""}]')], "lack a role"),
    ],
)
def test_store_get_refuses_damaged_layers(
    store: Store, put_model: PutModel, layers: list[tuple[str, bytes]], reason: str
) -> None:
    put_model(layers=layers)
    with pytest.raises(InvalidModelFile, match=reason):
        store.get("m")


@pytest.mark.parametrize("config", [{"model_family": 7, "model_families": "x"}, {}])
def test_store_get_shows_odd_config_values_as_empty(
    store: Store, put_model: PutModel, config: dict[str, object]
) -> None:
    put_model(config=config)
    model = store.get("m")
    assert (model.family, model.families, model.format) == ("", (), "gguf")


@pytest.mark.parametrize(
    ("config", "reason"),
    [({"remote_host": "x"}, "runs on another machine"), ({}, "has no GGUF file")],
)
def test_store_get_refuses_a_model_without_weights(
    store: Store, put_model: PutModel, config: dict[str, object], reason: str
) -> None:
    put_model(layers=[("tensor", b"x")], config=config)
    with pytest.raises(UnsupportedModel, match=reason):
        store.get("m")
    assert store.list() == []


def test_store_list_is_newest_first(store: Store, put_model: PutModel) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        path = put_model(f"registry.ollama.ai/library/{name}/latest")
        os.utime(path, (2_000_000_000 - age,) * 2)
    assert [model.name for model in store.list()] == ["new:latest", "middle:latest", "old:latest"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"not json", b'{"config":{},"layers":[]}', b" " * ((4 << 20) + 1)],
    ids=["empty", "no-keys", "text", "no-config", "huge"],
)
def test_store_list_skips_what_it_cannot_read(
    store: Store, root: Path, put_model: PutModel, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    put_model()
    put_model("h/n/bad/t").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert [model.name for model in store.list()] == ["m:latest"]
    assert "skipping model h/n/bad:t" in caplog.text


def test_store_list_skips_a_pipe_in_a_manifests_place(
    store: Store, root: Path, put_model: PutModel
) -> None:
    put_model()
    os.mkfifo(root / "manifests/registry.ollama.ai/library/m/pipe")
    assert [model.name for model in store.list()] == ["m:latest"]


def test_store_copy_gives_the_same_model(store: Store, put_model: PutModel) -> None:
    put_model(layers=FULL)
    store.copy("m", "u/n:t")
    assert store.get("u/n:t").digest == store.get("m").digest


def test_store_copy_onto_itself_changes_nothing(store: Store, put_model: PutModel) -> None:
    path = put_model("registry.ollama.ai/library/M/latest")
    store.copy("M", "m")
    assert [model.name for model in store.list()] == ["M:latest"]
    assert path.exists()


def test_store_copy_replaces_a_model_and_its_blobs(
    store: Store, root: Path, put_model: PutModel, put_blob: PutBlob
) -> None:
    put_model("registry.ollama.ai/library/Other/latest", [("model", b"GGUF old")])
    put_model()
    store.copy("m", "other")
    assert {model.name for model in store.list()} == {"Other:latest", "m:latest"}
    assert store.get("other").path.read_bytes() == b"GGUF"
    old = hashlib.sha256(b"GGUF old").hexdigest()
    assert f"sha256-{old}" not in blob_names(root)


@pytest.mark.parametrize(
    ("source", "destination", "kind"),
    [("x", "n", ModelNotFound), ("m", "a b", InvalidModelName), ("", "n", InvalidModelName)],
)
def test_store_copy_refuses(
    store: Store, put_model: PutModel, source: str, destination: str, kind: type[Exception]
) -> None:
    put_model()
    with pytest.raises(kind):
        store.copy(source, destination)


def test_store_delete_removes_manifest_folders_and_blobs(
    store: Store, root: Path, put_model: PutModel
) -> None:
    put_model("h/n/m/t", FULL)
    store.delete("H/n/M:T")
    assert store.list() == []
    assert blob_names(root) == set()
    assert list((root / "manifests").iterdir()) == []


def test_store_delete_keeps_what_others_use(store: Store, put_model: PutModel) -> None:
    put_model("h/n/a/t", FULL)
    put_model("h/n/b/t", [*FULL, ("system", b"own")])
    store.delete("h/n/b:t")
    assert store.get("h/n/a:t").path.read_bytes() == b"GGUF weights"
    with pytest.raises(ModelNotFound):
        store.get("h/n/b:t")


def test_store_delete_leaves_blobs_of_no_model_alone(
    store: Store, root: Path, put_model: PutModel, put_blob: PutBlob
) -> None:
    put_model()
    digest = put_blob(b"uploaded")
    store.delete("m")
    assert blob_names(root) == {digest.replace(":", "-")}


def test_store_delete_keeps_all_blobs_beside_an_unreadable_manifest(
    store: Store, root: Path, put_model: PutModel
) -> None:
    put_model()
    put_model("h/n/bad/t").write_text("{")
    before = blob_names(root)
    store.delete("m")
    assert blob_names(root) == before


def test_store_delete_removes_an_unreadable_model(store: Store, put_model: PutModel) -> None:
    path = put_model()
    path.write_text("{")
    store.delete("m")
    assert not path.exists()


def test_store_delete_refuses_an_unknown_name(store: Store, put_model: PutModel) -> None:
    put_model()
    with pytest.raises(ModelNotFound, match="model 'x' not found"):
        store.delete("x")


def test_store_delete_refuses_a_file(store: Store, make_gguf: Callable[..., Path]) -> None:
    path = make_gguf()
    with pytest.raises(InvalidModelName):
        store.delete(str(path))
    assert path.exists()


def test_store_writers_wait_for_the_lock(root: Path, put_model: PutModel) -> None:
    put_model()
    store = Store(root, lock_timeout=0)
    with locked(root / ".cama" / "lock", timeout=0):
        assert store.get("m").name == "m:latest"
        with pytest.raises(StoreError, match="another process"):
            store.delete("m")
    assert store.get("m").name == "m:latest"


def test_store_stays_whole_under_many_writers(store: Store, put_model: PutModel) -> None:
    put_model(layers=FULL)

    def work(number: int) -> None:
        for _ in range(5):
            store.copy("m", f"copy{number}")
            store.copy(f"copy{number}", "shared")
            store.delete(f"copy{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert {model.name for model in store.list()} == {"m:latest", "shared:latest"}
    assert store.get("shared").path.read_bytes() == b"GGUF weights"


def test_store_add_blobs_keeps_them_without_a_model(store: Store, root: Path) -> None:
    with store.staging() as staging:
        staged = staging.add_bytes(b"upload")
        store.add_blobs(staging)
    assert store.blobs.size(staged.digest) == 6


def test_store_publish_is_all_or_nothing(store: Store, root: Path) -> None:
    with store.staging() as staging:
        config = staging.add_bytes(b"{}").layer(MediaType.CONFIG)
        weights = staging.add_bytes(b"GGUF").layer(MediaType.MODEL)
        gone = staging.add_bytes(b"gone").layer(MediaType.SYSTEM)
        staging.staged.pop()
        with pytest.raises(InvalidModelFile, match="is missing"):
            store.publish("m", Manifest(config=config, layers=(weights, gone)), staging)
    assert store.list() == []
    assert blob_names(root) == set()


def test_store_publish_writes_ollamas_layout(store: Store, root: Path) -> None:
    with store.staging() as staging:
        config = staging.add_bytes(b"{}").layer(MediaType.CONFIG)
        weights = staging.add_bytes(b"GGUF").layer(MediaType.MODEL, parent="file.gguf")
        store.publish("u/m:t", Manifest(config=config, layers=(weights,)), staging)
    written = (root / "manifests/registry.ollama.ai/u/m/t").read_text()
    assert json.loads(written)["layers"] == [
        {
            "mediaType": "application/vnd.ollama.image.model",
            "digest": f"sha256:{hashlib.sha256(b'GGUF').hexdigest()}",
            "size": 4,
            "from": "file.gguf",
        }
    ]
    assert store.get("u/m:t").parent == "file.gguf"


def test_store_in_an_unwritable_place_fails_with_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file" / "models")
    with store.staging() as staging, pytest.raises(StoreError, match="file/models"):
        store.add_blobs(staging)
