"""Instruction sets that a machine has but does not choose, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cama.ggml.library import own_kernels

pytestmark = pytest.mark.native

TESTS = ["test_products.py", "test_row_operations.py", "test_attention.py"]


@pytest.mark.parametrize("name", ["amx", "avx512", "avxvnni", "avx2"])
def test_every_set_computes_alike(name: str) -> None:
    if own_kernels().name == name:
        pytest.skip("all other tests run with it")
    tests = [str(Path(__file__).with_name(test)) for test in TESTS]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        env={**os.environ, "CAMA_KERNELS": name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    if " passed" not in ran.stdout:
        pytest.skip("the processor has none of these instructions")
