"""The life line of a runner: standard input stays open as long as the parent lives."""

import os
import threading
from collections.abc import Callable

ORPHANED = 3
"""Exit status of a runner whose parent is gone."""


def exit_with_parent(clean_up: Callable[[], None] = lambda: None) -> None:
    """End this process, whatever it does, when its standard input ends, after ``clean_up``."""
    threading.Thread(target=_watch, args=(clean_up,), name="stdin", daemon=True).start()


def _watch(clean_up: Callable[[], None]) -> None:
    while os.read(0, 4096):
        pass
    clean_up()
    # The engine thread may be deep in native code: nothing gentler would end the process now.
    os._exit(ORPHANED)
