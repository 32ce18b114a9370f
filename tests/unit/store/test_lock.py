"""The lock between writers."""

import subprocess
import sys
from pathlib import Path

import pytest

from cama.core.errors import StoreError
from cama.store.lock import locked


def test_lock_is_free_again_after_use(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "a" / "lock", timeout=0):
            pass


def test_lock_excludes_a_second_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        locked(path, timeout=0),
        pytest.raises(StoreError, match="another process"),
        locked(path, timeout=0),
    ):
        pass


def test_lock_excludes_another_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    script = (
        "import sys; from pathlib import Path; from cama.store.lock import locked\n"
        "with locked(Path(sys.argv[1]), timeout=0):\n    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(StoreError), locked(path, timeout=0):
            pass
        child.kill()
        child.wait()
        with locked(path, timeout=0):  # a dead holder holds nothing
            pass
