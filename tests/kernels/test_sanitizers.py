"""The kernels' own cases (``kernels/tests``), built with and run under sanitizers."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_kernels_do_nothing_that_is_undefined(sanitizer: str, tmp_path: Path) -> None:
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("the kernels are not built on this machine")
    _require_sanitizer(sanitizer, tmp_path)
    build = tmp_path / "build"
    configure = ["-S", str(REPOSITORY / "kernels"), "-B", str(build)]
    # what cannot run need not be compiled
    avx512 = "avx512_vnni" in Path("/proc/cpuinfo").read_text()
    chosen = [f"-DCAMA_SANITIZE={sanitizer}", f"-DCAMA_AVX512_CASES={int(avx512)}"]
    _run("cmake", *configure, *chosen, "-DCMAKE_BUILD_TYPE=")
    parallel = str(len(os.sched_getaffinity(0)))
    _run("cmake", "--build", str(build), "--target", "kernels_cases", "--parallel", parallel)
    assert "passed" in _run(str(build / "kernels_cases"))


def _require_sanitizer(name: str, folder: Path) -> None:
    """Skip where the compiler has none, or where what it makes does not run."""
    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed")
    program = folder / "empty.cpp"
    program.write_text("int main() {}\n")
    compiler = os.environ.get("CXX", "c++")
    try:
        _run(compiler, f"-fsanitize={name}", str(program), "-o", str(folder / "empty"))
        _run(str(folder / "empty"))
    except (OSError, AssertionError) as error:
        pytest.skip(f"the sanitizer {name} does not work here: {str(error).splitlines()[0]}")


def _run(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-4000:] or ran.stdout[-4000:]
    return ran.stdout
