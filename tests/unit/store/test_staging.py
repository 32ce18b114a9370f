"""Blobs on their way into the store, and the store's trust in linked files."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from cama.core.errors import InvalidModelFile, InvalidRequest
from cama.store.blobs import Blobs
from cama.store.digests import digest_of
from cama.store.manifest import Layer
from cama.store.staging import Staging


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(
        tmp_path / "store" / "blobs", tmp_path / "store" / "links", tmp_path / "store" / "pins"
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "user.gguf"
    path.write_bytes(b"weights")
    path.chmod(0o644)
    return path


def layer_of(data: bytes) -> Layer:
    return Layer(media_type="x", digest=digest_of(data), size=len(data))


def add_file(blobs: Blobs, source: Path) -> Path:
    with Staging(blobs, nullcontext) as staging:
        staged = staging.add_file(source)
        staging.place()
    return blobs.path(staged.digest)


def test_staging_adds_bytes_under_their_digest(blobs: Blobs) -> None:
    with Staging(blobs, nullcontext) as staging:
        staged = staging.add_bytes(b"text")
        staging.place()
    assert staged.digest == digest_of(b"text")
    path = blobs.path(staged.digest)
    assert path.read_bytes() == b"text"
    assert path.stat().st_mode & 0o777 == 0o644


def test_staging_leaves_nothing_when_it_was_not_placed(blobs: Blobs, source: Path) -> None:
    with Staging(blobs, nullcontext) as staging:
        staging.add_bytes(b"text")
        staging.add_file(source)
        staging.open().write(b"half")
    assert list(blobs.folder.iterdir()) == []
    assert source.read_bytes() == b"weights"


def test_staging_tells_what_existed(blobs: Blobs, source: Path) -> None:
    add_file(blobs, source)
    with Staging(blobs, nullcontext) as staging:
        assert staging.add_file(source).existed
        assert staging.add_bytes(b"weights").existed
        assert not staging.add_bytes(b"other").existed


def test_staging_takes_a_private_file_without_a_copy(blobs: Blobs, source: Path) -> None:
    blob = add_file(blobs, source)
    assert blob.read_bytes() == b"weights"
    assert blob.samefile(source) or source.stat().st_nlink == 1  # else its blocks are shared


@pytest.mark.parametrize("mode", [0o664, 0o666])
def test_staging_copies_a_file_that_others_may_write(blobs: Blobs, source: Path, mode: int) -> None:
    source.chmod(mode)
    blob = add_file(blobs, source)
    assert not blob.samefile(source)
    assert blob.read_bytes() == b"weights"
    assert blob.stat().st_mode & 0o777 == 0o644


def test_staging_copies_when_linking_fails(
    blobs: Blobs, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    blob = add_file(blobs, source)
    assert not blob.samefile(source)
    assert blob.read_bytes() == b"weights"


def test_staging_follows_a_symbolic_link_to_its_file(blobs: Blobs, source: Path) -> None:
    alias = source.with_name("alias.gguf")
    alias.symlink_to(source)
    blob = add_file(blobs, alias)
    assert not blob.is_symlink()
    assert blob.read_bytes() == b"weights"


def test_staging_uses_a_blob_of_the_store_as_it_is(blobs: Blobs, source: Path) -> None:
    blob = add_file(blobs, source)
    with Staging(blobs, nullcontext) as staging:
        staged = staging.add_file(blob)
    assert staged.existed
    assert staged.temporary is None


def test_staging_checks_the_expected_digest(blobs: Blobs) -> None:
    with Staging(blobs, nullcontext) as staging:
        incoming = staging.open()
        incoming.write(b"one")
        with pytest.raises(InvalidRequest, match="digest mismatch, expected"):
            staging.accept(incoming, digest_of(b"two"))
        staging.place()
    assert list(blobs.folder.iterdir()) == []


def test_staging_accepts_pieces(blobs: Blobs) -> None:
    with Staging(blobs, nullcontext) as staging:
        incoming = staging.open()
        for piece in (b"on", b"", b"e"):
            incoming.write(piece)
        staging.accept(incoming, digest_of(b"one"))
        staging.place()
    assert blobs.read(layer_of(b"one")) == b"one"


def test_staging_takes_a_finished_download(blobs: Blobs) -> None:
    blobs.folder.mkdir(parents=True)
    source = blobs.folder / f"{blobs.path(digest_of(b'weights')).name}-partial"
    source.write_bytes(b"weights")
    with Staging(blobs, nullcontext) as staging:
        staged = staging.take(source, digest_of(b"weights"))
        staging.place()
    assert not source.exists()
    assert blobs.path(staged.digest).read_bytes() == b"weights"


def test_staging_leaves_a_finished_download_that_is_not_placed(blobs: Blobs, source: Path) -> None:
    with Staging(blobs, nullcontext) as staging:
        staging.take(source, digest_of(b"weights"))
    assert source.read_bytes() == b"weights"


def test_blob_replaces_one_of_wrong_size(blobs: Blobs) -> None:
    path = blobs.path(digest_of(b"whole"))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"who")
    with Staging(blobs, nullcontext) as staging:
        staging.add_bytes(b"whole")
        staging.place()
    assert path.read_bytes() == b"whole"


@pytest.fixture
def linked(blobs: Blobs, source: Path) -> Path:
    blob = add_file(blobs, source)
    if not blob.samefile(source):
        pytest.skip("this file system shares blocks instead of linking files")
    return blob


def test_linked_blob_survives_replacing_the_users_file(
    blobs: Blobs, source: Path, linked: Path
) -> None:
    other = source.with_name("new")
    other.write_bytes(b"other content")
    other.replace(source)
    assert blobs.locate(layer_of(b"weights")).read_bytes() == b"weights"


def test_linked_blob_is_refused_after_an_edit_in_place(
    blobs: Blobs, source: Path, linked: Path
) -> None:
    edit_in_place(source)
    with pytest.raises(InvalidModelFile, match="changed in place"):
        blobs.locate(layer_of(b"weights"))


def test_edited_blob_is_not_taken_for_existing(blobs: Blobs, source: Path, linked: Path) -> None:
    edit_in_place(source)
    fresh = source.with_name("fresh.gguf")
    fresh.write_bytes(b"weights")
    fresh.chmod(0o644)
    add_file(blobs, fresh)
    assert blobs.locate(layer_of(b"weights")).read_bytes() == b"weights"
    assert source.read_bytes() == b"WEIGHTS"


def test_touched_blob_is_trusted_again_once_it_was_read_again(
    blobs: Blobs, source: Path, linked: Path
) -> None:
    os.utime(source, (1, 1))
    assert blobs.size(digest_of(b"weights")) is None
    add_file(blobs, source)
    assert blobs.locate(layer_of(b"weights")) == linked


def test_copied_store_does_not_mistrust_its_blobs(blobs: Blobs, source: Path, linked: Path) -> None:
    copy = linked.with_name("copy")
    copy.write_bytes(linked.read_bytes())
    os.utime(copy, (1, 1))
    copy.replace(linked)
    assert blobs.locate(layer_of(b"weights")) == linked


def edit_in_place(path: Path) -> None:
    path.write_bytes(b"WEIGHTS")
    os.utime(path, (1, 1))  # clocks may be too coarse to tell


def test_blob_read_refuses_a_damaged_one(
    blobs: Blobs, put_elsewhere: Callable[[bytes], Path]
) -> None:
    path = blobs.path(digest_of(b"text"))
    path.parent.mkdir(parents=True)
    path.symlink_to(put_elsewhere(b"secret"))
    with pytest.raises(InvalidModelFile, match="damaged"):
        blobs.read(layer_of(b"text"))


@pytest.fixture
def put_elsewhere(tmp_path: Path) -> Callable[[bytes], Path]:
    def put(data: bytes) -> Path:
        path = tmp_path / "elsewhere"
        path.write_bytes(data)
        return path

    return put


def test_blob_read_and_locate_report_a_missing_one(blobs: Blobs) -> None:
    with pytest.raises(InvalidModelFile, match="is missing"):
        blobs.read(layer_of(b"text"))
    with pytest.raises(InvalidModelFile, match="is missing"):
        blobs.locate(layer_of(b"text"))


def test_blob_locate_refuses_what_is_no_file(blobs: Blobs) -> None:
    path = blobs.path(digest_of(b"text"))
    path.mkdir(parents=True)
    with pytest.raises(InvalidModelFile, match="is not the file of 4 bytes"):
        blobs.locate(layer_of(b"text"))


def test_blob_remove_takes_its_note_along(blobs: Blobs, linked: Path) -> None:
    blobs.remove(digest_of(b"weights"))
    blobs.remove(digest_of(b"weights"))
    assert list(blobs.folder.iterdir()) == list(blobs.links.iterdir()) == []
