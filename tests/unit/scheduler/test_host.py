"""Memory of the machine, and of the control group that bounds it."""

import os
from pathlib import Path

import psutil
import pytest

from cama.scheduler.host import _is_gpu_backend, host_memory, resident_bytes


def group(folder: Path, **files: object) -> Path:
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")
    return folder


def test_host_memory_without_a_control_group(tmp_path: Path) -> None:
    found = host_memory(tmp_path)
    assert found.total == psutil.virtual_memory().total
    assert 0 < found.available <= found.total


@pytest.mark.parametrize("limit", ["max", 2**62, "junk"])
def test_host_memory_ignores_a_limit_that_is_none(tmp_path: Path, limit: object) -> None:
    found = host_memory(group(tmp_path, memory__max=limit, memory__current=1))
    assert found.total == psutil.virtual_memory().total


def test_host_memory_keeps_the_limit_of_a_control_group(tmp_path: Path) -> None:
    folder = group(tmp_path, memory__max=2**24, memory__current=2**22)
    found = host_memory(folder)
    assert (found.total, found.available, found.swap) == (2**24, 2**24 - 2**22, 0)


def test_host_memory_counts_pages_that_can_go_as_available(tmp_path: Path) -> None:
    folder = group(
        tmp_path,
        memory__max=2**24,
        memory__current=2**24,
        memory__stat=f"anon 5\ninactive_file {2**20}\nactive_file {2**19}\nodd\nactive_file x",
    )
    assert host_memory(folder).available == 2**20 + 2**19


@pytest.mark.parametrize(
    ("name", "is_gpu"),
    [
        ("libggml-cuda.so", True),
        ("libggml-vulkan.so.0", True),
        ("ggml-cuda.dll", True),
        ("libggml-cpu.so", False),
        ("libggml-base.so.0", False),
        ("libggml-metal.dylib", False),  # it shares the machine's memory
        ("libggml.so", False),
    ],
)
def test_a_gpu_backend_is_known_by_its_file(name: str, is_gpu: bool) -> None:
    assert _is_gpu_backend(Path(name)) == is_gpu


def test_resident_bytes_of_this_process_and_of_none() -> None:
    assert resident_bytes(os.getpid()) > 2**20
    assert resident_bytes(2**30) == 0
