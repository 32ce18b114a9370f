"""The examination of a store, and its mending: one damage a case."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cama.store.findings import Examination, Remedy
from cama.store.pruning import PARTIAL_GRACE_SECONDS
from cama.store.store import Store

PutModel = Callable[..., Path]
PutBlob = Callable[[bytes], str]

OLD = (1_600_000_000, 1_600_000_000)
NOBODY = 65534


@dataclass
class Ward:
    """A store with a sound model ``m``."""

    root: Path
    store: Store
    manifest: Path
    put_blob: PutBlob

    @property
    def weights(self) -> Path:
        return self.store.get("m").path

    @property
    def kinds(self) -> list[str]:
        return sorted(finding.kind for finding in self.store.examine().findings)

    def mend(self) -> list[str]:
        """What is left after mending."""
        self.store.mend(self.store.examine().findings)
        return self.kinds

    @property
    def aside(self) -> list[bytes]:
        folder = self.root / ".cama" / "quarantine"
        return [path.read_bytes() for path in sorted(folder.iterdir())]


@pytest.fixture
def ward(root: Path, store: Store, put_model: PutModel, put_blob: PutBlob) -> Ward:
    manifest = put_model(layers=[("model", b"GGUF weights"), ("system", b"Be brief.")])
    return Ward(root, store, manifest, put_blob)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def pass_by(seconds: float) -> None:
        now = __import__("time").time() + seconds
        monkeypatch.setattr("time.time", lambda: now)

    return pass_by


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """What ``folder`` holds belongs to a user without rights, who we are meanwhile."""
    if os.geteuid() != 0:
        yield
        return
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    for parent in folder.parents:
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_examine_finds_nothing_in_a_sound_store(ward: Ward) -> None:
    n_read: list[int] = []
    found = ward.store.examine(n_read.append)
    assert found.findings == []
    assert (found.n_models, found.n_blobs) == (1, 3)
    assert (
        found.n_bytes == sum(n_read) == sum(p.stat().st_size for p in ward.weights.parent.iterdir())
    )


def test_examine_of_no_store_finds_nothing(store: Store) -> None:
    assert store.examine() == Examination()


def test_examine_finds_a_blob_whose_content_changed(ward: Ward) -> None:
    ward.weights.write_bytes(b"GGUF weightz")
    assert ward.kinds == ["damaged-blob", "missing-blob"]
    quick = ward.store.examine(reads_blobs=False)
    assert quick.findings == []
    assert ward.mend() == ["unused-blob", "unused-blob"]
    assert b"GGUF weightz" in ward.aside
    assert ward.store.list() == []


def test_examine_finds_a_missing_blob(ward: Ward) -> None:
    ward.weights.unlink()
    [finding] = ward.store.examine().findings
    assert (finding.kind, finding.path) == ("missing-blob", ward.manifest)
    assert hashlib.sha256(b"GGUF weights").hexdigest() in finding.text
    assert ward.mend() == ["unused-blob", "unused-blob"]


def test_examine_does_not_take_for_forbidden_what_goes_meanwhile(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    unused = ward.root / "blobs" / ward.put_blob(b"of a model deleted now").replace(":", "-")
    may_access = os.access

    def delete_first(path: Path, mode: int, *, effective_ids: bool) -> bool:
        if path == unused:
            path.unlink(missing_ok=True)
        return may_access(path, mode, effective_ids=effective_ids)

    monkeypatch.setattr(os, "access", delete_first)
    assert ward.kinds == []
    assert not unused.exists()


def test_examine_takes_a_missing_drive_for_what_it_is(ward: Ward) -> None:
    (ward.root / "blobs").rename(ward.root / "elsewhere")
    [finding] = ward.store.examine().findings
    assert (finding.kind, finding.remedy) == ("missing-blob", Remedy.NONE)
    assert ward.mend() == ["missing-blob"]
    assert ward.manifest.exists()


def test_examine_finds_a_size_that_is_wrong(ward: Ward) -> None:
    content = json.loads(ward.manifest.read_text())
    content["layers"][0]["size"] += 1
    ward.manifest.write_text(json.dumps(content))
    assert ward.kinds == ["wrong-size"]
    assert set(ward.mend()) == {"unused-blob"}
    assert json.loads(ward.aside[0]) == content


@pytest.mark.parametrize("text", ["", "{", "[]", '{"layers": 1}', "\0" * 1000])
def test_examine_finds_a_damaged_manifest(ward: Ward, text: str) -> None:
    ward.manifest.write_text(text)
    findings = ward.store.examine().findings
    # It might refer to any blob, so none of them is for deletion.
    assert {(f.kind, f.remedy) for f in findings} == {
        ("damaged-manifest", Remedy.QUARANTINE), ("unused-blob", Remedy.NONE)
    }  # fmt: skip
    ward.store.mend(findings)
    assert not (ward.root / "manifests" / "registry.ollama.ai").exists()
    assert len(list((ward.root / "blobs").iterdir())) == 3


def test_examine_finds_a_config_that_is_none(ward: Ward, put_model: PutModel) -> None:
    put_model("registry.ollama.ai/library/m/bad", [("model", b"x"), ("params", b"[1]")])
    [finding] = ward.store.examine().findings
    assert finding.kind == "damaged-manifest"
    assert "must be a JSON object" in finding.text


def test_examine_finds_unused_blobs(ward: Ward, later: Callable[[float], None]) -> None:
    path = ward.store.blobs.path(ward.put_blob(b"nobody's"))
    [finding] = ward.store.examine().findings
    assert (finding.kind, finding.remedy, finding.path) == ("unused-blob", Remedy.NONE, path)
    later(3700)
    [finding] = ward.store.examine().findings
    assert (finding.remedy, finding.is_leftover) == (Remedy.DELETE, True)
    assert ward.mend() == []
    assert not path.exists()


def test_mend_spares_a_blob_that_came_into_use(
    ward: Ward, put_model: PutModel, later: Callable[[float], None]
) -> None:
    ward.put_blob(b"late")
    later(3700)
    findings = ward.store.examine().findings
    put_model("registry.ollama.ai/library/late/latest", [("model", b"late")])
    assert ward.store.mend(findings) == []
    assert ward.store.get("late").path.read_bytes() == b"late"


def test_mend_spares_a_blob_that_was_replaced(ward: Ward) -> None:
    weights = ward.weights
    weights.write_bytes(b"GGUF weightz")
    findings = [f for f in ward.store.examine().findings if f.kind == "damaged-blob"]
    weights.unlink()
    ward.put_blob(b"GGUF weights")
    os.utime(weights, OLD)
    assert ward.store.mend(findings) == []
    assert ward.kinds == []


def test_examine_finds_old_names(ward: Ward) -> None:
    for path in (ward.root / "blobs").iterdir():
        path.rename(path.with_name(path.name.replace("-", ":")))
    assert set(ward.kinds) == {"old-name"}
    assert ward.mend() == []
    assert ward.weights.read_bytes() == b"GGUF weights"


def test_examine_finds_an_old_name_beside_the_new_one(ward: Ward) -> None:
    old = ward.weights.with_name(ward.weights.name.replace("-", ":"))
    old.write_bytes(b"GGUF weights")
    assert ward.kinds == ["old-name"]
    assert ward.mend() == []
    assert ward.weights.exists()


def test_examine_knows_a_download_that_can_go_on(
    ward: Ward, later: Callable[[float], None]
) -> None:
    blob = "sha256-" + "ab" * 32
    (ward.root / "blobs" / f"{blob}-partial").write_bytes(b"half")
    (ward.root / "blobs" / f"{blob}-partial-0").write_text("{}")
    [finding] = ward.store.examine().findings
    assert (finding.kind, finding.remedy, finding.is_leftover) == ("partial", Remedy.NONE, True)
    assert ward.mend() == ["partial"]
    later(PARTIAL_GRACE_SECONDS + 60)
    assert ward.mend() == []


def test_examine_finds_pieces_of_no_download(ward: Ward) -> None:
    (ward.root / "blobs" / f"sha256-{'ab' * 32}-partial-3").write_text("{}")
    assert ward.kinds == ["partial"]
    assert ward.mend() == []


def test_examine_leaves_out_what_is_being_written(ward: Ward) -> None:
    with ward.store.staging() as staging:
        staging.open().write(b"half")
        staging.find(ward.put_blob(b"about to be used"))
        assert ward.kinds == []


def test_examine_finds_what_was_never_finished(ward: Ward, later: Callable[[float], None]) -> None:
    (ward.root / "blobs" / "sha256-123").touch()
    ward.manifest.with_name(".tmp-0").touch()
    assert ward.kinds == ["unfinished", "unfinished"]
    later(3700)
    assert ward.mend() == []


def test_examine_names_files_of_others(ward: Ward) -> None:
    (ward.root / "blobs" / "README").touch()
    assert ward.kinds == ["unknown-file"]
    assert ward.mend() == ["unknown-file"]


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "circle"])
def test_examine_is_not_caught_by_what_is_no_file(ward: Ward, kind: str) -> None:
    path = ward.weights
    path.unlink()
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to("nowhere")
        case "circle":
            path.symlink_to(path.name)
    assert ward.kinds == ["damaged-blob", "missing-blob"]
    assert set(ward.mend()) == {"unused-blob"}


def test_examine_follows_links_to_sound_files(ward: Ward) -> None:
    path = ward.weights
    elsewhere = ward.root.parent / "big-disk"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert ward.kinds == []


def test_examine_finds_what_may_not_be_read(ward: Ward, tmp_path: Path) -> None:
    weights = ward.weights
    with as_nobody(tmp_path):
        weights.chmod(0)
        assert ward.kinds == ["unreadable"]
        assert ward.mend() == []
        ward.manifest.chmod(0)
        assert set(ward.kinds) == {"unreadable", "unused-blob"}
        assert ward.mend() == []
        ward.weights.parent.chmod(0)
        assert ward.kinds == ["unreadable"]
        assert ward.mend() == []
    assert weights.read_bytes() == b"GGUF weights"


def test_examine_leaves_to_others_what_is_theirs(ward: Ward, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a file of another user")
    weights = ward.weights
    with as_nobody(tmp_path):
        os.seteuid(0)
        os.chown(weights, 0, 0)
        weights.chmod(0o600)
        os.seteuid(NOBODY)
        [finding] = ward.store.examine().findings
    assert (finding.kind, finding.remedy) == ("unreadable", Remedy.NONE)
    assert "belongs to another user" in finding.text
