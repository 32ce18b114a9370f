"""What a starting server removes from a store, and what it must not."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cama.core.errors import InvalidModelFile, StoreError
from cama.core.settings import Settings
from cama.store.digests import digest_of
from cama.store.manifest import Manifest, MediaType
from cama.store.pins import Pins, pinned
from cama.store.pruning import GRACE_SECONDS, PARTIAL_GRACE_SECONDS, Pruned
from cama.store.store import Store

PutModel = Callable[..., Path]
PutBlob = Callable[[bytes], str]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass for who removes old files."""

    def pass_by(seconds: float) -> None:
        now = time.time() + seconds
        monkeypatch.setattr("time.time", lambda: now)

    return pass_by


def names(root: Path) -> set[str]:
    return {path.name for path in (root / "blobs").iterdir()}


def test_prune_of_no_store_makes_none(store: Store, root: Path) -> None:
    assert store.prune() == Pruned()
    assert not root.exists()


def test_prune_removes_what_is_old_and_unused(
    store: Store,
    root: Path,
    put_model: PutModel,
    put_blob: PutBlob,
    later: Callable[[float], None],
) -> None:
    put_model()
    used = names(root)
    put_blob(b"nobody's")
    (root / "blobs" / "sha256-123456").write_bytes(b"a temporary file of Ollama's")
    assert store.prune() == Pruned()
    later(GRACE_SECONDS + 60)
    assert store.prune() == Pruned(2, 8 + 28)
    assert names(root) == used
    assert store.get("m").path.read_bytes() == b"GGUF"


def test_prune_spares_files_of_others(
    store: Store, root: Path, put_model: PutModel, later: Callable[[float], None]
) -> None:
    put_model()
    (root / "blobs" / "README").touch()
    later(GRACE_SECONDS + 60)
    store.prune()
    assert "README" in names(root)


def test_prune_keeps_downloads_that_can_go_on_for_a_week(
    store: Store, root: Path, put_blob: PutBlob, later: Callable[[float], None]
) -> None:
    blob = put_blob(b"x").replace(":", "-")
    partials = {f"{blob}-partial", f"{blob}-partial-0", f"{blob}-partial-15"}
    for name in partials:
        (root / "blobs" / name).touch()
    later(GRACE_SECONDS + 60)
    store.prune()
    assert names(root) == partials
    later(PARTIAL_GRACE_SECONDS + 60)
    store.prune()
    assert names(root) == set()


def test_prune_removes_nothing_beside_a_damaged_manifest(
    store: Store,
    root: Path,
    put_model: PutModel,
    put_blob: PutBlob,
    later: Callable[[float], None],
) -> None:
    put_model().write_text("{")
    put_blob(b"perhaps needed")
    before = names(root)
    later(GRACE_SECONDS + 60)
    with pytest.raises(InvalidModelFile):
        store.prune()
    assert names(root) == before


def test_prune_removes_empty_folders_and_unfinished_files(
    store: Store, root: Path, put_model: PutModel, later: Callable[[float], None]
) -> None:
    store.blobs.pins.mkdir(parents=True)
    (store.blobs.pins / ".tmp-0123").touch()
    manifest = put_model()
    (root / "manifests" / "hf.co" / "user" / "gone").mkdir(parents=True)
    unfinished = manifest.with_name(".tmp-0123")
    unfinished.write_text("{")
    later(GRACE_SECONDS + 60)
    store.prune()
    assert [path.name for path in (root / "manifests").iterdir()] == ["registry.ollama.ai"]
    assert [path.name for path in manifest.parent.iterdir()] == ["latest"]
    assert list(store.blobs.pins.iterdir()) == []


def test_store_renames_blobs_of_the_oldest_stores(
    store: Store, root: Path, put_model: PutModel
) -> None:
    put_model()
    for path in (root / "blobs").iterdir():
        path.rename(path.with_name(path.name.replace("-", ":")))
    store.rename_old()
    assert store.get("m").path.read_bytes() == b"GGUF"


