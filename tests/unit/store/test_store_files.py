"""Bounded reading and whole writing."""

import os
from pathlib import Path

import pytest

from cama.core.errors import InvalidModelFile, StoreError
from cama.store.files import read_bounded, storing, write_whole


def test_read_bounded_reads_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"1234")
    assert read_bounded(path, 4) == b"1234"
    with pytest.raises(InvalidModelFile, match="larger than the 3 bytes"):
        read_bounded(path, 3)


def test_read_bounded_does_not_wait_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidModelFile, match="not a regular file"):
        read_bounded(tmp_path / "pipe", 10)


def test_write_whole_keeps_the_old_content_when_it_fails(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    (folder / "sub").mkdir(parents=True)
    with pytest.raises(OSError):  # a folder cannot be replaced by a file
        write_whole(folder / "sub", b"new")
    assert [path.name for path in folder.iterdir()] == ["sub"]


def test_storing_names_the_file_and_the_reason(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gone: No such file"), storing(tmp_path):
        (tmp_path / "gone").read_bytes()
