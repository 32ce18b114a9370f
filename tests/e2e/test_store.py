"""The store under a running server: pruned at its start, examined and changed while it answers."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.conftest import IMPORT, World, free_port, serving

pytestmark = [pytest.mark.e2e, pytest.mark.native]


@pytest.fixture
def unused(tmp_path: Path) -> Path:
    """A blob of two hours ago that no model uses, in the store of a home."""
    blob = tmp_path / ".ollama" / "models" / "blobs" / f"sha256-{hashlib.sha256(b'x').hexdigest()}"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"x")
    return blob


@contextmanager
def two_hours_on(world: World, blob: Path) -> Iterator[World]:
    """A server for which ``blob`` is old: a file's ctime cannot be set, so its grace is shorter."""
    os.utime(blob, (1, 1))
    code = "from cama.store import pruning\npruning.GRACE_SECONDS = -1\n"
    folder = world.home / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    variables = (("PYTHONPATH", str(folder)), *world.variables)
    with serving(replace(world, variables=variables)) as served:
        yield served


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_server_prunes_the_store_when_it_starts(tmp_path: Path, unused: Path) -> None:
    world = World(tmp_path, free_port())
    with two_hours_on(world, unused):
        wait_until(lambda: not unused.exists())
    assert "removed 1 unused files of 1 bytes" in (tmp_path / "server.log").read_text()


def test_server_keeps_what_it_shall(tmp_path: Path, unused: Path) -> None:
    world = World(tmp_path, free_port(), variables=(("OLLAMA_NOPRUNE", "1"),))
    with two_hours_on(world, unused) as served:
        assert served.cama("list").returncode == 0
    assert unused.exists()


def test_store_is_managed_while_a_model_answers(world: World) -> None:
    recipe = world.home / "Modelfile"
    recipe.write_text("FROM guide\n")
    for name in ("one", "two"):
        assert world.cama("create", name, "-f", str(recipe)).returncode == 0
    first = world.cama("run", "one", IMPORT.question)
    assert IMPORT.key in first.stdout, first.stderr
    copied = world.cama("cp", "one", "three")
    assert copied.stdout == "copied 'one' to 'three'\n"
    sound = world.cama("doctor")
    assert (sound.returncode, sound.stdout.splitlines()[-1]) == (0, "No problems found.")
    assert sound.stderr == ""
    gone = world.cama("rm", "two", "three", "none", "one")
    assert gone.stdout == "deleted 'two'\ndeleted 'three'\n"
    assert (gone.returncode, gone.stderr) == (1, "Error: model 'none' not found\n")
    rows = world.cama("list").stdout.splitlines()
    assert rows[0].split() == ["NAME", "ID", "SIZE", "MODIFIED"]
    assert [row.split()[0] for row in rows[1:]] == ["one:latest", "guide:latest"]


def test_doctor_mends_what_the_server_then_refuses(world: World) -> None:
    recipe = world.home / "Modelfile"
    recipe.write_text("FROM guide\n")
    world.cama("create", "mine", "-f", str(recipe))
    blobs = sorted((world.home / ".ollama" / "models" / "blobs").iterdir())
    largest = max(blobs, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.unlink()
    largest.write_bytes(content)
    assert world.cama("doctor").returncode == 1
    mended = world.cama("doctor", "--fix")
    assert (mended.returncode, "moved to quarantine" in mended.stdout) == (0, True)
    assert "mine" not in world.cama("list").stdout
    assert world.cama("create", "mine", "-f", str(recipe)).returncode == 0
    assert IMPORT.key in world.cama("run", "mine", IMPORT.question).stdout
