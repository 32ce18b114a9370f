"""The fuzz target, run for a moment."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "fuzz_gguf.py"


def test_two_seconds_of_fuzzing_do_not_break_the_reader(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(SCRIPT), "--own", "--seconds", "2", "--seed", "7"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert " refused" in run.stdout
    assert list(tmp_path.iterdir()) == []
