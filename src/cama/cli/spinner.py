"""A spinner on standard error while there is nothing to show yet."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from threading import Event, Thread

from cama.cli.terminal import is_terminal

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_SECONDS = 0.1


@contextmanager
def spinner() -> Iterator[None]:
    """Spin until the body ends, where standard error is a terminal."""
    if not is_terminal(sys.stderr):
        yield
        return
    stop = Event()
    thread = Thread(target=_spin, args=(stop,), name="spinner", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _spin(stop: Event) -> None:
    for frame in cycle(_FRAMES):
        sys.stderr.write(f"\r{frame} ")
        sys.stderr.flush()
        if stop.wait(_SECONDS):
            break
    sys.stderr.write("\r\x1b[K")
    sys.stderr.flush()
