"""Jobs: what the parent learns of a child, and that none outlives its use."""

import ctypes
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cama.core.errors import Cancelled, InvalidModelFile, RunnerCrashed, Unsupported
from cama.ggml.llama import llama
from cama.runner.jobs import Jobs

QUANTIZE = "cama.runner.quantize"
WRITER = "tests.runner.slow_job"
MakeModel = Callable[..., Path]


def request(source: Path, target: Path, file_type: int) -> dict[str, Any]:
    return {"source": str(source), "target": str(target), "type": file_type, "label": "working"}


def quantized_directly(source: Path, target: Path, file_type: int) -> None:
    params = llama().llama_model_quantize_default_params()
    params.ftype = file_type
    paths = os.fsencode(source), os.fsencode(target)
    assert llama().llama_model_quantize(*paths, ctypes.addressof(params)) == 0


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What asks for a job that writes its target and then goes on until it is ended."""
    root = str(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("PYTHONPATH", root)
    return {"target": str(tmp_path / "half")}


@pytest.mark.native
@pytest.mark.parametrize("file_type", [7, 15, 1], ids=["Q8_0", "Q4_K_M", "F16"])
def test_quantizing_gives_what_llama_cpp_gives(
    tiny_model: MakeModel, tmp_path: Path, file_type: int
) -> None:
    source = tiny_model("llama", "F16")
    Jobs().run(QUANTIZE, request(source, tmp_path / "job.gguf", file_type))
    quantized_directly(source, tmp_path / "direct.gguf", file_type)
    assert digest(tmp_path / "job.gguf") == digest(tmp_path / "direct.gguf")


@pytest.mark.native
def test_progress_grows_to_the_size_of_the_model(tiny_model: MakeModel, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    source = tiny_model("llama", "F16")
    jobs = Jobs(lambda *progress: seen.append(progress))
    jobs.run(QUANTIZE, request(source, tmp_path / "t.gguf", 7))
    completed = [done for _, done, _ in seen]
    assert {label for label, _, _ in seen} == {"working"}
    assert completed == sorted(completed)
    assert completed[0] == 0
    assert max(completed) <= seen[0][2] <= source.stat().st_size


@pytest.mark.native
@pytest.mark.parametrize(
    ("file_type", "kind", "text"),
    [(7, Unsupported, "only supported for F16"), (19, InvalidModelFile, "imatrix")],
)
def test_an_error_of_a_job_is_raised(
    tiny_model: MakeModel, tmp_path: Path, file_type: int, kind: type[Exception], text: str
) -> None:
    source = tiny_model("llama", "Q8_0" if kind is Unsupported else "F16")
    with pytest.raises(kind, match=text):
        Jobs().run(QUANTIZE, request(source, tmp_path / "t.gguf", file_type))


def test_a_child_that_ends_without_an_answer_is_a_crash() -> None:
    with pytest.raises(RunnerCrashed, match=r"exit status 1 .*No module named cama.nothing"):
        Jobs().run("cama.nothing", {})
    with pytest.raises(RunnerCrashed, match="exit status 0"):
        Jobs().run("this", {})


def test_cancelling_ends_the_child(slow: dict[str, Any]) -> None:
    jobs = Jobs(lambda *_: jobs.cancel())
    with pytest.raises(Cancelled):
        jobs.run(WRITER, slow)
    with pytest.raises(Cancelled):
        jobs.run(WRITER, slow)


def test_cancelling_from_another_thread_ends_the_child(slow: dict[str, Any]) -> None:
    started = threading.Event()
    jobs = Jobs(lambda *_: started.set())

    def leave() -> None:
        started.wait(30)
        jobs.cancel()

    threading.Thread(target=leave).start()
    with pytest.raises(Cancelled):
        jobs.run(WRITER, slow)


def test_a_job_whose_parent_is_killed_removes_what_it_wrote(
    slow: dict[str, Any], tmp_path: Path
) -> None:
    code = (
        "import json, sys; from cama.runner.jobs import Jobs; "
        f"Jobs(lambda *_: print('on', flush=True)).run({WRITER!r}, json.loads(sys.argv[1]))"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(slow)], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"on\n"
    assert Path(slow["target"]).exists()
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 30
    while Path(slow["target"]).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert list(tmp_path.iterdir()) == []
