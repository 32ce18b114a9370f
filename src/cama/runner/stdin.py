"""The life line of a runner: standard input stays open as long as the parent lives."""

import os
import threading

ORPHANED = 3
"""Exit status of a runner whose parent is gone."""


def exit_with_parent() -> None:
    """End this process, whatever it does, when its standard input ends."""
    threading.Thread(target=_watch, name="stdin", daemon=True).start()


def _watch() -> None:
    while os.read(0, 4096):
        pass
    # The engine thread may be deep in native code: nothing gentler would end the process now.
    os._exit(ORPHANED)
