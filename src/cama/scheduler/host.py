"""How much memory this machine, or the control group we are in, has left."""

import importlib.util
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import psutil

_GPU_BACKENDS = ("cuda", "hip", "musa", "sycl", "vulkan", "opencl", "cann")
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
        # Pages of files, such as weights, go when they are needed, also those that are in use.
        kept = _statistics(cgroup / "memory.stat", "inactive_file", "active_file")
        total, available = limit, min(available, max(0, limit - used + kept))
        return HostMemory(total=total, available=available)
    return HostMemory(total=total, available=available, swap=_free_swap())


@lru_cache(maxsize=1)
def has_gpu_backend() -> bool:
    """Whether the installed libggml can compute on a GPU that has memory of its own.

    Told by the names of its files: to load them would put native code into the server.
    """
    package = importlib.util.find_spec("llama_cpp")
    if package is None or package.origin is None:
        return False
    return any(map(_is_gpu_backend, (Path(package.origin).parent / "lib").glob("*ggml-*")))


def _is_gpu_backend(library: Path) -> bool:
    return any(f"ggml-{name}" in library.name for name in _GPU_BACKENDS)


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


def _statistics(path: Path, *names: str) -> int:
    """The sum of what a file of names and numbers says; 0 for what it does not say."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    values = (line.split() for line in lines)
    return sum(int(v[1]) for v in values if len(v) == 2 and v[0] in names and v[1].isdecimal())
