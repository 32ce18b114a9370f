"""How much memory this machine, or the control group we are in, has left."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMemory:
    """In bytes. ``available`` is what a process could get without anything being swapped out."""

    total: int
    available: int
    swap: int = 0


def host_memory(cgroup: Path = _CGROUP) -> HostMemory:
    """What is free now; the limit of a control group (v2) counts where it is lower."""
    machine = psutil.virtual_memory()
    total, available = int(machine.total), int(machine.available)
    limit, used = _number(cgroup / "memory.max"), _number(cgroup / "memory.current")
    if limit is not None and used is not None and limit < total:
        # Pages of files that are only kept because there was room go when they are needed.
        kept = _statistic(cgroup / "memory.stat", "inactive_file")
        total, available = limit, min(available, max(0, limit - used + kept))
        return HostMemory(total=total, available=available)
    return HostMemory(total=total, available=available, swap=_free_swap())


def _free_swap() -> int:
    with warnings.catch_warnings():
        # psutil warns where the system does not count how much is swapped, which nobody asked
        warnings.simplefilter("ignore", RuntimeWarning)
        return int(psutil.swap_memory().free)


def resident_bytes(pid: int) -> int:
    """What a process has in memory; 0 of one that has ended."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _number(path: Path) -> int | None:
    """None where there is no such file, and for ``max``."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isdecimal() else None


def _statistic(path: Path, name: str) -> int:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    values = dict(line.split(maxsplit=1) for line in lines if " " in line)
    return int(values.get(name, "0"))
