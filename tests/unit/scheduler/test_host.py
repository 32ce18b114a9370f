"""Memory of the machine, and of the control group that bounds it."""

from pathlib import Path

import psutil
import pytest

from cama.scheduler.host import host_memory


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
        memory__stat=f"anon 5\ninactive_file {2**20}",
    )
    assert host_memory(folder).available == 2**20