def test_prune_spares_what_a_living_process_has_pinned(
    store: Store, root: Path, put_blob: PutBlob, later: Callable[[float], None]
) -> None:
    digest = put_blob(b"about to be used")
    with store.staging() as staging:
        assert staging.find(digest) is not None
        staging.open().write(b"half")
        later(10 * GRACE_SECONDS)
        assert store.prune() == Pruned()
        assert len(names(root)) == 2
    assert names(root) == {digest.replace(":", "-")}
    assert store.prune() == Pruned(1, 16)


def test_store_removes_unfinished_files_of_the_dead(
    store: Store, root: Path, put_model: PutModel
) -> None:
    put_model()
    left = root / "blobs" / "sha256-tmp-0123"
    left.touch()
    dead = root / ".cama" / "pins" / "0123"
    dead.parent.mkdir(parents=True)
    dead.write_text(f"{left.name}\n../manifests/x\nsha256-tmp-/../../x\n")
    store.delete("m")
    assert names(root) == set()
    assert not dead.exists()


def test_store_delete_spares_what_a_create_is_about_to_refer_to(
    store: Store, root: Path, put_model: PutModel
) -> None:
    put_model()
    other = Store(root)
    with store.staging() as staging:
        weights = staging.add_bytes(b"GGUF")
        assert weights.existed
        other.delete("m")
        config = staging.add_bytes(b"{}")
        manifest = Manifest(
            config=config.layer(MediaType.CONFIG), layers=(weights.layer(MediaType.MODEL),)
        )
        store.publish("n", manifest, staging)
    assert store.get("n").path.read_bytes() == b"GGUF"
    assert names(root) == {d.replace(":", "-") for d in (digest_of(b"GGUF"), digest_of(b"{}"))}


def test_store_keeps_what_a_replaced_model_leaves_where_it_shall(
    root: Path, put_model: PutModel
) -> None:
    put_model("registry.ollama.ai/library/a/latest", [("model", b"A")])
    put_model("registry.ollama.ai/library/b/latest", [("model", b"B")])
    store = Store.of(Settings(models=root, no_prune=True))
    store.copy("b", "a")
    assert digest_of(b"A").replace(":", "-") in names(root)
    store.copy("b", "c")
    Store(root).copy("b", "a")
    store.delete("b")
    assert digest_of(b"A").replace(":", "-") in names(root)


def test_find_makes_a_blob_young_again(store: Store, root: Path, put_blob: PutBlob) -> None:
    digest = put_blob(b"old")
    path = store.blobs.path(digest)
    os.utime(path, (1, 1))
    with store.staging() as staging:
        staging.find(digest)
    assert path.stat().st_mtime > 1


def test_pins_of_a_process_that_was_killed_hold_nothing(root: Path, put_blob: PutBlob) -> None:
    store = Store(root)
    digest = put_blob(b"x")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        pins = Pins(store.blobs.pins)
        pins.add(digest.replace(":", "-"))
        os.write(writer, b"!")
        time.sleep(60)
    os.read(reader, 1)
    os.utime(store.blobs.path(digest), (1, 1))
    os.kill(child, 9)
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)
    assert len(list(store.blobs.pins.iterdir())) == 1
    store.prune()
    assert list(store.blobs.pins.iterdir()) == []


def test_store_list_goes_round_a_folder_that_leads_in_a_circle(
    store: Store, root: Path, put_model: PutModel, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = put_model()
    manifest.with_name("self").symlink_to("self")
    (root / "manifests" / "round").symlink_to("round")
    os.mkfifo(manifest.with_name("pipe"))
    assert [model.name for model in store.list()] == ["m:latest"]
    assert "pipe is not a regular file" in caplog.text
    with pytest.raises((InvalidModelFile, StoreError)):
        store.prune()


def test_pins_are_seen_where_locks_are_the_processs(
    store: Store, put_blob: PutBlob, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = put_blob(b"about to be used")
    with store.staging() as staging:
        staging.find(digest)
        monkeypatch.setattr("cama.store.pins.fcntl.flock", lambda descriptor, kind: None)
        names, dead = pinned(store.blobs.pins)
        assert names == {store.blobs.path(digest).name}
        assert dead == {}
