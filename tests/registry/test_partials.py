"""Unfinished downloads on disk: Ollama's, damaged ones, and ours."""

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cama.store.digests import blob_name, digest_of
from cama.store.partials import MAX_PARTS, Partial, completed, opened, plan

DATA = bytes(range(256)) * 10
DIGEST = digest_of(DATA)
SIZE = len(DATA)


def note(folder: Path, n: int, **fields: Any) -> None:
    path = folder / f"{blob_name(DIGEST)}-partial-{n}"
    path.write_text(json.dumps({"N": n, **fields}))


def partial(folder: Path) -> Path:
    return folder / f"{blob_name(DIGEST)}-partial"


def halves(folder: Path, done: int = 100) -> None:
    """A download of two parts as Ollama leaves it."""
    partial(folder).write_bytes(DATA[:done].ljust(SIZE, b"\0"))
    half = SIZE // 2
    note(folder, 0, Offset=0, Size=half, Completed=done)
    note(folder, 1, Offset=half, Size=SIZE - half, Completed=0)


def test_partial_of_ollama_is_continued(tmp_path: Path) -> None:
    halves(tmp_path)
    with opened(tmp_path, DIGEST, SIZE) as found:
        assert [(part.offset, part.completed) for part in found.parts] == [(0, 100), (SIZE // 2, 0)]
        for part in found.parts:
            start = part.offset + part.completed
            found.write(part, DATA[start : part.offset + part.size])
            found.note(part)
        assert found.completed == SIZE
    assert partial(tmp_path).read_bytes() == DATA
    assert completed(tmp_path, DIGEST) == SIZE


def test_note_is_json_as_ollama_reads_it(tmp_path: Path) -> None:
    with opened(tmp_path, DIGEST, SIZE) as new:
        new.write(new.parts[0], DATA[:7])
        new.note(new.parts[0])
    text = (tmp_path / f"{blob_name(DIGEST)}-partial-0").read_text()
    assert json.loads(text) == {"N": 0, "Offset": 0, "Size": SIZE, "Completed": 7}
    assert partial(tmp_path).stat().st_size == SIZE


@pytest.mark.parametrize(
    "fields",
    [
        {"Offset": 5, "Size": SIZE - 5, "Completed": 0},
        {"Offset": 0, "Size": SIZE - 1, "Completed": 0},
        {"Offset": 0, "Size": SIZE, "Completed": SIZE + 1},
        {"Offset": 0, "Size": SIZE, "Completed": -1},
        {"Offset": 0, "Size": str(SIZE), "Completed": 0},
        {"Offset": 0, "Size": SIZE},
        {"Offset": 0, "Size": SIZE, "Completed": 2**80},
        {"Offset": 0, "Size": SIZE, "Completed": True},
    ],
)
def test_note_that_makes_no_sense_begins_anew(tmp_path: Path, fields: dict[str, Any]) -> None:
    partial(tmp_path).write_bytes(b"x" * SIZE)
    note(tmp_path, 0, **fields)
    with opened(tmp_path, DIGEST, SIZE) as found:
        assert [(part.offset, part.size, part.completed) for part in found.parts] == [(0, SIZE, 0)]
    assert partial(tmp_path).read_bytes() == bytes(SIZE)


@pytest.mark.parametrize("text", ["", "[]", "7", "[" * 5000, "{" * 3000, "\xff", " " * 5000])
def test_note_that_is_none_begins_anew(tmp_path: Path, text: str) -> None:
    partial(tmp_path).write_bytes(b"x" * SIZE)
    (tmp_path / f"{blob_name(DIGEST)}-partial-0").write_text(text, "latin-1")
    with opened(tmp_path, DIGEST, SIZE) as found:
        assert found.completed == 0


def test_notes_without_a_file_are_not_believed(tmp_path: Path) -> None:
    halves(tmp_path)
    partial(tmp_path).unlink()
    with opened(tmp_path, DIGEST, SIZE) as found:
        assert found.completed == 0
    assert not (tmp_path / f"{blob_name(DIGEST)}-partial-1").exists()


def test_file_of_another_size_is_not_believed(tmp_path: Path) -> None:
    halves(tmp_path)
    os.truncate(partial(tmp_path), SIZE - 1)
    with opened(tmp_path, DIGEST, SIZE) as found:
        assert found.completed == 0


def test_partial_that_is_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"precious")
    partial(tmp_path).symlink_to(other)
    with opened(tmp_path, DIGEST, SIZE) as found:
        found.write(found.parts[0], DATA)
    assert other.read_bytes() == b"precious"


@pytest.mark.parametrize("size", [0, 1, 10**8, 10**8 + 1, 10**12, 10**14])
def test_plan_covers_every_byte_once(size: int) -> None:
    parts = plan(size)
    assert sum(part.size for part in parts) == size
    assert all(a.offset + a.size == b.offset for a, b in pairwise(parts))
    assert len(parts) <= MAX_PARTS


def test_partial_can_be_removed(tmp_path: Path) -> None:
    halves(tmp_path)
    found = Partial(tmp_path, DIGEST, SIZE)
    found.remove()
    found.close()
    assert list(tmp_path.iterdir()) == []
