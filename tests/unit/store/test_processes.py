"""Several processes that change one store, some of which are killed in the middle of it."""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cama.modelfile.create import create_model
from cama.modelfile.parser import parse_modelfile
from cama.store import pruning
from cama.store.store import Store

WORKER = Path(__file__).with_name("worker.py")
MakeGGUF = Callable[..., Path]


def start(root: Path, file: Path, seed: int) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, str(WORKER), str(root), str(file), str(seed)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: "subprocess.Popen[str]") -> list[str]:
    """What it said."""
    process.kill()
    output, _ = process.communicate()
    return output.splitlines()


def check(store: Store) -> None:
    """Nothing is damaged, and every model can be used."""
    check_problems(store)
    for model in store.list():
        assert store.get(model.name).path.read_bytes()[:4] == b"GGUF"


def check_problems(store: Store) -> None:
    assert [f for f in store.examine().findings if not f.is_leftover] == []


def kill_at_random(store: Store, file: Path, *, rounds: int) -> None:
    """Two processes a round, each killed at a moment of its own."""
    chance = random.Random(rounds)
    for seed in range(rounds):
        pair = [start(store.root, file, seed * 2 + i) for i in range(2)]
        for process in pair:
            time.sleep(chance.uniform(0, 0.06))
            assert kill(process) == []
        check(store)


def check_goes_on(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody holds the lock, a model can be made, and nothing is left over in the end."""
    create_model(store, "z", parse_modelfile(f"FROM {file}\n"), tmp_path, lambda text: None)
    tomorrow = time.time() + 24 * 3600
    monkeypatch.setattr("time.time", lambda: tomorrow)
    store.prune()
    assert store.examine().findings == []
    assert store.get("z").path.read_bytes() == file.read_bytes()


def test_store_survives_processes_that_are_killed(
    store: Store, make_gguf: MakeGGUF, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = make_gguf()
    kill_at_random(store, file, rounds=13)
    check_goes_on(store, file, monkeypatch, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_store_survives_a_hundred_processes_that_are_killed(
    store: Store, make_gguf: MakeGGUF, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = make_gguf()
    kill_at_random(store, file, rounds=50)
    check_goes_on(store, file, monkeypatch, tmp_path)


def test_processes_do_not_take_blobs_from_each_other(
    store: Store, make_gguf: MakeGGUF, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does one that examines and mends meanwhile, and spares no young file."""
    monkeypatch.setattr(pruning, "GRACE_SECONDS", -1)
    file = make_gguf()
    processes = [start(store.root, file, seed) for seed in range(3)]
    try:
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            check_problems(store)
            store.mend(store.examine().findings)
    finally:
        complaints = [kill(process) for process in processes]
    assert complaints == [[], [], []]
    check(store)
