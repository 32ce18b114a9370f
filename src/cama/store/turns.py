"""Turns: work that only one of all threads and processes does at a time, and that may take long."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file ``path``, which exists only meanwhile.

    ``wait`` is called again and again while another holds it: it pauses, and raises what ends the
    wait. The system frees the lock of who dies. Raises OSError.
    """
    while (descriptor := _acquired(path)) is None:
        wait()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquired(path: Path) -> int | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.stat(path), os.fstat(descriptor)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):  # another holds it, or has just removed it
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
